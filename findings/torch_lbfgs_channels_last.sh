#!/usr/bin/env bash
# torch 2.13.0: torch.optim.LBFGS refuses weights in channels_last order, and every image made by permute, in a view error.
#
# Expected: an optimizer takes any floating-point leaf, as Adam and SGD do; channels_last is only an order in memory, and
# LBFGS is the optimizer of neural style transfer, whose parameter is an image. Behaviour: it joins the gradients with
# grad.view(-1), which needs the usual order. A gradient has the order of its parameter, so the first step raises a
# RuntimeError about view and strides that names neither LBFGS nor the parameter. `clone()` does not help, as it keeps
# the strides; `contiguous()` before requires_grad_ does.
#
# Output with torch 2.13.0, Python 3.11, x86-64:
#   Adam, channels_last weight: ok
#   LBFGS, channels_last weight: RuntimeError: view size is not compatible with input tensor's size and stride ...
#   LBFGS, image h w c permuted and cloned: RuntimeError: view size is not compatible with input tensor's size and ...
#   LBFGS, the same image made contiguous: ok
# Exits non-zero once LBFGS takes such parameters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch


def step(optimizer, leaf):
    leaf.requires_grad_()
    one = optimizer([leaf])

    def loss():
        one.zero_grad()
        value = (leaf * torch.arange(leaf.numel()).reshape(leaf.shape)).square().sum()
        value.backward()
        return value

    try:
        one.step(loss)
    except RuntimeError as error:
        return f"RuntimeError: {str(error)[:64]} ..."
    return "ok"


def weight():
    return torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last).weight.detach()


photograph = torch.rand(8, 6, 3)  # h w c, as decoders return it
print("torch", torch.__version__)
found = {
    "Adam, channels_last weight": step(torch.optim.Adam, weight()),
    "LBFGS, channels_last weight": step(torch.optim.LBFGS, weight()),
    "LBFGS, image h w c permuted and cloned": step(torch.optim.LBFGS, photograph.permute(2, 0, 1).clone()),
    "LBFGS, the same image made contiguous": step(torch.optim.LBFGS, photograph.permute(2, 0, 1).contiguous()),
}
for case, result in found.items():
    print(f"{case}: {result}")
results = list(found.values())
assert results[0] == results[3] == "ok"
assert all("view size is not compatible" in result for result in results[1:3]), "LBFGS takes any order now"
PYTHON
