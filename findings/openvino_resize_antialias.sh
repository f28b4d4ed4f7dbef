#!/usr/bin/env bash
# OpenVINO ignores antialias=1 of an ONNX Resize on a CPU: fine stripes alias as if the attribute were not there.
#
# Opset 18 has the attribute so that an exported network shrinks as Pillow and torch (antialias=True) do. The model loads
# without a warning and the output has the right shape. Shrunk to a quarter, stripes three columns wide should become
# nearly grey, as ONNX Runtime has them. OpenVINO reads the two columns next to each centre, bit for bit what it makes of
# antialias=0, and the stripes stay as black and white as they were, at another width. The cubic mode is the same.
#
# Seen with openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, columns 0 0 0 1 1 1 0 0 0 1 1 1 ...:
#   onnxruntime  antialias=0 [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]  antialias=1 [0.28, 0.5, 0.59, 0.41, 0.5, 0.59]
#   openvino     antialias=0 [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]  antialias=1 [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

x = np.tile((np.arange(48) // 3 % 2).astype(np.float32), (1, 1, 48, 1))


def model(antialias):
    """Return an ONNX model that shrinks 48 x 48 pixels to 12 x 12."""
    size = numpy_helper.from_array(np.array([1, 1, 12, 12]), "size")
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear", antialias=antialias)
    places = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, s, s)) for n, s in (("x", 48), ("y", 12))]
    graph = helper.make_graph([node], "shrink", places[:1], places[1:], [size])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return made.SerializeToString()


def by_onnxruntime(antialias):
    session = onnxruntime.InferenceSession(model(antialias), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def by_openvino(antialias):
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(model(antialias)), "CPU", exact)([x])[0]


changes = []
for name, shrink in (("onnxruntime", by_onnxruntime), ("openvino", by_openvino)):
    without, with_antialias = shrink(0), shrink(1)
    changes.append(float(abs(without - with_antialias).max()))
    rows = [y[0, 0, 6, :6].astype(float).round(2).tolist() for y in (without, with_antialias)]
    print(f"{name:12} antialias=0 {rows[0]}  antialias=1 {rows[1]}")
sys.exit(not (changes[0] > 0.3 and changes[1] == 0))
PYTHON
