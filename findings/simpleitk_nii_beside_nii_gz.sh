#!/usr/bin/env bash
# Asked for brain.nii.gz, SimpleITK reads brain.nii if it lies in the same folder.
#
# Volumes are often kept packed and unpacked side by side, or a packed result is written next to its unpacked input. The
# file that was named exists and is valid; the voxels that come back are those of the other one, without a warning. Alone in
# a folder the packed file is read. nibabel reads the file that is named.
#
# Seen with SimpleITK 2.5.7, nibabel 5.4.2, numpy 2.4.6, Python 3.11. brain.nii holds ones, brain.nii.gz twos:
#   alone: SimpleITK reads 2 from brain.nii.gz, nibabel 2
#   side by side: SimpleITK reads 1 from brain.nii.gz, nibabel 2
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import nibabel
import numpy as np
import SimpleITK as sitk

unpacked, packed = sys.argv[1] + "/brain.nii", sys.argv[1] + "/brain.nii.gz"


def save(value, path):
    nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), value, np.int16), np.eye(4)), path)


def voxels(when):
    """Return the one value of brain.nii.gz as SimpleITK and as nibabel read it."""
    by_itk = int(sitk.GetArrayFromImage(sitk.ReadImage(packed)).max())
    by_nibabel = int(nibabel.load(packed).get_fdata().max())
    print(f"{when}: SimpleITK reads {by_itk} from brain.nii.gz, nibabel {by_nibabel}")
    return by_itk, by_nibabel


save(2, packed)
alone = voxels("alone")
save(1, unpacked)
beside = voxels("side by side")
sys.exit((alone, beside) != ((2, 2), (1, 2)))
PYTHON
