#!/usr/bin/env bash
# OpenVINO on a CPU turns NaN into numbers: Relu makes 0 of it, Clip its lower end, MaxPool -3.4e+38.
#
# NaN is how a network reports that something went wrong, in its input or in its weights; one looks for it in the result.
# ONNX Runtime and torch pass it on through the same operations. With OpenVINO a network that ends in Relu or Clip returns
# a clean black image. LeakyRelu passes it on.
#
# Seen with openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, an input of NaN only:
#   Relu        onnxruntime nan, openvino 0.0
#   Clip        onnxruntime nan, openvino -1.0
#   MaxPool     onnxruntime nan, openvino -3.4028234663852886e+38
#   LeakyRelu   onnxruntime nan, openvino nan
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

x = np.full((1, 3, 16, 16), np.nan, np.float32)
ends = [numpy_helper.from_array(np.float32(value), name) for value, name in ((-1, "low"), (1, "high"))]
nodes = {
    "Relu": helper.make_node("Relu", ["x"], ["y"]),
    "Clip": helper.make_node("Clip", ["x", "low", "high"], ["y"]),
    "MaxPool": helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    "LeakyRelu": helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.2),
}
found = {}
for name, node in nodes.items():
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], name, inputs, outputs, ends if name == "Clip" else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found[name] = float(session.run(None, {"x": x})[0].max()), float(compiled([x])[0].max())
    print(f"{name:11} onnxruntime {found[name][0]}, openvino {found[name][1]}")
passed_on = [name for name, (_, by_openvino) in found.items() if np.isnan(by_openvino)]
all_by_onnxruntime = all(np.isnan(value) for value, _ in found.values())
sys.exit(not (all_by_onnxruntime and passed_on == ["LeakyRelu"] and found["Relu"][1] == 0))
PYTHON
