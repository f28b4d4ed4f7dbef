#!/usr/bin/env bash
# nibabel: labels held as floats and saved with the header of the uint8 file they came from are no longer whole numbers.
#
# get_fdata() returns float64, so that Nifti1Image(labels, image.affine, image.header) is the usual way to save an edited
# label map. The header says uint8, and 0..63 fit into uint8. Floats are nevertheless spread over the whole of 0..255 by
# a slope (63 / 255), and rounded: label 1 becomes 0.988, 2 becomes 1.976, and labels == 2 finds nothing. The same numbers as
# int32 are stored as they are. label maps need labels.astype(numpy.uint8).
#
# Seen with nibabel 5.4.2, numpy 2.4.6, Python 3.11:
#   float64: stored as uint8, slope 0.24706, labels [0.0, 0.98824, 1.97647, 2.96471], 63 of 64 differ
#   int32: stored as uint8, slope 1.00000, labels [0.0, 1.0, 2.0, 3.0], 0 of 64 differ
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/labels.nii" <<'PYTHON'
import sys

import nibabel
import numpy as np

labels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
original = nibabel.Nifti1Image(labels, np.eye(4))
differing = []
for kind in ("float64", "int32"):
    nibabel.save(nibabel.Nifti1Image(labels.astype(kind), original.affine, original.header), sys.argv[1])
    loaded = nibabel.load(sys.argv[1])
    values = loaded.get_fdata()
    differing.append(int((values != labels).sum()))
    print(
        f"{kind}: stored as {loaded.get_data_dtype()}, slope {loaded.dataobj.slope:.5f}, "
        f"labels {values.ravel()[:4].round(5).tolist()}, {differing[-1]} of 64 differ"
    )
sys.exit(not (differing[0] > 32 and differing[1] == 0))
PYTHON
