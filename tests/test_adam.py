"""Our Adam is torch's, to the bit, and starts without torch's compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from unpaired.training.adam import Adam


def trained(kind: type[torch.optim.Adam], dtype: torch.dtype, **options: Any) -> list[Tensor]:
    """Return weights and moments after ten steps on gradients of which one is missing in every third step."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(size, dtype=dtype)) for size in ((7,), (4, 3, 3, 3), ())]
    optimizer = kind(weights, lr=2e-4, betas=(0.5, 0.999), **options)
    for step in range(10):
        optimizer.zero_grad(set_to_none=True)
        loss = sum(((weight - step) ** 2).sum() for weight in weights[step % 3 == 0 :])
        loss.backward()  # type: ignore[union-attr, no-untyped-call]
        assert torch.is_grad_enabled()
        optimizer.step()
        assert torch.is_grad_enabled()
    moments = [value for weight in weights for _, value in sorted(optimizer.state[weight].items())]
    assert len(moments) == 9
    return [*weights, *moments]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}, {"fused": True, "weight_decay": 0.1}, {}])
def test_every_bit_is_that_of_torchs_adam(dtype: torch.dtype, options: dict[str, Any]) -> None:
    for ours, theirs in zip(trained(Adam, dtype, **options), trained(torch.optim.Adam, dtype, **options), strict=True):
        assert not ours.is_leaf or ours.grad_fn is None
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_a_step_that_found_an_overflow_changes_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Adam([weight], fused=True)
    weight.grad = torch.ones(3)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    optimizer.step()
    assert weight.tolist() == [1, 1, 1]
    optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]
    optimizer.step()
    assert weight[0] < 1


def test_hooks_closures_and_groups_work_as_in_torch() -> None:
    weight, other = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer, calls = Adam([weight], lr=0.1), []
    optimizer.add_param_group({"params": [other], "lr": 0.2})
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> Tensor:
        calls.append("closure")
        loss = (weight + other).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert optimizer.step(closure).item() == 6
    assert calls == ["before", "closure", "after"]
    assert [round(each[0].item(), 4) for each in (weight, other)] == [0.9, 0.8]
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [weight]})


@pytest.mark.parametrize("first", ["", "torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])"])
def test_it_does_not_import_torchs_compiler_and_works_after_torchs_own(first: str) -> None:
    code = f"""
import sys, torch
{first}
had = "torch._dynamo" in sys.modules
from unpaired.training.adam import Adam
weight = torch.nn.Parameter(torch.ones(1))
optimizer = Adam([weight], fused=True)
optimizer.zero_grad()
weight.sum().backward()
optimizer.step()
print(had, "torch._dynamo" in sys.modules, weight.item() < 1)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert made.stdout.split() == [str(bool(first)), str(bool(first)), "True"]
