#!/usr/bin/env bash
# torch 2.13.0: torch.manual_seed takes 70 to 300 times as long as seeding the CPU's generator, without any GPU.
#
# Expected: on a machine without an accelerator torch.manual_seed(s) does what torch.default_generator.manual_seed(s)
# does, in about its time. Behaviour: for each kind of accelerator that could still be initialised it queues a call and
# formats the whole Python stack into text, so that a later error could show it. The time grows with the depth of the
# stack; code that seeds every draw by its index (for resumable training) pays it several times a step.
#
# Output with torch 2.13.0, Python 3.11, x86-64, two cores, no GPU (microseconds of processor time a call):
#   torch.default_generator.manual_seed: 1.0
#   torch.manual_seed: 69, from 40 calls deep: 296
#   both draw the same numbers: True
# Exits non-zero once torch.manual_seed takes less than 20 times as long.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.4
cat > "$folder/seed.py" <<'PYTHON'
import time

import torch


def cost(seed, depth=0, rounds=200):
    """Microseconds of processor time of a call, `depth` calls deep."""
    if depth:
        return cost(seed, depth - 1, rounds)
    seed(1)
    start = time.process_time()
    for number in range(rounds):
        seed(number)
    return (time.process_time() - start) / rounds * 1e6


assert not torch.accelerator.is_available(), "this shows the behaviour without an accelerator"
print("torch", torch.__version__)
own, all_devices = cost(torch.default_generator.manual_seed), cost(torch.manual_seed)
print(f"torch.default_generator.manual_seed: {own:.1f}")
print(f"torch.manual_seed: {all_devices:.0f}, from 40 calls deep: {cost(torch.manual_seed, 40):,.0f}")
torch.manual_seed(5)
one = torch.randn(4)
torch.default_generator.manual_seed(5)
print("both draw the same numbers:", torch.equal(one, torch.randn(4)))
assert all_devices > 20 * own, "torch.manual_seed is as cheap as the generator's now"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/seed.py"
