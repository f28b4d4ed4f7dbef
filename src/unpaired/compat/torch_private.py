"""The names of torch that this package uses and torch does not promise to keep, each with its reason.

Everything else is public torch. A version of torch that renames one of these is met here and nowhere else; `PRIVATE`
lists them, and a test looks each up. Importing this module imports no torch: names are looked up when first asked for,
as `without_shapes` must run before torch is imported.
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
    """A name of torch: its module, what it is used for, and the version of torch it was first seen in by this package.

    Older ones may have it; torch 2.10 is the oldest that the package allows.
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
"""The names that this module gives. Those that are no classes or functions have a function of their own below."""

SHAPES = "torch._meta_registrations"
"""The module that knows the shape of each operator's result without computing it, for compilers alone: a third of
`import torch` in torch 2.13. Known by name since torch 2.10."""


def __getattr__(name: str) -> Any:
    if name not in PRIVATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    private = PRIVATE[name]
    found = getattr(importlib.import_module(private.module), private.name)
    globals()[name] = found
    return found


def storage_key(storage: UntypedStorage) -> int:
    """Return a number that is the same for all tensors on one storage, as long as that lives.

    `UntypedStorage._cdata`: `data_ptr` is 0 for tensors without content. Since torch 2.10.
    """
    return int(storage._cdata)


def withhold_updates(optimizer: Optimizer, where: Any) -> None:
    """Have fused Adam leave everything as it is in steps at which the scalar tensor `where` is 1; None for never.

    `Optimizer.found_inf`: torch's GradScaler sets it after an overflow, and it is read on the device, so that a CUDA
    graph may decide it anew in every replay. Since torch 2.10.
    """
    optimizer.found_inf = where  # type: ignore[attr-defined]


def without_shapes() -> None:
    """Have torch, if it is not imported yet, import SHAPES and what that imports only when something asks for it.

    For commands that run networks and compile none. A torch without that module never asks. What looks names up in it
    gets them; what only counts on its having been imported, as fake tensors do, needs `import_shapes` before.
    """
    if "torch" not in sys.modules:
        sys.modules[SHAPES] = _Shapes(SHAPES)


def import_shapes() -> ModuleType:
    """Return SHAPES, imported now if that was put off."""
    if isinstance(sys.modules.get(SHAPES), _Shapes):
        del sys.modules[SHAPES]
    return importlib.import_module(SHAPES)


class _Shapes(ModuleType):
    """Stands where SHAPES will be, and gives its names by importing it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return getattr(import_shapes(), name)
