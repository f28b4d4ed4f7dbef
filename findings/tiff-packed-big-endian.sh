#!/bin/sh
# tifffile 2026.3.3 (with imagecodecs 2026.3.6, numpy 2.4.6): packed samples in big-endian files are written wrongly.
#
# TIFF packs samples of 9 to 15 bits from the highest bit on, whatever the byte order of the file is. Asked for
# bitspersample=12, tifffile writes a little-endian file right. With byteorder=">" it swaps the bytes of the numbers before
# it packs them, so that other numbers are in the file: not even its own reader gives back what was written, and no error
# is raised. Reading is right: a big-endian file that is packed by hand comes back whole.
#
# Output seen:
#   little-endian: as written
#   big-endian: 3060 of 3072 numbers differ
#   big-endian, packed by hand: as written
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import struct
import sys

import numpy as np
import tifffile

numbers = (np.arange(48 * 64).reshape(48, 64) % 4096).astype(np.uint16)
path = sys.argv[1] + "/x.tif"


def differing():
    return int((tifffile.imread(path) != numbers).sum())


tifffile.imwrite(path, numbers, bitspersample=12, byteorder="<", photometric="minisblack", metadata=None)
little = differing()
tifffile.imwrite(path, numbers, bitspersample=12, byteorder=">", photometric="minisblack", metadata=None)
big = differing()

every = (numbers[:, :, None] >> np.arange(11, -1, -1)) & 1
body = np.packbits(every.reshape(48, -1).astype(np.uint8), axis=1).tobytes()
tags = [(256, 64), (257, 48), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 48), (279, len(body))]
page = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
with open(path, "wb") as file:
    file.write(b"MM\0*" + struct.pack(">I", 8 + len(body)) + body + page)
by_hand = differing()

print("little-endian:", f"{little} numbers differ" if little else "as written")
print("big-endian:", f"{big} of {numbers.size} numbers differ" if big else "as written")
print("big-endian, packed by hand:", f"{by_hand} numbers differ" if by_hand else "as written")
sys.exit(0 if little == 0 and big > 0 and by_hand == 0 else 1)
PYTHON
