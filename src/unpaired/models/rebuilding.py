"""Builds networks for the weights of a file: built-in ones on the meta device, a user's own in memory.

A network of a user's own may hold tensors that no file has (buffers with persistent=False, plain attributes), or read
the values of tensors as it is built. Neither works on the meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

import torch
from torch import Tensor, nn

Build = Callable[[], nn.Module]

_ONE_AT_A_TIME = Lock()  # torch's global generators are restored after each


def shapes(build: Build, *, built_in: bool) -> nn.Module:
    """Return the network on the meta device, which allocates nothing; one of a user's own in memory if it cannot be."""
    try:
        with torch.device("meta"):
            return build()
    except Exception:
        if built_in:
            raise
        return _in_memory(build)


def with_weights(network: nn.Module, tensors: Mapping[str, Tensor], build: Build, *, built_in: bool) -> nn.Module:
    """Return the network with the tensors of its file. network: the result of `shapes`, of the shapes of `tensors`."""
    if not built_in:
        network = _in_memory(build)
    network.load_state_dict(tensors, strict=True, assign=built_in)
    assert not any(buffer.is_meta for buffer in network.buffers()), "a buffer is missing from the state dict"
    return network


def _in_memory(build: Build) -> nn.Module:
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        return build()
