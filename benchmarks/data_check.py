"""Precision and recall of `unpaired data check` on a folder of odd files that are sorted in classes.

    python benchmarks/data_check.py FOLDER
    python benchmarks/data_check.py --copies FOLDER

FOLDER/CLASSES.json holds a list of paths for each class. A file counts as found where the finding of its class names
it, or where it is passed over for its suffix and the check says so, as training never opens it then. A file has one
class or two and may have more faults, so a finding is also right where Pillow, asked alone, agrees, or pydicom about
medical images, which Pillow does not open. What none confirms is listed: each is a mistake of the check or of the
classes, and a person must say which.

With --copies every image of FOLDER is encoded anew in several ways, and each copy is compared with all images: printed
are how many copies are recognised, how many are taken for another image, and which images of FOLDER are taken for one
another, for a person to look at.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import torch

from unpaired.data.datasets import DataConfig
from unpaired.data.sources import FolderSource
from unpaired.doctor.checkup import check_data
from unpaired.doctor.comparing import look_alikes
from unpaired.images import Image, is_image_name
from unpaired.scanning.predicates import over_background
from unpaired.scanning.thumbnails import thumbnail

BROKEN = {"empty", "not_an_image", "damaged", "too_large", "unsupported", "lfs_pointer", "junk_image", "unreadable"}
EXPECTED = {
    "gray16_tiff_png": {"deep"},
    "float32": {"deep"},
    "cmyk": {"cmyk", "unsupported"},
    "lab": {"unsupported"},
    "one_bit": {"one_bit"},
    "gray_alpha": {"transparent"},
    "palette_transparency": {"transparent"},
    "rgba": {"transparent"},
    "exif_rotated": {"turned"},
    "animated": {"frames", "pages", "damaged"},
    "avif_heif": {"passed_over"},
    "jpeg2000": {"passed_over"},
    "truncated_or_corrupt_load": BROKEN,
    "not_an_image_open": BROKEN | {"junk", "medical"},  # by Pillow, which opens no medical image
    "decompression_bomb": {"too_large"},
    "tiny_1px_or_thin": {"thin"},
    "large": {"large"},
    "git_lfs_pointer": {"lfs_pointer"},
    "os_junk": {"junk"},
}
"""The findings that are right for each class; a class that is missing here is no fault."""

TRIED = set().union(*EXPECTED.values(), {"palette", "flat"})
"""The findings that files alone decide, and not their neighbours."""


def main() -> None:
    """Check the folder and print what agrees and what does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", action="store_true")
    given = parser.parse_args()
    folder: Path = given.folder
    torch.set_num_threads(1)
    if given.copies:
        recognise(folder)
        return
    start, cpu = time.monotonic(), time.process_time()
    checkup = check_data(DataConfig(root=str(folder)), num_threads=1)
    num_files = sum(len(scan.files) for scan in checkup.scans)
    seconds, busy = time.monotonic() - start, time.process_time() - cpu
    print(f"{num_files} files in {seconds:.1f} s ({busy:.1f} s of processor): {num_files / busy:.0f} a second")
    if not (folder / "CLASSES.json").exists():
        return
    codes: dict[str, set[str]] = {}
    for finding in checkup.findings:
        for item in finding.items:
            for path in item.paths:
                codes.setdefault(path.relative_to(folder).as_posix(), set()).add(finding.fault.code)
    compare(folder, json.loads((folder / "CLASSES.json").read_text()), codes)


def compare(folder: Path, classes: dict[str, list[str]], codes: dict[str, set[str]]) -> None:
    """Print recall by class and precision by finding, and every file about which there is no agreement."""
    print(f"\n{'class':28} {'files':>5} {'found':>5} {'passed over':>11} {'recall':>7}")
    for name, files in classes.items():
        right = EXPECTED.get(name)
        if right is None:
            odd = [file for file in files if codes.get(file, set()) & BROKEN]
            print(f"{name:28} {len(files):5}   no fault; called broken: {odd or 'none'}")
            continue
        found = {file for file in files if codes.get(file, set()) & right}
        over = {file for file in files if "passed_over" in codes.get(file, set())} - found
        print(f"{name:28} {len(files):5} {len(found):5} {len(over):11} {(len(found) + len(over)) / len(files):7.1%}")
        for file in sorted(set(files) - found - over):
            print(f"    not found: {file} ({', '.join(sorted(codes.get(file, {'nothing'})))})")
    print(f"\n{'finding':28} {'files':>5} {'by class':>8} {'by Pillow':>9} {'by pydicom':>10} {'precision':>9}")
    for code in sorted(set().union(*codes.values())):
        claimed = {file for file, own in codes.items() if code in own}
        classed = {
            file for name, right in EXPECTED.items() if code in right for file in classes[name] if file in claimed
        }
        pillow = {file for file in claimed - classed if code in seen_by_pillow(folder / file)}
        other = {file for file in claimed - classed - pillow if code in seen_by_pydicom(folder / file)}
        if code not in TRIED:
            continue
        share = (len(classed) + len(pillow) + len(other)) / len(claimed)
        print(f"{code:28} {len(claimed):5} {len(classed):8} {len(pillow):9} {len(other):10} {share:9.1%}")
        for file in sorted(claimed - classed - pillow - other):
            print(f"    unconfirmed: {file}")


COPIES = {
    "JPEG, quality 90": {"format": "JPEG", "quality": 90},
    "JPEG, quality 50": {"format": "JPEG", "quality": 50},
    "JPEG, quality 20": {"format": "JPEG", "quality": 20},
    "WebP, quality 30": {"format": "WEBP", "quality": 30},
    "half as large, PNG": {"format": "PNG", "scale": 0.5},
    "half as large, JPEG 75": {"format": "JPEG", "quality": 75, "scale": 0.5},
    "1.7 times as large, JPEG 85": {"format": "JPEG", "quality": 85, "scale": 1.7},
    "mirrored, JPEG 75": {"format": "JPEG", "quality": 75, "mirror": True},
}


def recognise(folder: Path) -> None:
    """Print how many copies of each kind are recognised, and which different files are."""
    source = FolderSource(folder)
    images = [over_background(source[index], (255, 255, 255)) for index in range(len(source))]
    thumbs = np.stack([thumbnail(image) for image in images])
    alike = list(look_alikes(thumbs))
    same = {(i, j) for i, j, _ in alike}
    print(f"{len(images)} images; taken for one another:")
    for i, j, mirrored in alike:
        print(f"    {source.name(i)} = {source.name(j)}{' mirrored' if mirrored else ''}")
    for name, options in COPIES.items():
        made = np.stack([thumbnail(copied(image, **options)) for image in images])
        found = set[int]()
        wrong = set[tuple[int, int]]()
        for i, j, _ in look_alikes(np.concatenate([thumbs, made])):
            if i < len(images) <= j:
                one, other = i, j - len(images)
                if one == other:
                    found.add(one)
                elif (min(one, other), max(one, other)) not in same:
                    wrong.add((one, other))
        print(f"{name:28} recognised {len(found)} of {len(images)}, taken for another {len(wrong)}")


def copied(image: Image, *, scale: float = 1.0, mirror: bool = False, **options: Any) -> Image:
    """Return an image as it comes back from a file."""
    picture = image.to_pil().convert("RGB")
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    picture = picture if scale == 1.0 else picture.resize(size, PIL.Image.Resampling.BICUBIC)
    picture = picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) if mirror else picture
    encoded = io.BytesIO()
    picture.save(encoded, **options)
    return Image.from_pil(PIL.Image.open(encoded))


def seen_by_pillow(path: Path) -> set[str]:
    """Return the findings that Pillow, with all its parsers and without our code, agrees with."""
    agreed = set() if is_image_name(path) else {"passed_over"}
    try:
        with warnings.catch_warnings(), PIL.Image.open(path) as picture:
            warnings.simplefilter("ignore")
            short, long = sorted(picture.size)
            truth = {
                "transparent": picture.has_transparency_data,
                "frames": getattr(picture, "n_frames", 1) > 1,
                "turned": 2 <= picture.getexif().get(0x0112, 1) <= 8,
                "one_bit": picture.mode == "1",
                "deep": picture.mode in ("I", "F") or picture.mode.startswith("I;16"),
                "cmyk": picture.mode == "CMYK",
                "palette": picture.mode in ("P", "PA"),
                "thin": short < 16 or long > 4 * short,
                "large": short * long > 32 * 286**2,
            }
            agreed |= {code for code, holds in truth.items() if holds}
            picture.load()
            shades = [low == high for low, high in np.atleast_2d(picture.convert("RGB").getextrema())]
            return agreed | ({"flat"} if all(shades) else set())
    except Exception:  # damaged files fail in every way
        return agreed | {"damaged"}


def seen_by_pydicom(path: Path) -> set[str]:
    """Return the findings that pydicom, without our code, agrees with."""
    try:
        data = pydicom.dcmread(path)
    except Exception:  # no DICOM, or a damaged one
        return set()
    deep = {"deep"} if data.BitsAllocated > 8 else set[str]()
    return {"medical"} | deep if data.pixel_array.size else set()


if __name__ == "__main__":
    main()
