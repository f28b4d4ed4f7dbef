"""The faults of single files: by their first bytes, before a decoder runs, and by the error of the decoder.

A fault is a code of `unpaired.doctor.findings.FAULTS`, "" for none; its reason is a phrase in plain words.
"""

from __future__ import annotations

from pathlib import Path

from unpaired.errors import UnpairedError
from unpaired.images import FORMATS, MAX_PIXELS, ImageHeader, is_image_name
from unpaired.images.foreign import JUNK_NAMES, what_is
from unpaired.storage import shown

_BY_MESSAGE = {
    "more pixels": "too_large",
    "more than the limit": "too_large",
    "holds no picture": "not_an_image",
    "NaN or infinite": "non_finite",
    "no image of a known format": "not_an_image",
    "by another name": "not_an_image",
    "damaged": "damaged",
    "cut short": "damaged",
    "are missing": "damaged",
    "not decoded": "damaged",
    "Cannot open": "unreadable",
}


def is_junk(path: Path, kind: str = "") -> bool:
    """Return whether a file is a leftover of a desktop. kind: of the content, "" if unknown."""
    return path.name.lower() in JUNK_NAMES or path.name.startswith("._") or kind in ("AppleDouble", "folder settings")


def fault_by_content(path: Path, kind: str, num_bytes: int) -> tuple[str, str]:
    """Return the fault that needs no decoder, and its reason; both "" if the file should be decoded."""
    read = is_image_name(path)
    if is_junk(path, kind):
        return ("junk_image" if read else "junk"), kind or path.name
    if not read:
        foreign = what_is(path)
        if foreign is None:
            return ("passed_over" if kind in FORMATS.content_kinds else "other"), kind or path.suffix
        return ("passed_over" if foreign.in_pictures else "other"), foreign.described
    if num_bytes == 0:
        return "empty", "0 bytes"
    if kind == "Git LFS pointer":
        return "lfs_pointer", f"{num_bytes} bytes of text"
    known = FORMATS.named(path)
    if kind not in FORMATS.content_kinds and (known is None or known.by_content):  # other formats check themselves
        return "not_an_image", f"its content is {kind}" if kind else "its content is of no known kind"
    return "", ""


def fault_by_size(header: ImageHeader) -> tuple[str, str]:
    """Return the fault of an image with too many pixels to decode, and its reason; both "" otherwise."""
    if header.width * header.height <= MAX_PIXELS:
        return "", ""
    return "too_large", f"{header.width} x {header.height} pixels, more than the limit of {MAX_PIXELS:,}"


def fault_by_error(path: Path, error: UnpairedError) -> tuple[str, str]:
    """Return the fault behind an error of reading, and the error without the name of the file and the remedy."""
    message = str(error)
    fault = next((fault for words, fault in _BY_MESSAGE.items() if words in message), "unsupported")
    return fault, message.replace(shown(path), "").split(";")[0].strip(": ").rstrip(".")
