#!/usr/bin/env bash
# torch 2.13.0 on a CPU: F.group_norm of a channels_last tensor loses its digits as the image grows.
#
# Expected: the order of the same numbers in memory changes the last digit at most. Behaviour: for channels_last each
# thread adds the values and their squares one by one in float32, and the variance is E[x^2] - E[x]^2; contiguous
# tensors are summed in pairs around a running mean. No warning. F.batch_norm(training=True) does nearly the same.
#
# Output with torch 2.13.0+cpu, Python 3.11, x86-64 (AVX512), one thread: largest error to float64 of a normalised
# value, and the standard deviation of the result, which should be 1:
#   512 x 512, mean 3      contiguous 5.9e-07 1.000   channels_last 2.8e-04 1.000
#   1024 x 1024, mean 3    contiguous 4.2e-07 1.000   channels_last 1.2e-03 1.000
#   4096 x 4096, mean 3    contiguous 5.1e-07 1.000   channels_last 9.7e+00 2.674
#   1024 x 1024, mean 100  contiguous 2.4e-06 1.000   channels_last 4.1e+00 0.185
# Exits non-zero once channels_last is as right as contiguous.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F

print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
torch.set_num_threads(1)
made = {}
for side, mean in ((512, 3), (1024, 3), (4096, 3), (1024, 100)):
    x = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(0)) + mean
    centred = x.double() - x.double().mean((2, 3), keepdim=True)
    right = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    for layout in (torch.contiguous_format, torch.channels_last):
        y = F.group_norm(x.contiguous(memory_format=layout), 2, eps=1e-5).double()
        made[side, mean, layout] = float((y - right).abs().max())
        print(side, mean, layout, f"error {made[side, mean, layout]:.1e}, deviation {y.std():.3f}")
contiguous = [error for (_, _, layout), error in made.items() if layout == torch.contiguous_format]
assert max(contiguous) < 2e-5, "contiguous tensors are no longer right"
assert made[1024, 3, torch.channels_last] > 1e-4, "channels_last is right at 1024 x 1024"
assert made[4096, 3, torch.channels_last] > 1, "channels_last is right at 4096 x 4096"
assert made[1024, 100, torch.channels_last] > 1, "channels_last is right with a large mean"
PYTHON
