"""Detects files and folders that are mistaken for weights of torch.save, for error messages with a remedy.

Detection uses the first bytes, the entries of a zip, or the names in a folder; nothing is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

HEAD = 512
"""Bytes of a file that are inspected."""

_PLAIN = "save the state dict of the generator with torch.save in the program that made it, and give that file"
_KERAS = f"which holds weights of Keras; convert the network to PyTorch, then {_PLAIN}"

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the weights; run `git lfs pull` in its repository, or download the file itself",
    ),
    (b"\x89HDF\r\n\x1a\n", f"is a file of HDF5, {_KERAS}"),
    (b"\x93NUMPY", f"is an array of NumPy and was not read; {_PLAIN}"),
    (b"model_checkpoint_path:", f"is the index of checkpoints of TensorFlow; {_PLAIN}"),
    (b"GGUF", "is a file of GGUF, which holds language models; give a generator's .pth file"),
    (b"\x1f\x8b", "is packed with gzip; unpack it and give the .pth file in it"),
    (b"BZh", "is packed with bzip2; unpack it and give the .pth file in it"),
    (b"\xfd7zXZ\x00", "is packed with xz; unpack it and give the .pth file in it"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it and give the .pth file in it"),
    (b"7z\xbc\xaf\x27\x1c", "is an archive of 7-Zip; unpack it and give the .pth file in it"),
    (b"Rar!", "is an archive of RAR; unpack it and give the .pth file in it"),
    (b"\x89PNG", "is an image; give a .pth file"),
    (b"\xff\xd8\xff", "is an image; give a .pth file"),
    (b"%PDF", "is a PDF; give a .pth file"),
)
_TAILS = {b"\x57\xfb\x80\x8b\x24\x75\x47\xdb": f"is the index of a checkpoint of TensorFlow; {_PLAIN}"}
_NAMES: tuple[tuple[str, str], ...] = (
    (r".*\.(data-\d+-of-\d+|ckpt\.(index|meta))", f"is a part of a checkpoint of TensorFlow; {_PLAIN}"),
    (r".*\.(h5|hdf5)", f"has the name of a file of HDF5, {_KERAS}"),
    (r".*\.onnx(\.data)?", f"is a network of ONNX; {_PLAIN}"),
    (r"saved_model\.pb|.*\.pb", f"is a network of TensorFlow; {_PLAIN}"),
)
_ENTRIES: tuple[tuple[str, str], ...] = (
    (r"(.*/)?model\.weights\.h5", f"is a file of Keras 3, {_KERAS}"),
    (r".*\.npy", f"is an archive of NumPy arrays and was not read; {_PLAIN}"),
    (r"(.*/)?(archive_format|models/model\.json|serialized_exported_program\.json)", f"is a program of torch.export, "
     f"not weights, and was not run; {_PLAIN}"),
    (r".*\.(pth?|ckpt|safetensors|onnx)", "is a zip of other files; unpack it and give the .pth file in it"),
)  # fmt: skip
_FOLDERS: tuple[tuple[str, str], ...] = (
    ("model.json", "is a model folder already; translate with it as it is: `unpaired translate {path} IMAGE...`"),
    ("config.yaml", "is a run of this program; translate with it as it is: `unpaired translate {path} IMAGE...`"),
    ("model_index.json", "is a pipeline of diffusers, a diffusion model; only generators of the CycleGAN family are "
     "read, give one's .pth file"),
    ("saved_model.pb", f"is a SavedModel of TensorFlow; {_PLAIN}"),
    ("*.index", f"holds checkpoints of TensorFlow; {_PLAIN}"),
    ("*.onnx", f"holds networks of ONNX; {_PLAIN}"),
    ("*.h5", f"holds files of HDF5, {_KERAS}"),
    ("*.safetensors", "holds files of safetensors, which the official code never writes; load one with "
     "safetensors.torch.load_file, save it with torch.save and give that file"),
)  # fmt: skip


def other_format(path: Path) -> str | None:
    """Return the description of a file of another format, as "is a ...; do this", None if it is unknown.

    Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(path.stat().st_size - 8, 0))
        tail = file.read(8)
    found = next((words for beginning, words in _BEGINNINGS if head.startswith(beginning)), None)
    return (
        found or _TAILS.get(tail) or next((words for test, words in _TESTS if test(head)), None) or _by_name(path, head)
    )


def other_archive(entries: Iterable[str]) -> str | None:
    """Return the description of a zip of another format by its entries, None if it is unknown."""
    names = list(entries)
    for pattern, words in _ENTRIES:
        if any(re.fullmatch(pattern, name[-200:], re.DOTALL) for name in names):
            return words
    return None


def other_folder(path: Path) -> str | None:
    """Return the description of a folder without generators, as "is a ...; do this", None if it is unknown."""
    for pattern, words in _FOLDERS:
        if next(path.glob(pattern), None) is not None:
            return words
    return None


def _is_page(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script"))


def _is_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b'{"', b"{\n", b"{\r", b"[{"))


def _is_onnx(head: bytes) -> bool:
    """Return whether the bytes begin with ONNX's ModelProto: a small version, then a length-delimited field."""
    return len(head) > 3 and head[0] == 8 and 0 < head[1] < 32 and head[2] in (0x12, 0x1A, 0x22, 0x32, 0x3A, 0x42)


def _is_pickled(head: bytes) -> bool:
    """Return whether the bytes are pickled, without the magic number of torch before 1.6."""
    return len(head) > 12 and head[0] == 0x80 and head[1] in (2, 3, 4, 5) and _MAGIC not in head[:16]


_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")

_TESTS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (_is_page, "is a web page, not the weights: the link led to a page about them; download the file itself"),
    (_is_json, "is JSON text, not weights; give the .pth file beside it"),
    (_is_onnx, f"is a network of ONNX; {_PLAIN}"),
    (lambda head: head[4:8] == b"TFL3", f"is a network of TensorFlow Lite; {_PLAIN}"),
    (
        lambda head: head[8:10] == b'{"',
        "is a file of safetensors, which the official code never writes; give its .pth file (load it with "
        "safetensors.torch.load_file and save it with torch.save), or to `unpaired translate` the model folder that "
        "holds it",
    ),
    (
        lambda head: head[257:262] == b"ustar",
        "is a tar file: an archive to unpack, or of a torch before 0.2, which cannot be read without running code; it "
        "was not run. Load and save it with a torch of its time, weights alone",
    ),
    (
        _is_pickled,
        "is a pickled object that torch.save did not write (StyleGAN's networks are such files), which cannot be read "
        f"without running code; it was not run. For a generator of the CycleGAN family, {_PLAIN}",
    ),
)


def _by_name(path: Path, head: bytes) -> str | None:
    """Return the description by file name if the content does not begin like a file of torch."""
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return None
    return next((words for pattern, words in _NAMES if re.fullmatch(pattern, path.name.lower())), None)
