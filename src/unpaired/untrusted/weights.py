"""Weights of published networks from a file of the user: verified, read as plain tensors, never as code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from unpaired.errors import ModelError
from unpaired.storage import at_home, shown
from unpaired.untrusted.torch_files import read_state


@dataclass(frozen=True)
class Weights:
    """path: as given. sha256: of the file, 64 hexadecimal digits. state: tensors by name, on the processor."""

    path: Path
    sha256: str
    state: dict[str, Tensor]

    def named(self, published: str) -> bool:
        """Return whether the SHA-256 of the file begins with that of a published file."""
        return self.sha256.startswith(published)


def read_weights(path: str | Path, *, sha256: str | None = None) -> Weights:
    """Read a state dict saved by torch.

    sha256: the required hash, all 64 digits or its first 8 or more; None accepts any file. Raises ModelError if the
    file is missing, has another hash, or holds anything but tensors by name.
    """
    path = at_home(path)
    name = shown(path)
    digest = _digest(path, name)
    wanted = (sha256 or "").lower().strip()
    if sha256 is not None and (len(wanted) < 8 or not digest.startswith(wanted)):
        raise ModelError(f"{name} is another file: its SHA-256 is {digest}, not {shown(sha256)}; download it again.")
    return Weights(path, digest, read_state(path))


def fill(network: nn.Module, weights: Weights, kind: str, *, unused: Callable[[str], bool] = lambda key: False) -> None:
    """Load the weights into a network with exactly these names and shapes, apart from `unused` ones in the file.

    Batch counters (`num_batches_tracked`) are ignored and may be absent. Sets the network to evaluation mode. Raises
    ModelError, naming the first tensor that does not fit; `kind`: the name of the network in messages.
    """
    name = shown(weights.path)
    given = {key: value for key, value in weights.state.items() if not unused(key) and not _is_counter(key)}
    wanted = {key: value for key, value in network.state_dict().items() if not _is_counter(key)}
    for key in sorted(wanted.keys() | given.keys()):
        if key not in given:
            raise ModelError(f"{name} does not hold {kind}: it has no {key}.")
        if key not in wanted:
            raise ModelError(f"{name} does not hold {kind}: it has {shown(key)[:80]}, which that has not.")
        if given[key].shape != wanted[key].shape or not given[key].is_floating_point():
            raise ModelError(
                f"{name} does not hold {kind}: its {key} is {(*given[key].shape,)} of {given[key].dtype}, "
                f"not {(*wanted[key].shape,)} of floats."
            )
        if not bool(given[key].isfinite().all()):
            raise ModelError(f"{name} holds NaN or infinite weights in {key}; download it again.")
    network.load_state_dict({key: value.float() for key, value in given.items()}, strict=False)
    network.eval().requires_grad_(requires_grad=False)


def _digest(path: Path, name: str) -> str:
    """Return the SHA-256 of a file. Raises ModelError for pipes and devices without reading them."""
    try:
        if not path.is_file() and path.exists():
            raise ModelError(f"{name} is no file but a folder, a pipe or a device; give the file of the weights.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"Cannot read {name}: {error.strerror or error}; check the name of the weights.") from None


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")
