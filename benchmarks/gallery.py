"""Pictures for docs/gallery.md: photographs, and their translations at the scale of training and at full size.

    python benchmarks/gallery.py RUN PHOTOGRAPHS OUT.jpg [--direction AtoB] [--resize trained]

Each row is a photograph and its translations: one column for each of --resize ("trained", "native" or a side in
pixels), as `unpaired translate` makes them. Photographs are files; all rows have the same width.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import PIL.Image

GAP = 6


def translated(run: Path, files: list[Path], out: Path, direction: str, resize: str) -> list[Path]:
    """Translate files with the command line; return the results in their order."""
    detail = [] if resize == "native" else ["--detail"]
    command = [sys.executable, "-m", "unpaired", "translate", str(run), *map(str, files), "--out", str(out)]
    subprocess.run([*command, "--direction", direction, "--resize", resize, *detail], check=True)
    return [next(out.glob(f"{file.stem}*")) for file in files]


def row(pictures: list[PIL.Image.Image], width: int) -> PIL.Image.Image:
    """Return pictures beside one another, each `width` pixels wide."""
    scaled = [
        one.resize((width, round(one.height * width / one.width)), PIL.Image.Resampling.LANCZOS) for one in pictures
    ]
    sheet = PIL.Image.new("RGB", (len(scaled) * (width + GAP) - GAP, max(one.height for one in scaled)), "white")
    for index, one in enumerate(scaled):
        sheet.paste(one, (index * (width + GAP), 0))
    return sheet


def main() -> None:
    """Translate and compose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--direction", default="AtoB")
    parser.add_argument("--resize", nargs="+", default=["trained", "native"])
    parser.add_argument("--width", type=int, default=360)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        columns = [given.photographs]
        for resize in given.resize:
            columns.append(translated(given.run, given.photographs, Path(folder) / resize, given.direction, resize))
        rows = [
            row([PIL.Image.open(file).convert("RGB") for file in files], given.width)
            for files in zip(*columns, strict=True)
        ]
    sheet = PIL.Image.new("RGB", (rows[0].width, sum(one.height + GAP for one in rows) - GAP), "white")
    top = 0
    for one in rows:
        sheet.paste(one, (0, top))
        top += one.height + GAP
    sheet.save(given.out, quality=88)


if __name__ == "__main__":
    main()
