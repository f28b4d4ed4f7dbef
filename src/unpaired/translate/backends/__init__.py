"""Backends: runtimes of generators. torch is the package's own; others are registered."""

from __future__ import annotations

from unpaired.registry import Registry
from unpaired.translate.backends.backend_protocol import (
    Backend,
    Batch,
    Capabilities,
    ComputesMasks,
    EstimatesMemory,
    LoadedGenerator,
    RunOptions,
)
from unpaired.translate.backends.torch_backend import TorchBackend

BACKENDS: Registry[Backend] = Registry("backend", "unpaired.backends", [TorchBackend()], required=("devices", "load"))
"""Every backend by kind."""

__all__ = [
    "BACKENDS",
    "Backend",
    "Batch",
    "Capabilities",
    "ComputesMasks",
    "EstimatesMemory",
    "LoadedGenerator",
    "RunOptions",
]
