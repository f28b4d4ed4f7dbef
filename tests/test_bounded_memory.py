"""Decoding takes memory for the picture that is read, in every format, and for nothing else that a file may hold."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fuzz import bombs
from unpaired.errors import ImageError
from unpaired.images import read_image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")

FACTOR, MARGIN = 6, 64 * 2**20
"""Times the bytes of the picture, and bytes beside it, that reading may take."""

HEIGHT, WIDTH = 1800, 2400


@cache
def content(channels: int = 3) -> np.ndarray:
    """Return pixels of 8 bits that compress somewhat, as those of photographs do."""
    small = np.random.default_rng(0).integers(0, 256, (HEIGHT // 24, WIDTH // 24, 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(small).resize((WIDTH, HEIGHT))
    return np.asarray(picture)[:, :, :channels]


def by_pillow(path: Path, mode: str, **options: object) -> None:
    PIL.Image.fromarray(content()).convert(mode).save(path, **options)


def deep(path: Path, channels: int, alpha: bool = False) -> None:
    pixels = content(channels).astype(np.uint16) * 257
    pixels = np.concatenate([pixels, pixels[:, :, :1]], axis=2) if alpha else pixels
    path.write_bytes(pytest.importorskip("imagecodecs").png_encode(pixels, level=1))


def deep_ppm(path: Path, most: int) -> None:
    pixels = (content() * (most / 255)).astype(">u2")
    path.write_bytes(b"P6\n%d %d\n%d\n" % (WIDTH, HEIGHT, most) + pixels.tobytes())


def text_ppm(path: Path, kind: str, most: int) -> None:
    values = content(1)[::2, ::2, 0].astype(int) * most // 255
    size = f"{WIDTH // 6} {HEIGHT // 2}" if kind == "P3" else f"{WIDTH // 2} {HEIGHT // 2}"
    head = f"{kind}\n{size}\n" + ("" if kind == "P1" else f"{most}\n")
    path.write_text(head + " ".join(map(str, values.ravel().tolist())))


def run_length_bmp(path: Path) -> None:
    runs = b"".join(bytes((240, value)) for value in range(WIDTH // 240)) + b"\0\0"
    body = runs * HEIGHT + b"\0\1"
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(body), 0, 0, 256, 0) + palette
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body)


def volume(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = np.tile(content(1)[:, :, 0].astype(np.int16), (6, 1, 1)).transpose(1, 2, 0)
    data = nibabel.Nifti1Image(array, np.eye(4)).to_bytes()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


FILES: dict[str, Callable[[Path], None]] = {
    "grey.png": lambda path: by_pillow(path, "L", compress_level=1),
    "rgb.png": lambda path: by_pillow(path, "RGB", compress_level=1),
    "rgba.png": lambda path: by_pillow(path, "RGBA", compress_level=1),
    "palette.png": lambda path: by_pillow(path, "P", compress_level=1),
    "one bit.png": lambda path: by_pillow(path, "1", compress_level=1),
    "deep grey.png": lambda path: deep(path, 1),
    "deep rgb.png": lambda path: deep(path, 3),
    "deep rgba.png": lambda path: deep(path, 3, alpha=True),
    "grey.jpg": lambda path: by_pillow(path, "L"),
    "rgb.jpg": lambda path: by_pillow(path, "RGB"),
    "progressive.jpg": lambda path: by_pillow(path, "RGB", progressive=True, subsampling=0, quality=95),
    "cmyk.jpg": lambda path: by_pillow(path, "CMYK"),
    "lossy.webp": lambda path: by_pillow(path, "RGB", method=0),
    "lossless.webp": lambda path: PIL.Image.new("RGBA", (WIDTH, HEIGHT), (9, 8, 7, 6)).save(path, lossless=True),
    "x.gif": lambda path: by_pillow(path, "P"),
    "x.bmp": lambda path: by_pillow(path, "RGB"),
    "run lengths.bmp": run_length_bmp,
    "x.ppm": lambda path: by_pillow(path, "RGB"),
    "x.pgm": lambda path: by_pillow(path, "L"),
    "16 bits.ppm": lambda path: deep_ppm(path, 65535),
    "10 bits.ppm": lambda path: deep_ppm(path, 1023),
    "text.pbm": lambda path: text_ppm(path, "P1", 1),
    "text.pgm": lambda path: text_ppm(path, "P2", 65535),
    "text.ppm": lambda path: text_ppm(path, "P3", 255),
    "x.nii": volume,
    "x.nii.gz": volume,
}


def test_reading_takes_memory_for_the_picture_alone(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    for name, write in FILES.items():
        write(tmp_path / name)
    measure = Path(__file__).parent / "fuzz" / "measure.py"
    command = [sys.executable, str(measure), "image", *(str(tmp_path / name) for name in FILES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)
    for path, (outcome, _, megabytes) in json.loads(done.stdout)["results"].items():
        assert outcome == "read"
        image = read_image(path)
        own = image.interleaved.nbytes * (6 if path.endswith(".gz") else 1)  # of a gzipped volume all is unpacked
        assert megabytes * 2**20 <= FACTOR * own + MARGIN, (path, megabytes, own / 2**20)


def test_values_of_a_ppm_are_spread_to_white(tmp_path: Path) -> None:
    values = np.arange(1200, dtype=">u2").reshape(20, 20, 3)
    (tmp_path / "x.ppm").write_bytes(b"P6\n20 20\n1023\n" + values.tobytes())
    wanted = np.round(values.clip(max=1023) * (65535 / 1023))
    np.testing.assert_array_equal(read_image(tmp_path / "x.ppm").pixels, wanted)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("webp frame of 99 on a canvas of 9", "holds a frame of 99 x 99 pixels on a canvas of 9 x 9"),
        ("webp moving frame of 99 on a canvas of 9", "holds a frame of 99 x 99 pixels on a canvas of 9 x 9"),
        ("webp 40,000 chunks", "holds more than 32,768 chunks"),
        ("jpeg of two sizes", "claims two sizes"),
        ("ppm of text, 5,000 comments", "holds more than 4,096 comments"),
    ],
)
def test_a_stream_at_odds_with_its_container_is_refused_before_it_is_decoded(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "x").write_bytes(bombs.images()[name]())
    with pytest.raises(ImageError, match=rf"x {words}, as no picture has, and was not decoded; remove it\."):
        read_image(tmp_path / "x")
