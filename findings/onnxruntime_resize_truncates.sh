#!/usr/bin/env bash
# ONNX Runtime's linear Resize of uint8 cuts fractions off: each resize makes an image half a level darker.
#
# Rounding would leave the mean where it is. 63.75 becomes 63 instead of 64, 0.75 becomes 0. No pixel is
# off by a whole level, so a comparison within one level passes; a network that is given bytes and resizes them before it
# converts them to float is shifted all the same, and a chain of resizes drifts. OpenVINO rounds.
#
# Seen with onnxruntime 1.32.0, openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6, Python 3.11; [0, 255, 0, 1] enlarged twice:
#   float32 [0.0, 63.75, 191.25, 191.25, 63.75, 0.25, 0.75, 1.0]
#   onnxruntime uint8 [0, 63, 191, 191, 63, 0, 0, 1]
#   openvino uint8 [0, 64, 191, 191, 64, 0, 1, 1]
#   noise of 32 x 32 made 48 x 48: the mean falls by 0.48 (onnxruntime), -0.01 (openvino)
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper


def resize(x, size):
    """Return x in another size, as ONNX Runtime and OpenVINO make it, in the type of x."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear")
    places = [helper.make_tensor_value_info(n, kind, (1, 1, *s)) for n, s in (("x", x.shape[2:]), ("y", size))]
    sizes = numpy_helper.from_array(np.array([1, 1, *size]), "size")
    graph = helper.make_graph([node], "resize", places[:1], places[1:], [sizes])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model = made.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, {"x": x})[0], compiled([x])[0]


row = np.array([[[[0, 255, 0, 1]]]], np.uint8)
exact = resize(row.astype(np.float32), (1, 8))[0].ravel()
by_onnxruntime, by_openvino = (y.ravel().tolist() for y in resize(row, (1, 8)))
print("float32", exact.tolist())
print("onnxruntime uint8", by_onnxruntime)
print("openvino uint8", by_openvino)

noise = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32), dtype=np.uint8)
mean = resize(noise.astype(np.float32), (48, 48))[0].mean(dtype=np.float64)
falls = [mean - y.mean(dtype=np.float64) for y in resize(noise, (48, 48))]
print(f"noise of 32 x 32 made 48 x 48: the mean falls by {falls[0]:.2f} (onnxruntime), {falls[1]:.2f} (openvino)")
sys.exit(not (by_onnxruntime == np.trunc(exact).tolist() and falls[0] > 0.4 and abs(falls[1]) < 0.05))
PYTHON
