#!/usr/bin/env bash
# ONNX Runtime on a CPU: InstanceNormalization of an image of one value is not 0, and grows with the image.
#
# Every pixel equals the mean, so the answer is 0 whatever the size. The mean is a float32 sum that rounds otherwise than
# the pixels, and the rest is multiplied by 1 / sqrt(epsilon), 316. A blank tile of 512 x 512 with the value 100.1 comes out
# as .99: as if it were a whole standard deviation above its own mean. Blank tiles, empty slices and letter boxes are such
# images, and each layer multiplies again. torch 2.13.0 makes .0009 of it. On noise around 0 both are right to 2e-6, so a
# comparison of an exported network with its original on noise does not show it.
#
# Seen with onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64 with AVX-512:
#   64 x 64: value 0.7 becomes 0.0006, 100.1 becomes 0.1211
#   256 x 256: value 0.7 becomes 0.0099, 100.1 becomes 0.8906
#   512 x 512: value 0.7 becomes 0.0395, 100.1 becomes 0.9919
# Exits with 1 once all are below .001.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node("InstanceNormalization", ["x", "weight", "bias"], ["y"], epsilon=1e-5)
shape = (1, 4, "height", "width")
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
weights = [numpy_helper.from_array(np.full(4, value, np.float32), name) for value, name in ((1, "weight"), (0, "bias"))]
graph = helper.make_graph([node], "norm", values[:1], values[1:], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

largest = 0.0
for side in (64, 256, 512):
    made = []
    for value in (0.7, 100.1):
        y = session.run(None, {"x": np.full((1, 4, side, side), value, np.float32)})[0]
        made.append(float(abs(y).max()))
    print(f"{side} x {side}: value 0.7 becomes {made[0]:.4f}, 100.1 becomes {made[1]:.4f}")
    largest = max(largest, *made)
sys.exit(largest < 1e-3)
PYTHON
