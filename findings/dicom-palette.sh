#!/bin/sh
# pydicom 3.0.2: a palette of more than 256 colours with 8 bits an entry gives the wrong colours, without a word.
#
# DICOM lets a PALETTE COLOR picture of 16 bits have a table of up to 65,536 entries of 8 bits each (PS3.3 C.7.6.3.1.5).
# pydicom.pixels.apply_color_lut holds the places in the table in the type of its entries, uint8 here, so that place
# 256 becomes 0, place 300 becomes 44: every picture of more than 256 colours comes back scrambled. One of 16 bits an
# entry is right.
#
# Expected of the red channel: [0, 63, 64, 75, 128, 255]
# Seen with pydicom 3.0.2 and numpy 2.3.5: [0, 63, 0, 11, 0, 63]
#
# Exits 0 while pydicom behaves so, 1 once it does not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 numpy==2.3.5
"$folder/venv/bin/python" - <<'END'
import sys

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

places = np.array([[0, 255, 256, 300, 512, 1023]], np.uint16)


def red(bits):
    """Return the red of a grey ramp of 1,024 colours, of 8 or 16 bits an entry."""
    entries = (np.arange(1024) // 4).astype(f"uint{bits}")
    data = Dataset()
    for colour in ("Red", "Green", "Blue"):
        data.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [1024, 0, bits])
        data.add_new(f"{colour}PaletteColorLookupTableData", "OW", entries.tobytes())
    return apply_color_lut(places, data)[0, :, 0].tolist(), entries[places][0].tolist()


for bits in (16, 8):
    seen, expected = red(bits)
    print(f"{bits} bits an entry: {seen}, expected {expected}")
    if (seen == expected) != (bits == 16):
        sys.exit("pydicom behaves otherwise now")
END
