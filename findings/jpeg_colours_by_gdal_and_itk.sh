#!/usr/bin/env bash
# The same JPEG has other pixels in rasterio and SimpleITK than in Pillow and OpenCV, by up to 59 levels at edges of colour.
#
# Decoders may differ by a level, one would think. With chroma subsampling (4:2:0, the default of nearly all writers) they
# differ in how colours are brought back to full size: libjpeg-turbo interpolates linearly, the libjpeg 9 in rasterio's
# wheels takes a larger inverse DCT, and SimpleITK agrees with rasterio to the bit. At 4:4:4 all four agree. A network that
# is trained on the pixels of one and runs on those of the other is given other colours along every edge.
#
# Seen with Pillow 13.0.0, opencv-python-headless 5.0.0.93, rasterio 1.4.4, SimpleITK 2.5.7, numpy 2.4.6, Python 3.11,
# largest difference to Pillow for a red disc on blue, quality 95:
#   4:4:4: OpenCV 0, rasterio 0, SimpleITK 0
#   4:2:0: OpenCV 0, rasterio 59, SimpleITK 59
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0 opencv-python-headless==5.0.0.93 rasterio==1.4.4 SimpleITK==2.5.7 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - "$folder/disc.jpg" <<'PYTHON'
import sys

import cv2
import numpy as np
import rasterio
import SimpleITK as sitk
from PIL import Image

path = sys.argv[1]
y, x = np.mgrid[:48, :48] - 24
disc = np.where((y**2 + x**2 < 225)[..., None], (220, 40, 30), (30, 60, 200)).astype(np.uint8)


def by_rasterio():
    with rasterio.open(path) as file:
        return file.read().transpose(1, 2, 0)


decoders = {
    "OpenCV": lambda: cv2.imread(path)[:, :, ::-1],
    "rasterio": by_rasterio,
    "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(path)),
}
largest = {}
for sampling in ("4:4:4", "4:2:0"):
    Image.fromarray(disc).save(path, quality=95, subsampling=sampling)
    by_pillow = np.array(Image.open(path)).astype(int)
    largest[sampling] = {name: int(abs(decode() - by_pillow).max()) for name, decode in decoders.items()}
    print(f"{sampling}: " + ", ".join(f"{name} {most}" for name, most in largest[sampling].items()))
same, halved = largest["4:4:4"], largest["4:2:0"]
sys.exit(not (max(same.values()) <= 1 and halved["OpenCV"] <= 1 and min(halved["rasterio"], halved["SimpleITK"]) > 20))
PYTHON
