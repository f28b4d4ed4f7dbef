#!/usr/bin/env bash
# torch: F.interpolate(mode="bicubic") uses another cubic with antialias=True than without, so that enlarging changes too.
#
# Antialiasing widens the kernel when an image shrinks and should leave enlarging alone; for mode="bilinear" it does. For
# "bicubic" the kernel is Keys's cubic with a = -0.75 without antialias (as OpenCV) and a = -0.5 with it (as Pillow).
# Nothing in the name of the mode says so: an image enlarged twice differs by 5 % of its range.
#
# Seen with torch 2.13.0+cpu, Python 3.11, 8 x 8 noise of 0..1 enlarged to 16 x 16, largest difference:
#   bilinear: 0.0000
#   bicubic: 0.0489
# A single 1 in a row of 0, enlarged twice, one pixel beside its edge, against the formula:
#   without antialias -0.1055 (a = -0.75: -0.1055), with antialias -0.0703 (a = -0.5: -0.0703)
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch.nn.functional import interpolate

noise = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
differing = {}
for mode in ("bilinear", "bicubic"):
    plain, antialiased = (interpolate(noise, size=(16, 16), mode=mode, antialias=a) for a in (False, True))
    differing[mode] = float((plain - antialiased).abs().max())
    print(f"{mode}: {differing[mode]:.4f}")

dot = torch.zeros(1, 1, 16, 16)
dot[..., 8] = 1
plain, antialiased = (
    float(interpolate(dot, size=(32, 32), mode="bicubic", antialias=a)[0, 0, 16, 19]) for a in (False, True)
)
distance = 1.25  # from the centre of pixel 19 of 32 to that of pixel 8 of 16


def cubic(a):
    return a * (distance**3 - 5 * distance**2 + 8 * distance - 4)


print(
    f"without antialias {plain:.4f} (a = -0.75: {cubic(-0.75):.4f}), "
    f"with antialias {antialiased:.4f} (a = -0.5: {cubic(-0.5):.4f})"
)
right = abs(plain - cubic(-0.75)) < 1e-5 and abs(antialiased - cubic(-0.5)) < 1e-5
sys.exit(not (right and differing["bilinear"] < 1e-5 and differing["bicubic"] > 0.01))
PYTHON
