#!/usr/bin/env bash
# safetensors.numpy saves a transposed array in the order of its memory, so that other numbers come back.
#
# An image of height x width x channels is turned into channels first by x.transpose(2, 0, 1), which is a view: only the
# strides change. numpy.save and tobytes() follow the strides. safetensors.numpy writes the memory as it lies, under the
# new shape, without an error: the values are all there, at other places. safetensors.torch refuses such a tensor.
# numpy.ascontiguousarray(x) before saving is enough.
#
# Seen with safetensors 0.8.0, numpy 2.4.6, Python 3.11:
#   red 10, green 20, blue 30, channels first, saved and loaded: red is [[10, 20], [30, 10]]
#   the same, contiguous: red is [[10, 10], [10, 10]]
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from safetensors.numpy import load, save

image = np.empty((2, 2, 3), np.float32)
image[:] = 10, 20, 30
first = image.transpose(2, 0, 1)
red = load(save({"image": first}))["image"][0].astype(int).tolist()
right = load(save({"image": np.ascontiguousarray(first)}))["image"][0].astype(int).tolist()
print("red 10, green 20, blue 30, channels first, saved and loaded: red is", red)
print("the same, contiguous: red is", right)
sys.exit((red, right) != ([[10, 20], [30, 10]], [[10, 10], [10, 10]]))
PYTHON
