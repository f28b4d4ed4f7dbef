#!/usr/bin/env bash
# SimpleITK reads a TIFF of several bands as one band: the samples of a pixel stand side by side as pixels.
#
# A multispectral or multi-channel TIFF (interleaved samples, photometric "min is black") should open with 5 components a
# pixel, or not at all. It opens as a greyscale image of the right size. Its row is the beginning of the row of samples:
# all bands of the first pixels, with the right-hand four fifths of the picture missing. No exception, no warning.
# rasterio (GDAL) reads the same file right.
#
# Seen with SimpleITK 2.5.7, tifffile 2026.3.3, rasterio 1.4.4, numpy 2.4.6, Python 3.11. Band b of column x is 10x + b:
#   SimpleITK: 1 component, size (16, 16), first row [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 30]
#   rasterio: 5 bands, band 1 [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150]
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 tifffile==2026.3.3 rasterio==1.4.4 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - "$folder/bands.tif" <<'PYTHON'
import sys

import numpy as np
import rasterio
import SimpleITK as sitk
import tifffile

path = sys.argv[1]
columns = 10 * np.arange(16)[:, None] + np.arange(5)
bands = np.broadcast_to(columns, (16, 16, 5)).astype(np.uint8)
tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig", metadata=None)

image = sitk.ReadImage(path)
row = sitk.GetArrayFromImage(image)[0].tolist()
print(f"SimpleITK: {image.GetNumberOfComponentsPerPixel()} component, size {image.GetSize()}, first row {row}")
with rasterio.open(path) as file:
    read = file.read()
print(f"rasterio: {len(read)} bands, band 1 {read[0, 0].tolist()}")
assert (read == bands.transpose(2, 0, 1)).all()
sys.exit(image.GetNumberOfComponentsPerPixel() != 1 or row != bands.reshape(16, -1)[0, :16].tolist())
PYTHON
