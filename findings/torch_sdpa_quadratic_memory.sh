#!/usr/bin/env bash
# torch: scaled_dot_product_attention on a CPU holds the matrix of all pairs unless the last axis of query, key and value
# is contiguous and all three have the same width. Nothing warns, and the result is right.
#
# Attention over the places of a feature map meets both: n c h w, flattened and transposed, has its channels last in
# shape only, and the self-attention of SAGAN has narrower queries than values. Copies and a few columns of zeros, which
# change no product, bring the memory from the square of the places to their number.
#
# Seen with torch 2.13.0+cpu, Python 3.11, 6,000 places, 16 channels, growth of the peak memory:
#   contiguous, equal widths 3 MB, transposed values 315 MB, queries and keys of 4 channels 314 MB
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
cat > "$folder/attend.py" <<'PYTHON'
import resource
import sys

import torch
from torch.nn.functional import scaled_dot_product_attention

torch.set_num_threads(1)
case, places = sys.argv[1], 6000
values = torch.randn(1, 1, 16, places).mT if case == "transposed" else torch.randn(1, 1, places, 16)
queries, keys = (torch.randn(1, 1, places, 4 if case == "widths" else 16) for _ in range(2))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    scaled_dot_product_attention(queries, keys, values)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
PYTHON
expected=(small large large)
for index in 0 1 2; do
  case=$(echo contiguous transposed widths | cut -d ' ' -f $((index + 1)))
  megabytes=$("$folder/venv/bin/python" -W ignore "$folder/attend.py" "$case")
  echo "$case: $megabytes MB"
  size=$([ "$megabytes" -gt 100 ] && echo large || echo small)
  [ "$size" = "${expected[$index]}" ] || exit 1
done
