#!/usr/bin/env bash
# torch 2.13.0: the first optimizer of a process imports torch's compiler, which takes longer than a small training.
#
# Expected: torch.optim.Adam(parameters) is arithmetic; nothing is compiled unless torch.compile is called. Behaviour: the
# methods of every optimizer are wrapped so as to keep the compiler out, and the wrapper imports torch._dynamo (with
# sympy) when it first runs. Command lines, tests and each rank of a job pay for it once.
#
# Output with torch 2.13.0, Python 3.11, x86-64 (seconds of processor time, a busy two-core machine):
#   before: torch._dynamo imported: False
#   Adam of one weight takes 1.24 s, torch._dynamo imported: True, sympy imported: True
#   a second Adam takes 0.0002 s
# Exits non-zero once the first optimizer imports no compiler.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
import time

import torch

print("torch", torch.__version__)
weight = torch.zeros(1, requires_grad=True)
print("before: torch._dynamo imported:", "torch._dynamo" in sys.modules)
assert "torch._dynamo" not in sys.modules
start = time.process_time()
torch.optim.Adam([weight])
first = time.process_time() - start
names = ("torch._dynamo", "sympy")
there = ", ".join(f"{name} imported: {name in sys.modules}" for name in names)
print(f"Adam of one weight takes {first:.2f} s, {there}")
start = time.process_time()
torch.optim.Adam([weight])
again = time.process_time() - start
print(f"a second Adam takes {again:.4f} s")
assert "torch._dynamo" in sys.modules, "the first optimizer imports no compiler any more"
assert first > 20 * again
PYTHON
