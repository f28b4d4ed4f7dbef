#!/usr/bin/env bash
# tifffile takes 0 for the no-data value of a float32 map whose no-data is the least float32, GDAL's usual choice.
#
# GDAL writes the value as text, -3.4028234663852886e+38, and reads it back: the four pixels of the first row are masked.
# tifffile finds that the text "is not castable to float32", though it is the least float32 to the last digit: it logs
# a line and answers page.nodata = 0, so that the gaps count as heights of -3.4e38, and heights of 0 as gaps.
#
# Seen with tifffile 2026.3.3, rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6, Python 3.11:
#   rasterio: nodata -3.4028234663852886e+38 4 pixels masked
#   tifffile: tag -3.4028234663852886e+38 nodata 0
#   rasterio: nodata -9999.0 4 pixels masked
#   tifffile: tag -9999 nodata -9999.0
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tifffile==2026.3.3 rasterio==1.4.4 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - "$folder/map.tif" <<'PYTHON'
import logging
import sys

import numpy as np
import rasterio
import tifffile

logging.disable(logging.CRITICAL)
found = {}
for value in (float(np.finfo(np.float32).min), -9999.0):
    heights = np.full((4, 4), value, np.float32)
    heights[1:] = 5
    with rasterio.open(
        sys.argv[1], "w", driver="GTiff", height=4, width=4, count=1, dtype="float32", nodata=value
    ) as writer:
        writer.write(heights, 1)
    with rasterio.open(sys.argv[1]) as reader:
        print("rasterio: nodata", reader.nodata, f"{int((reader.read_masks(1) == 0).sum())} pixels masked")
    with tifffile.TiffFile(sys.argv[1]) as file:
        found[value] = file.pages[0].nodata
        print("tifffile: tag", file.pages[0].tags[42113].value, "nodata", found[value])
sys.exit(list(found.values()) != [0, -9999.0])
PYTHON
