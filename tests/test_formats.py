"""What every image format promises, the package's own and the example's: equal pixels, true headers, kept metadata."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from unpaired.data.sources import FolderSource
from unpaired.errors import ConfigError, DataError, ImageError, OutputError
from unpaired.images import (
    FORMATS,
    HELD,
    Image,
    ImageHeader,
    Target,
    encode_image,
    is_image_name,
    is_stack,
    read_header,
    read_image,
    read_window,
    suffix_of,
    write_image,
    write_stack,
    writing_windows,
)
from unpaired.images.carried import lost_from
from unpaired.images.foreign import foreign_by_name, what_is
from unpaired.images.other_processes import receive, to_send
from unpaired.images.registered import FormatRegistry
from unpaired.recipes import named
from unpaired.scanning.inspection import inspect_file

EXAMPLE = Path(__file__).parents[1] / "examples" / "format_npy.py"
RNG = np.random.default_rng(0)


class Packed:
    """A format of the tests, "packed": a zlib stream of a header line and raw values, as simple as a format can be."""

    kind = "packed"
    suffixes = (".pck", ".pck.z")

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        return self.taken(file)[0]

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        header, values = self.taken(file)
        return Image(values.reshape(header.height, header.width, header.channels).copy())

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        pixels = images[0].pixels
        return zlib.compress(f"{pixels.shape} {pixels.dtype}\n".encode() + pixels.tobytes())

    def taken(self, file: BinaryIO) -> tuple[ImageHeader, np.ndarray[Any, Any]]:
        line, values = zlib.decompress(file.read()).split(b"\n", 1)
        height, width, channels, dtype = re.findall(r"\w+", line.decode())
        header = ImageHeader(int(width), int(height), "", int(channels), False, 8, self.kind, dtype)
        return header, np.frombuffer(values, dtype)


class Rows:
    """A writer of windows into a file of raw bytes."""

    def __init__(self, file: BinaryIO, header: ImageHeader) -> None:
        self.file, self.header = file, header

    def write(self, top: int, left: int, pixels: np.ndarray[Any, Any]) -> None:
        for row, values in enumerate(pixels, top):
            self.file.seek(8 + (row * self.header.width + left) * pixels.shape[2])
            self.file.write(values.tobytes())

    def close(self) -> None:
        self.file.seek(0)
        self.file.write(np.array([self.header.height, self.header.width], "<i4").tobytes())


class Raw:
    """A format of the tests, "raw": grey bytes behind two numbers, read and written in windows."""

    kind = "raw"
    suffixes = (".rawg",)
    dtypes = ("uint8",)
    channels = (1,)

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        height, width = np.frombuffer(file.read(8), "<i4").tolist()
        return ImageHeader(width, height, "", 1, False, 8, self.kind)

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        raise AssertionError("Windows are read by themselves.")

    def read_window(self, path: Path, file: BinaryIO, frame: int, window: tuple[int, int, int, int]) -> Image:
        top, left, height, width = window
        values = np.memmap(file, np.uint8, "r", 8, (self.size(file)))
        return Image(values[top : top + height, left : left + width, None].copy())

    def size(self, file: BinaryIO) -> tuple[int, ...]:
        file.seek(0)
        return tuple(np.frombuffer(file.read(8), "<i4").tolist())

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        raise AssertionError("Windows are written by themselves.")

    def open_windows(self, file: BinaryIO, header: ImageHeader, target: Target) -> Rows:
        return Rows(file, header)


@pytest.fixture(autouse=True)
def without_traces() -> Iterator[None]:
    """Leave only the package's own formats behind a test."""
    yield
    for kind in FORMATS.kinds():
        FORMATS.forget(kind)


def picture(dtype: str, channels: int, size: tuple[int, int] = (13, 18), alpha: bool = False) -> Image:
    kind = np.dtype(dtype)
    top = 1000 if kind.kind == "f" else min(np.iinfo(kind).max, 30_000)
    pixels = RNG.integers(0, top, (*size, channels)).astype(kind)
    return Image(pixels, RNG.integers(0, 2, size).astype(kind) * kind.type(top) if alpha else None)


# --- conformance: every format, whoever it is from ---------------------------------------------------

WRITTEN = [
    (suffix, str(dtype), channels)
    for suffix, dtype, channels in itertools.product(
        [*(suffix for known in FORMATS.lookup.known for suffix in known.writes), ".npy", ".pck"], HELD, (1, 2, 3, 5)
    )
]


def originals(tmp_path: Path, suffix: str) -> Path | None:
    """Return a file of a format that is written only as the result of one, None for the others."""
    if suffix == ".dcm":
        pydicom = pytest.importorskip("pydicom")
        data = pydicom.Dataset()
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 13, 18, 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation, data.PixelSpacing = 15, 0, [0.5, 0.25]
        data.PixelData = bytes(2 * 13 * 18)
        data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, pydicom.uid.generate_uid()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        pydicom.dcmwrite(tmp_path / "original.dcm", data, enforce_file_format=True)
    elif suffix in (".nii", ".nii.gz"):
        nibabel = pytest.importorskip("nibabel")
        affine = np.diag([2.0, 3.0, 4.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(np.zeros((13, 18, 1), np.int16), affine), tmp_path / f"original{suffix}")
    else:
        return None
    return tmp_path / f"original{suffix}"


@pytest.fixture
def all_formats() -> None:
    """The example's format and one of the tests beside those of the package."""
    named(f"{EXAMPLE}:paper")
    FORMATS.register(Packed())


@pytest.mark.usefixtures("all_formats")
@pytest.mark.parametrize(("suffix", "dtype", "channels"), WRITTEN)
def test_what_is_written_is_read_with_equal_pixels_and_a_true_header(
    suffix: str, dtype: str, channels: int, tmp_path: Path
) -> None:
    known = FORMATS.named(f"x{suffix}")
    assert known is not None
    image, like, path = picture(dtype, channels), originals(tmp_path, suffix), tmp_path / f"x{suffix}"
    if not known.holds(dtype, channels) or (known.needs_original and dtype in ("int32", "float32")):
        if known.writer is not None and not known.needs_original:
            with pytest.raises(OutputError, match="without loss; write"):
                write_image(path, image)
        return
    write_image(path, image, quality=100, like=like)
    header, found = read_header(path), read_image(path)
    count = 3 if known.kind == "WEBP" else channels  # which has no grey
    assert (header.height, header.width, header.channels, header.has_alpha) == (13, 18, count, False)
    assert (header.format, header.dtype, header.frames) == (known.kind, dtype, 1) or known.kind == "NIFTI"
    assert str(found.dtype) == header.dtype
    if known.kind == "JPEG":
        smooth = Image(np.full((13, 18, channels), 77, np.uint8))
        write_image(path, smooth, quality=100)
        assert np.abs(read_image(path).pixels.astype(int) - 77).max() <= 1
    else:
        assert np.array_equal(found.pixels, np.broadcast_to(image.pixels, (13, 18, count)))
    assert is_image_name(path)
    assert inspect_file(path).fault == ""


@pytest.mark.usefixtures("all_formats")
def test_transparency_is_kept_or_refused_as_the_format_declares(tmp_path: Path) -> None:
    declared = {known.kind for known in FORMATS.lookup.known if known.alpha}
    assert declared == {"PNG", "WEBP", "TIFF"}
    for suffix, kind in FORMATS.writable.items():
        path, image = tmp_path / f"x{suffix}", picture("uint8", 3, alpha=True)
        if kind not in declared:
            with pytest.raises(OutputError, match=r"cannot keep transparency; write \.png"):
                write_image(path, image)
            continue
        write_image(path, image, quality=100)
        found = read_image(path)
        assert found.alpha is not None
        assert image.alpha is not None
        assert np.array_equal(found.alpha > 0, image.alpha > 0)
        assert read_header(path).has_alpha


def test_a_result_keeps_what_its_format_says_that_it_keeps(tmp_path: Path) -> None:
    for suffix, kept in ((".dcm", {"physical size"}), (".nii", {"physical size"}), (".nii.gz", {"physical size"})):
        like = originals(tmp_path, suffix)
        assert like is not None
        assert read_header(like).carries == kept
        assert lost_from(like, suffix) == frozenset()
        assert lost_from(like, ".png") == kept
        write_stack(tmp_path / f"result{suffix}", [picture("uint8", 1)], like=like)
        assert read_header(tmp_path / f"result{suffix}").carries == kept
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "map.tif", np.zeros((13, 18), np.float32), resolution=(40, 40), resolutionunit=3)
    assert read_header(tmp_path / "map.tif").carries == {"physical size"}
    write_image(tmp_path / "result.tif", picture("float32", 1), like=tmp_path / "map.tif")
    assert read_header(tmp_path / "result.tif").carries == {"physical size"}
    # A format keeps what its own files carry, and nothing of another's.
    assert lost_from(tmp_path / "map.tif", ".tif") == frozenset()
    assert lost_from(tmp_path / "map.tif", ".dcm") == lost_from(tmp_path / "map.tif", ".nii") == {"physical size"}


def test_a_result_of_a_lossless_webp_is_lossless(tmp_path: Path) -> None:
    image = picture("uint8", 3)
    write_image(tmp_path / "lossless.webp", image, quality=100)
    write_image(tmp_path / "lossy.webp", image, quality=50)
    write_image(tmp_path / "again.webp", image, quality=50, like=tmp_path / "lossless.webp")
    assert np.array_equal(read_image(tmp_path / "again.webp").pixels, image.pixels)
    write_image(tmp_path / "again.webp", image, quality=50, like=tmp_path / "lossy.webp")
    assert (tmp_path / "again.webp").read_bytes() == (tmp_path / "lossy.webp").read_bytes()


PICTURES = [suffix for suffix in FORMATS.writable if suffix not in (".jpeg", ".tiff")]


@pytest.mark.parametrize(("content", "suffix"), list(itertools.permutations(PICTURES, 2)))
def test_a_picture_is_read_by_its_content_whatever_its_suffix(content: str, suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"x{content}", picture("uint8", 3))
    expected = read_image(tmp_path / f"x{content}").pixels
    (tmp_path / f"x{content}").rename(tmp_path / f"y{suffix}")
    assert read_header(tmp_path / f"y{suffix}").format == FORMATS.writable[content]
    assert np.array_equal(read_image(tmp_path / f"y{suffix}").pixels, expected)


def test_the_own_formats_are_valid_and_have_the_suffixes_that_folders_are_searched_for() -> None:
    for known in FORMATS.lookup.known:
        FormatRegistry("image format", "none", required=("suffixes", "read_header", "read")).register(known.format)
    expected = ".png .jpg .jpeg .jpe .jfif .mpo .webp .tif .tiff .bmp .dib .gif .ppm .pnm .pbm .pgm .dcm .nii .nii.gz"
    assert set(expected.split()) == FORMATS.suffixes
    assert list(FORMATS.writable) == [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm"]


# --- the registry -----------------------------------------------------------------------------------


def test_a_suffix_counts_as_an_image_once_its_format_is_registered(tmp_path: Path) -> None:
    path = tmp_path / "x.pck.z"
    path.write_bytes(Packed().encode([picture("uint8", 3)], Target(path=path)))
    with pytest.raises(DataError, match="holds no images"):
        FolderSource(tmp_path)
    FORMATS.register(Packed())
    assert suffix_of(path) == ".pck.z"
    source = FolderSource(tmp_path)
    assert (source.name(0), source.stem(0)) == ("x.pck.z", "x")
    assert read_header(path).format == "packed"
    FORMATS.forget("packed")
    assert not is_image_name(path)


def changed(**members: Any) -> Any:
    return type("Changed", (Packed,), members)()


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (Packed, r"it is a class; register an object of it, Packed\(\)"),
        (changed(suffixes=(".png",)), "claims the suffix .png, which belongs to PNG; give its files another"),
        (changed(suffixes=".pck"), "its suffixes must be a tuple of suffixes in lower case"),
        (changed(suffixes=(".PCK",)), "its suffixes must be a tuple of suffixes in lower case"),
        (changed(suffixes=()), "it has no suffix"),
        (changed(writes=(".other",)), "it writes suffixes that it does not read"),
        (changed(alpha="no"), "alpha must be True or False"),
        (changed(keeps=("colours",)), "its keeps must be among pages, frames, planes"),
        (changed(dtypes=("float64",)), "its dtypes must be among uint8, uint16"),
        (changed(kind="PNG"), "has the kind of a built-in one"),
        (object(), "it lacks kind, suffixes, read_header, read"),
    ],
)
def test_what_is_no_format_is_refused_with_the_reason(part: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        FORMATS.register(part)
    assert "packed" not in FORMATS


def test_content_decides_for_a_format_that_recognises_it(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros((4, 5), np.uint8))
    (tmp_path / "array.npy").rename(tmp_path / "array.png")
    np.save(tmp_path / "unnamed.npy", np.zeros((4, 5), np.uint8))
    (tmp_path / "unnamed.npy").rename(tmp_path / "unnamed")
    write_image(tmp_path / "picture.png", picture("uint8", 3))
    (tmp_path / "picture.png").rename(tmp_path / "picture.npy")
    unread = foreign_by_name(tmp_path / "picture.npy")
    assert unread is not None
    assert unread.name == "a file of arrays"
    with pytest.raises(ImageError, match=r"array.png is a file of arrays, no image of a known format"):
        read_image(tmp_path / "array.png")
    named(f"{EXAMPLE}:paper")
    assert read_image(tmp_path / "array.png").pixels.shape == (4, 5, 1)
    assert foreign_by_name(tmp_path / "picture.npy") is None
    with pytest.raises(ImageError, match=r"picture.npy is a PNG image by another name; give it the suffix .png\.$"):
        read_image(tmp_path / "picture.npy")
    found = what_is(tmp_path / "unnamed")
    assert found is not None
    assert found.described == "a npy image by another name: give it the suffix .npy"


def installed(folder: Path, name: str, module: str, content: str) -> None:
    """Lay out a package as an installer does, with one entry point."""
    (folder / f"{module}.py").write_text(content)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[unpaired.formats]\n{name} = {module}:NPY\n")


def test_an_installed_format_is_found_and_a_broken_one_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "site").mkdir()
    installed(tmp_path / "site", "npy", "arrays_for_tests", EXAMPLE.read_text())
    installed(tmp_path / "site", "other", "broken_for_tests", "import no_such_module_for_tests")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(FORMATS, "_lookup", None)
    np.save(tmp_path / "x.npy", np.zeros((4, 5, 3), np.uint8))
    assert is_image_name(tmp_path / "x.npy")
    assert "The image format other of the package broken_for_tests 1.2 cannot be loaded" in caplog.text
    assert read_header(tmp_path / "x.npy").format == "npy"
    assert ".npy" in FORMATS.writable
    assert to_send() == ()  # another process finds it by itself
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(
        ImageError, match=r"x\.npy cannot be read as npy by the package arrays_for_tests 1\.2 \(ValueError"
    ):
        read_image(tmp_path / "x.npy")


# --- faults of formats ------------------------------------------------------------------------------


def test_a_format_that_fails_is_named_with_the_file_and_the_reason_chained(tmp_path: Path) -> None:
    FORMATS.register(Packed())
    path = tmp_path / "x.pck"
    path.write_bytes(b"no stream")
    with pytest.raises(
        ImageError, match=r"x\.pck cannot be read as packed by Python code \(error: Error -3 .*\); replace or remove"
    ) as caught:
        read_image(path)
    assert isinstance(caught.value.__cause__, zlib.error)
    assert inspect_file(path).fault == "unsupported"
    with pytest.raises(ImageError, match=r"Cannot open .*y\.pck: No such file"):
        read_header(tmp_path / "y.pck")


def lying(**members: Any) -> None:
    FORMATS.register(changed(**members))


def test_a_format_that_breaks_its_contract_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pck"
    path.write_bytes(Packed().encode([picture("uint8", 3)], Target(path=path)))

    def false(wrong: dict[str, Any]) -> Any:
        return lambda self, path, file: dataclasses.replace(self.taken(file)[0], **wrong)

    for wrong, reason in (
        ({"format": "PNG"}, "the format packed of Python code returns a header of the format PNG"),
        ({"width": 0}, "It holds no picture according to its header"),
        ({"height": 12}, r"returns an image of 18 x 13 pixels, .* but its header declares 18 x 12 pixels"),
        ({"dtype": "uint16"}, "3 channels of uint8, but its header declares .* of uint16"),
        ({"height": 2**20, "width": 2**20}, "more than the limit of"),
    ):
        lying(read_header=false(wrong))
        with pytest.raises(ImageError, match=f"x.pck.*{reason}"):
            read_image(path)
    lying(read_header=lambda self, path, file: (13, 18))
    with pytest.raises(ImageError, match="no ImageHeader from read_header but tuple"):
        read_header(path)
    lying(read=lambda self, path, file, frame: np.zeros((13, 18, 3)))
    with pytest.raises(ImageError, match="no Image from read but ndarray"):
        read_image(path)
    lying(read=lambda self, path, file, frame: (_ for _ in ()).throw(ImageError("It is upside down; turn it.")))
    with pytest.raises(ImageError, match=r"x\.pck: It is upside down; turn it\.$"):
        read_image(path)
    lying(encode=lambda self, images, target: images[3])
    with pytest.raises(OutputError, match=r"x.pck cannot be written as packed by Python code \(IndexError: "):
        encode_image(path, picture("uint8", 1))


def test_a_format_without_a_writer_is_read_only(tmp_path: Path) -> None:
    read_only = type("ReadOnly", (), {name: vars(Packed)[name] for name in ("kind", "read_header", "read", "taken")})
    read_only.suffixes = (".pck",)  # type: ignore[attr-defined]
    FORMATS.register(read_only())
    assert ".pck" not in FORMATS.writable
    with pytest.raises(
        OutputError, match=r"choose a name that ends in \.png, .*; \.dcm is written from \.dcm input only"
    ):
        write_image(tmp_path / "x.pck", picture("uint8", 1))


# --- stacks, windows, other processes ---------------------------------------------------------------


class Pile(Packed):
    """A format of the tests whose files are stacks."""

    kind, suffixes, volumes = "pile", (".pile",), True

    def read_header(self, path: Path, file: BinaryIO) -> ImageHeader:
        count, height, width = np.load(file, allow_pickle=False).shape
        return ImageHeader(width, height, "", 1, False, 16, self.kind, "uint16", frames=count)

    def read(self, path: Path, file: BinaryIO, frame: int) -> Image:
        return Image(np.load(file, allow_pickle=False)[frame][:, :, None].copy())

    def encode(self, images: Sequence[Image], target: Target) -> bytes:
        content = io.BytesIO()
        np.save(content, np.stack([image.pixels[:, :, 0] for image in images]), allow_pickle=False)
        return content.getvalue()


def test_the_slices_of_a_registered_stack_are_images_and_come_back_as_one(tmp_path: Path) -> None:
    FORMATS.register(Pile())
    slices, path = [picture("uint16", 1) for _ in range(3)], tmp_path / "x.pile"
    path.write_bytes(Pile().encode(slices, Target(path=path)))
    source = FolderSource(tmp_path)
    assert [source.name(index) for index in range(3)] == ["x.pile[0]", "x.pile[1]", "x.pile[2]"]
    assert np.array_equal(source[2].pixels, slices[2].pixels)
    assert is_stack(path)
    write_stack(tmp_path / "y.pile", slices, like=path)
    assert (tmp_path / "y.pile").read_bytes() == path.read_bytes()
    with pytest.raises(OutputError, match="are written in its own format"):
        write_stack(tmp_path / "y.tif", slices, like=path)


def test_a_window_is_read_and_written_by_the_format_or_else_of_the_whole(tmp_path: Path) -> None:
    FORMATS.register(Raw())
    image = picture("uint8", 1)
    for suffix in (".rawg", ".png", ".tif"):
        path = tmp_path / f"x{suffix}"
        header = ImageHeader(18, 13, "", 1, False, 8, "")
        with writing_windows(path, header) as writer:
            for top, left in itertools.product((0, 6), (0, 9)):
                writer.write(top, left, image.pixels[top : top + 7, left : left + 9])
        assert np.array_equal(read_window(path, 2, 5, 9, 13).pixels, image.pixels[2:11, 5:18])
        with pytest.raises(ImageError, match=r"18 x 13 pixels; choose another one"):
            read_window(path, 5, 0, 9, 1)
    with (
        pytest.raises(OutputError, match="cannot keep 3 channels of uint8"),
        writing_windows(tmp_path / "y.rawg", dataclasses.replace(header, channels=3)),
    ):
        pass
    with pytest.raises(RuntimeError, match="stop"), writing_windows(tmp_path / "z.png", header):
        raise RuntimeError("stop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.rawg", "x.tif"]


def test_a_registered_format_is_sent_to_other_processes_and_an_unimportable_one_refused() -> None:
    assert to_send() == ()
    part = FORMATS.register(Packed())
    ((place, sent),) = to_send()
    assert sent is part
    assert (place.module, place.file) == (__name__, sys.modules[__name__].__file__)
    FORMATS.forget("packed")
    receive(((place, sent),))
    assert FORMATS.get("packed") is part

    class Inner(Packed):
        kind, suffixes = "inner", (".inner",)

    FORMATS.register(Inner())
    with pytest.raises(ConfigError, match=r"inner is defined in a function, .* --data.num-workers 0"):
        to_send()
