"""Reads state dicts written by `torch.save`, without executing code of the file.

Memory is bounded by the file size: containers that would unpack to more are refused before they are opened, and tensors
larger than the file before they are used.
"""

from __future__ import annotations

import itertools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from unpaired.errors import ModelError
from unpaired.storage import shown
from unpaired.untrusted.archives import directory_length
from unpaired.untrusted.weight_formats import other_archive, other_format

MAX_BYTES = 4 << 30
"""Maximum file size in bytes; the official networks have 10 to 220 MB."""

MAX_TENSORS = 4096

MAX_PICKLED = 2**18
"""Maximum bytes of names and shapes before the weights; the official networks have 10 kB. Each byte can allocate a
hundred bytes of memory."""

_MAX_DIMS = 8
_MAX_DIRECTORY = 2**20  # bytes of a zip's central directory, two entries per tensor
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_CODE = (
    (r"(torch_utils|dnnlib|training\.networks)\b", "a network of StyleGAN with its code"),
    (r"torch\.nn\.", "a whole network with its code, not its weights"),
    (
        r"argparse|omegaconf|yacs|easydict|addict|ml_collections|pathlib|mmengine|mmcv|(pytorch_)?lightning\b",
        "settings of its training beside the weights, which are code",
    ),
    (r"numpy", "numbers of NumPy beside the weights, which are code"),
)
"""Description of a file by the first function that its pickled content calls."""

_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var", _COUNTER)


@dataclass(frozen=True)
class Loaded:
    """The unvalidated content of a file: containers, tensors, numbers and strings."""

    name: str
    size: int
    content: Any

    def plain(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors of the file as contiguous float32 on the CPU; counters stay integers.

        Raises ModelError for the first tensor that is not a plain weight: of another type or layout, non-finite,
        sharing memory with another one, or larger than the file.
        """
        if not 0 < len(tensors) <= MAX_TENSORS:
            raise ModelError(f"{self.name} holds {len(tensors)} tensors, which no official network has.")
        for key, tensor in tensors.items():
            _check_plain(self.name, key, tensor)
        _check_memory(self.name, tensors, self.size)
        state = {key: tensor if _is_counter(key) else tensor.float().contiguous() for key, tensor in tensors.items()}
        broken = next((key for key, tensor in state.items() if not tensor.isfinite().all()), None)
        if broken is not None:
            raise ModelError(f"{self.name} holds NaN or infinite weights in {broken}; use a file of an earlier epoch.")
        return state


def load(path: Path) -> Loaded:
    """Return the content of a file of torch.save, without executing code.

    Raises ModelError, naming the file and its actual format.
    """
    name = shown(path)
    size = _check_container(path, name)
    try:
        # With weights_only, torch builds only tensors and containers; anything else is an error.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unexpected file formats; the content is validated below
            plain: Any = file if _is_zip(file) else _Bounded(file)
            loaded = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # the content is untrusted, and the reader may raise anything
        raise ModelError(_reason(name, error)) from None
    return Loaded(name, size, loaded)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, float32 on the CPU, `module.` prefixes removed.

    Raises ModelError, naming the file and the first entry that is not a plain weight.
    """
    loaded = load(path)
    return _without_prefix(loaded.plain(_tensors(loaded.content, loaded.name)))


def modernised(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Convert a state dict of an old torch to the current layout; also return a note for each change.

    torch before 0.4 stored running statistics of instance norms, which the official code drops (unlike batch norms,
    they have no weight), and had no num_batches_tracked in batch norms.
    """
    kept: dict[str, Tensor] = {}
    counted = 0
    for key, tensor in state.items():
        layer, _, leaf = key.rpartition(".")
        if leaf in _STATISTICS and f"{layer}.weight" not in state:
            continue
        kept[key] = tensor
        if leaf == "running_var" and f"{layer}.{_COUNTER}" not in state:
            kept[f"{layer}.{_COUNTER}"] = torch.zeros((), dtype=torch.int64)
            counted += 1
    dropped = len(state) - (len(kept) - counted)
    notes = [f"{dropped} statistics of instance norms were dropped, as the official code does."] if dropped else []
    return kept, notes


def _check_container(path: Path, name: str) -> int:
    """Return the file's size; raises ModelError if it is not a regular file, too large, or an unsafe zip."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelError(f"{name} is not a regular file but a folder, a pipe or a device; give a .pth file.")
        if not 0 < size <= MAX_BYTES:
            raise ModelError(f"{name} has {size} bytes, and no official network has; check the download.")
        with path.open("rb") as file:
            is_zip = _is_zip(file)
        if other := other_format(path):
            raise ModelError(f"{name} {other}.")
        if is_zip:
            _check_zip(path, name, size)
    except OSError as error:
        raise ModelError(
            f"Cannot read {name}: {error.strerror or error}; check the name and its permissions."
        ) from None
    except (zipfile.BadZipFile, ValueError, RuntimeError):
        raise ModelError(f"{name} is damaged: it begins as a torch file and has no end; copy it again.") from None
    return size


def _check_zip(path: Path, name: str, size: int) -> None:
    """Raise ModelError for a zip that unpacks to more than its size, contains a program, or has a wrong checksum."""
    if directory_length(path) > _MAX_DIRECTORY:
        raise ModelError(f"{name} lists more entries than a network has tensors; it was not read.")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise ModelError(f"{name} is a TorchScript program, not weights, and was not run; ask for its state dict.")
        if not any(entry.filename.endswith("data.pkl") for entry in entries) and (
            other := other_archive(entry.filename for entry in entries)
        ):
            raise ModelError(f"{name} {other}.")
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > size:
            raise ModelError(f"{name} would unpack to more than its size, as torch.save never does; it was not read.")
        if any(entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLED for entry in entries):
            raise _overlong(name)
        changed = archive.testzip()
    if changed is not None:
        raise ModelError(f"{name} is damaged: the checksum of {shown(changed)[:80]} in it is wrong; copy it again.")


class _Bounded:
    """A file of torch before 1.6; raises ValueError if its pickled part exceeds `MAX_PICKLED`.

    torch reads that part with `read` and `readline`, and the weights after it with `readinto`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MAX_PICKLED
        self.readinto, self.seek, self.tell = file.readinto, file.seek, file.tell  # type: ignore[attr-defined]

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes."""
        return self._counted(self._file.read(self._left + 1 if size < 0 else min(size, self._left + 1)))

    def readline(self) -> bytes:
        """Return a line."""
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"more than {MAX_PICKLED:,} bytes of names and shapes")
        return content


def _is_zip(file: BinaryIO) -> bool:
    """Return whether a file begins like a zip; rewinds it."""
    found = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    return found


def _overlong(name: str) -> ModelError:
    return ModelError(
        f"{name} has more than {MAX_PICKLED:,} bytes beside the weights, and no official network has; it was not read."
    )


def _reason(name: str, error: Exception) -> str:
    """Return the message for a file that torch cannot read."""
    text = " ".join(str(error).split())
    if wanted := re.search(r"\bGLOBAL ([\w.]+)", text):
        called = wanted[1][:80]
        what = next((words for pattern, words in _CODE if re.match(pattern, called)), "code beside weights")
        return (
            f"{name} holds {what} (it calls {called}), so it is refused and nothing of it was run; load it in the "
            "program that made it, or ask its author, for a file of torch.save(network.state_dict(), ...)."
        )
    cause = re.split(r"\. | Check the doc| Please ", text.rpartition("WeightsUnpickler error: ")[2])[0].rstrip(".")
    return f"{name} is damaged, or no file of torch.save ({shown(cause)[:160]}); nothing in it was run, copy it again."


def _tensors(loaded: Any, name: str) -> dict[str, Tensor]:
    """Return the content, detached, if it is a dictionary of tensors by name. Raises ModelError."""
    if type(loaded) not in (dict, OrderedDict):
        kind = type(loaded).__name__
        raise ModelError(
            f"{name} holds a {kind}, not tensors by name; the official files hold one network's state dict."
        )
    tensors: dict[str, Tensor] = {}
    for key, value in loaded.items():
        if key == "_metadata":  # torch's version metadata, saved as an entry by some tools
            continue
        if not isinstance(key, str) or type(value) not in (Tensor, torch.nn.Parameter):
            raise ModelError(
                f"{name} is no state dict of one network: its entry {shown(key)[:80]} is a {type(value).__name__}, "
                "not a tensor."
            )
        tensors[key] = value.detach()
    return tensors


def _check_plain(name: str, key: str, tensor: Tensor) -> None:
    """Raise ModelError unless the tensor is a dense float tensor (or a batch norm's counter)."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if tensor.dim() > _MAX_DIMS:  # torch supports at most 64
        raise ModelError(f"{name} holds {tensor.dim()} dimensions in {shown(key)[:80]}, and no weight has.")
    wanted = (torch.int64,) if _is_counter(key) else _FLOATS
    if not plain or tensor.dtype not in wanted:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelError(
            f"{name} holds no plain weights in {shown(key)[:80]}: {kind}, {tensor.layout}, {tensor.device}."
        )
    expected = 1
    for extent, stride in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda pair: pair[1]):
        if extent > 1 and stride != expected:
            raise ModelError(f"{name} repeats or skips memory in {shown(key)[:80]} (strides {tensor.stride()}).")
        expected *= extent


def _check_memory(name: str, tensors: Mapping[str, Tensor], size: int) -> None:
    """Raise ModelError if two tensors share memory, or all together are larger than the file."""
    spans = sorted((t.data_ptr(), t.data_ptr() + t.numel() * t.element_size(), key) for key, t in tensors.items())
    for (_, end, key), (start, _, other) in itertools.pairwise(spans):
        if start < end:
            raise ModelError(f"{name} holds {shown(key)[:80]} and {shown(other)[:80]} in one memory; no network does.")
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > size:
        raise ModelError(f"{name} claims more weights than it has bytes; it was not used.")


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict without the prefix of DataParallel."""
    while state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    return state


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == _COUNTER
