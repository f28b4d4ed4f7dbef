"""The private names of torch that this package uses, each with its reason.

Everything else is public torch, so a version of torch that renames one of these needs changes here only. `PRIVATE`
lists them, and a test looks each one up. Importing this module does not import torch: names are looked up at first use,
since `without_shapes` must run before torch is imported.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import UntypedStorage
    from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode
    from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
    from torch.optim import Optimizer
    from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
    from torch.utils._pytree import tree_leaves as tree_leaves

    BatchNorm = _BatchNorm
    NormBase = _NormBase


@dataclass(frozen=True)
class Private:
    """A name of torch: its module, its use here, and the earliest version of torch it was checked in.

    Torch 2.10 is the oldest version that the package allows.
    """

    module: str
    name: str
    reason: str
    since: str = "2.10"


PRIVATE = {
    "FakeTensorMode": Private(
        "torch._subclasses.fake_tensor",
        "FakeTensorMode",
        "Runs a training step on tensors without content, to count the memory that it needs (runs/footprint.py).",
    ),
    "TorchDispatchMode": Private(
        "torch.utils._python_dispatch",
        "TorchDispatchMode",
        "Sees every operation of such a step, and with it every tensor that is made (runs/footprint.py).",
    ),
    "tree_leaves": Private(
        "torch.utils._pytree",
        "tree_leaves",
        "Finds the tensors among an operation's arguments and results, however nested (runs/footprint.py).",
    ),
    "BatchNorm": Private(
        "torch.nn.modules.batchnorm",
        "_BatchNorm",
        "The common base of the batch norms of 1, 2 and 3 dimensions, whose statistics depend on the whole batch.",
    ),
    "NormBase": Private(
        "torch.nn.modules.batchnorm",
        "_NormBase",
        "The common base of batch and instance norms, whose statistics may be those of training (translate/fast.py).",
    ),
}
"""The names that this module provides. Private attributes have functions below."""

SHAPES = "torch._meta_registrations"
"""Module with the shapes of the results of all operators, which only compilers need: a third of the time of `import
torch` in torch 2.13. Has this name since torch 2.10."""


def __getattr__(name: str) -> Any:
    if name not in PRIVATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    private = PRIVATE[name]
    found = getattr(importlib.import_module(private.module), private.name)
    globals()[name] = found
    return found


def storage_key(storage: UntypedStorage) -> int:
    """Return a number that identifies a storage during its lifetime, the same for all its tensors.

    `UntypedStorage._cdata`, since `data_ptr` is 0 for fake tensors. Since torch 2.10.
    """
    return int(storage._cdata)


def withhold_updates(optimizer: Optimizer, where: Any) -> None:
    """Make fused Adam skip its update whenever the scalar tensor `where` is 1; None for never.

    `Optimizer.found_inf`: torch's GradScaler sets it after an overflow. It is read on the device, so every replay of a
    CUDA graph can decide it. Since torch 2.10.
    """
    optimizer.found_inf = where  # type: ignore[attr-defined]


def without_shapes() -> None:
    """Make torch, if it is not imported yet, import SHAPES and its dependencies only at the first use.

    For commands that run networks and compile none; no effect with a torch without that module. Looking up a name in it
    imports it; code that depends on the import alone, such as fake tensors, needs `import_shapes` first.
    """
    if "torch" not in sys.modules:
        sys.modules[SHAPES] = _Shapes(SHAPES)


def import_shapes() -> ModuleType:
    """Return SHAPES, imported now if that was deferred."""
    if isinstance(sys.modules.get(SHAPES), _Shapes):
        del sys.modules[SHAPES]
    return importlib.import_module(SHAPES)


class _Shapes(ModuleType):
    """Placeholder for SHAPES that imports it at the first lookup of a name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return getattr(import_shapes(), name)
