#!/usr/bin/env bash
# Pillow loses the transparent level of a PNG in grey of 2 or 4 bits.
#
# The tRNS chunk of a grey PNG names one level, in the levels of the file: 0..15 at 4 bits. Pillow spreads the pixels to
# 0..255 and leaves info["transparency"] as it stands, so that convert("LA") compares 85 with 5 and makes every pixel
# opaque; at 8 bits the same works. libpng (here by imagecodecs) makes level 5 transparent, and that one alone. Level 0,
# which stays 0, is the only one that comes out right.
#
# Seen with Pillow 13.0.0, imagecodecs 2026.3.6, numpy 2.4.6, Python 3.11:
#   Pillow  4 bits: opaque at [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
#   Pillow  8 bits: opaque at [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
#   libpng  4 bits: opaque at [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import sys
import zlib

import imagecodecs
import numpy as np
from PIL import Image


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(depth):
    """16 pixels of the levels 0..15 in one row, of which level 5 is transparent."""
    row = bytes(range(16)) if depth == 8 else bytes(2 * n << 4 | 2 * n + 1 for n in range(8))
    header = struct.pack(">IIBBBBB", 16, 1, depth, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", 5)) + chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def opaque(alpha):
    return [level for level in range(16) if alpha[0, level]]


found = {
    "Pillow  4 bits": opaque(np.array(Image.open(io.BytesIO(png(4))).convert("LA"))[:, :, 1]),
    "Pillow  8 bits": opaque(np.array(Image.open(io.BytesIO(png(8))).convert("LA"))[:, :, 1]),
    "libpng  4 bits": opaque(imagecodecs.png_decode(png(4))[:, :, 1]),
}
for name, levels in found.items():
    print(f"{name}: opaque at {levels}")
without_5 = [level for level in range(16) if level != 5]
sys.exit(list(found.values()) != [list(range(16)), without_5, without_5])
PYTHON
