"""The bytes of a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor

Buffer = bytes | memoryview
"""Bytes to hash or to write."""

_TYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The types of safetensors in the order of a file: the widest come first, so that all are aligned."""


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


def buffers(tensors: Mapping[str, Tensor]) -> list[Buffer]:
    """Return the same file in pieces: its header, and the memory of each tensor, which is not copied.

    Contiguous tensors on the CPU must not change before the pieces are written; others are copied.
    """
    order = {kind: place for place, kind in enumerate(_TYPES)}
    if any(tensor.dtype not in order for tensor in tensors.values()):
        return [serialised(tensors)]
    names = sorted(tensors, key=lambda name: (order[tensors[name].dtype], name))
    pieces, header, end = list[Buffer](), dict[str, object](), 0
    for name in names:
        pieces.append(memory_of(tensors[name]))
        begin, end = end, end + len(pieces[-1])
        kind, shape = _TYPES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *pieces]


def memory_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor in the order of its elements: its own memory if it is contiguous and on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
