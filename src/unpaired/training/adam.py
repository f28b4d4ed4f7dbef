"""torch's Adam without the start-up cost of torch's compiler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def _undecorated(method: Callable[..., Any]) -> Callable[..., Any]:
    function: Callable[..., Any] = inspect.unwrap(method)
    return function


class Adam(torch.optim.Adam):
    """Adam (Kingma & Ba, ICLR 2015) as torch computes it, bit for bit; its first use imports no compiler.

    torch decorates these methods to keep torch.compile out of them, and each decorator imports the compiler at its
    first call: seconds of every run, and of every rank.
    Training compiles networks, never an optimizer, so the decorators protect nothing here.
    A torch that does not decorate a method gives the method itself.
    """

    add_param_group = _undecorated(torch.optim.Adam.add_param_group)
    zero_grad = _undecorated(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(_undecorated(torch.optim.Adam.step))
