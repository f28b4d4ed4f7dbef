#!/bin/sh
# Pillow's NEAREST sums up a float step, so where a new pixel's centre lies between two old ones, rounding decides.
#
# Pillow 12.3.0, Python 3.11, x86-64. Masks of classes are resized by NEAREST so that every pixel is one that was there.
# One would bet that a size alone says which: the old pixel below the new one's centre, (i + 0.5) * old / new, and a rule
# for centres that fall exactly between two. There is none: 2 pixels shrunk to 1 (centre at exactly 1.0) give the second
# one, 2 enlarged to 7 (the fourth centre at exactly 1.0) give the first, 2 enlarged to 9 the other again. Of the 39,402 pairs
# of sizes from 2..199 to 1..199, 18 % hold a pixel that differs from the exact rule: masks made by Pillow and masks made
# in whole numbers differ along edges of classes.
#
# Output seen:
#   2 -> 1: [1]
#   2 -> 7: [0, 0, 0, 0, 1, 1, 1]
#   sizes with a pixel that differs from the exact rule: 7162 of 39402
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==12.3.0
"$work/venv/bin/python" - <<'PY'
from PIL import Image


def nearest(old: int, new: int) -> list[int]:
    row = Image.new("I", (old, 1))
    row.putdata(range(old))
    return list(row.resize((new, 1), Image.Resampling.NEAREST).tobytes()[::4])


one, seven = nearest(2, 1), nearest(2, 7)
print("2 -> 1:", one)
print("2 -> 7:", seven)
sizes = [(old, new) for old in range(2, 200) for new in range(1, 200)]
odd = sum(nearest(old, new) != [(2 * i + 1) * old // (2 * new) for i in range(new)] for old, new in sizes)
print("sizes with a pixel that differs from the exact rule:", odd, "of", len(sizes))
assert one == [1]
assert seven == [0, 0, 0, 0, 1, 1, 1]
assert odd == 7162, odd
PY
