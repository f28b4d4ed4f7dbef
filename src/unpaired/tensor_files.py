"""The bytes of a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
from torch import Tensor


def serialised(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the safetensors file of tensors on any device.

    safetensors refuses tensors that share memory, as the weights of a module do that a network holds under two names.
    All but the first of them are copied.
    """
    snapshot: dict[str, Tensor] = {}
    known: set[int] = set()
    for name, tensor in tensors.items():
        held = tensor.detach().cpu().contiguous()
        memory = held.untyped_storage().data_ptr()
        snapshot[name] = held.clone() if memory in known else held
        known.add(memory)
    return safetensors.torch.save(snapshot)
