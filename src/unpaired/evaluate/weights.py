"""Weights of published networks from a file the user names: checked, read as plain tensors, never as code."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unpaired.errors import ModelError
from unpaired.storage import shown

MAX_BYTES = 1 << 30
"""Largest file that is opened; the published ones have 10 kB to 0.6 GB."""


@dataclass(frozen=True)
class Weights:
    """path: as given. sha256: of the file's bytes, 64 hexadecimal digits. state: tensors by name, on the processor."""

    path: Path
    sha256: str
    state: dict[str, Tensor]

    def named(self, published: str) -> bool:
        """Whether the file's SHA-256 begins as that of a published file does."""
        return self.sha256.startswith(published)


def read_weights(path: str | Path, *, sha256: str | None = None) -> Weights:
    """Read a file of `torch.save(network.state_dict(), path)`.

    sha256: what the file must have, all 64 digits or its first 8 and more; None accepts any and only reports it.
    Raises ModelError if the file is missing, another one, or anything but tensors by name.
    """
    path = Path(path)
    name = shown(path)
    content = _content(path, name)
    digest = hashlib.sha256(content).hexdigest()
    wanted = (sha256 or "").lower().strip()
    if sha256 is not None and (len(wanted) < 8 or not digest.startswith(wanted)):
        raise ModelError(f"{name} is another file: its SHA-256 is {digest}, not {shown(sha256)}; download it again.")
    try:
        _check_zip(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old forms of files; what comes out is checked
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # the bytes are a stranger's, and the reader fails with whatever they provoke
        raise ModelError(
            f"{name} holds something else than weights, or is damaged; nothing in it was run. "
            "A file of torch.save(network.state_dict(), ...) is needed."
        ) from None
    plain = isinstance(loaded, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items() if key != "_metadata"
    )
    if not plain:
        raise ModelError(f"{name} holds no tensors by name; the state dict of one network is needed.")
    return Weights(path, digest, {key: value.detach() for key, value in loaded.items() if key != "_metadata"})


def fill(network: nn.Module, weights: Weights, kind: str, *, unused: Callable[[str], bool] = lambda key: False) -> None:
    """Load the weights into a network that has exactly these names and shapes, but for `unused` ones in the file.

    Counters of batches (`num_batches_tracked`) are of no use here and may be absent. Sets the network to evaluation.
    Raises ModelError, naming the first tensor that does not fit; `kind` says what the network is.
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


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"Cannot read {name}: {error.strerror or error}; check the name of the weights.") from None
    if len(content) > MAX_BYTES:
        raise ModelError(f"{name} is larger than any of the published networks; check which file it is.")
    return content


def _check_zip(content: bytes) -> None:
    """Refuse what torch.save never writes: a zip that would unpack to more than it is."""
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise ValueError(content[:4])


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")
