#!/usr/bin/env bash
# imagecodecs cannot write noise as JPEG-LS: a lossless stream longer than the pixels does not fit its buffer.
#
# Every lossless codec makes some pictures longer, and the library's png_encode returns a longer stream then.
# jpegls_encode raises JpeglsError instead, for noise of 256 x 256 and more; of 64 x 64 it returns more bytes than the
# pixels have. Noisy detectors with all 16 bits in use come close to that.
#
# Seen with imagecodecs 2026.3.6 (CharLS), numpy 2.4.6, Python 3.11:
#   64 x 64: jpegls 4772 bytes of 4096
#   256 x 256: jpegls_encode raises JpeglsError, png 65976 bytes of 65536
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q imagecodecs==2026.3.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import imagecodecs
import numpy as np

small, large = (np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8) for side in (64, 256))
stream = imagecodecs.jpegls_encode(small)
assert (imagecodecs.jpegls_decode(stream) == small).all()
print(f"64 x 64: jpegls {len(stream)} bytes of {small.nbytes}")
try:
    raised = ""
    imagecodecs.jpegls_encode(large)
except imagecodecs.JpeglsError as error:
    raised = str(error)
png = imagecodecs.png_encode(large)
assert (imagecodecs.png_decode(png) == large).all()
print(f"256 x 256: jpegls_encode {'raises JpeglsError' if raised else 'returns'}, png {len(png)} bytes of {large.nbytes}")
sys.exit(not (len(stream) > small.nbytes and len(png) > large.nbytes and "too small" in raised))
PYTHON
