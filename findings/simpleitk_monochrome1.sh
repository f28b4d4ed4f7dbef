#!/usr/bin/env bash
# SimpleITK inverts a MONOCHROME1 DICOM image on reading, and still says that it is MONOCHROME1.
#
# In MONOCHROME1 low numbers are white. pydicom returns the stored numbers, and so programs invert them if the tag says so.
# SimpleITK returns 4095 - x (12 stored bits): a program that asks it for the tag and inverts has the picture as a negative, and
# training data read by both libraries have both polarities. Rescaled to Hounsfield units, -1024 (air) becomes 3071.
#
# Seen with SimpleITK 2.5.7, pydicom 3.0.2, numpy 2.4.6, Python 3.11; stored numbers 0, 1, 2, 4095:
#   MONOCHROME2: pydicom [0, 1, 2, 4095], SimpleITK [0, 1, 2, 4095], tag MONOCHROME2
#   MONOCHROME1: pydicom [0, 1, 2, 4095], SimpleITK [4095, 4094, 4093, 0], tag MONOCHROME1
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/image.dcm" <<'PYTHON'
import sys

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

path = sys.argv[1]
stored = [0, 1, 2, 4095]


def write(interpretation):
    """Write the four numbers as a secondary capture of 12 bits."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID = (generate_uid() for _ in range(3))
    data.Modality = "OT"
    data.PhotometricInterpretation = interpretation
    data.SamplesPerPixel, data.PixelRepresentation, data.Rows, data.Columns = 1, 0, 1, 4
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = np.array(stored, "<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


seen = []
for interpretation in ("MONOCHROME2", "MONOCHROME1"):
    write(interpretation)
    image = sitk.ReadImage(path)
    by_pydicom = pydicom.dcmread(path).pixel_array[0].tolist()
    by_itk, tag = sitk.GetArrayFromImage(image).ravel().tolist(), image.GetMetaData("0028|0004").strip()
    print(f"{interpretation}: pydicom {by_pydicom}, SimpleITK {by_itk}, tag {tag}")
    seen.append((by_pydicom, by_itk, tag))
inverted = [4095 - number for number in stored]
sys.exit(seen != [(stored, stored, "MONOCHROME2"), (stored, inverted, "MONOCHROME1")])
PYTHON
