"""Error messages for files that are not read: their kind, the fault and the fix."""

from __future__ import annotations

import stat
from pathlib import Path

import PIL.Image

from unpaired.errors import ImageError, UnpairedError
from unpaired.images.foreign import foreign_by_content, foreign_by_name, refusal
from unpaired.images.registered import FORMATS
from unpaired.storage import shown

_NOT_READ = ("unsupported", "not supported", "cannot handle", "unknown raw mode")  # parts of Pillow's messages


def refuse_special(path: Path) -> None:
    """Raise ImageError for a pipe or a device, on which reading could block for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ImageError(f"{shown(path)} is not a regular file; give an image file.")


def refuse_impostors(path: Path, head: bytes) -> None:
    """Raise ImageError for files that are no images by their first bytes or their name."""
    if not head:
        raise ImageError(f"{shown(path)} is empty (0 bytes); fetch it again or remove it.")
    if head.startswith(b"version https://git-lfs"):
        raise ImageError(f"{shown(path)} is a Git LFS pointer, not the image; run `git lfs pull` where it came from.")
    kind = foreign_by_name(path)
    if kind is not None and kind.stand_in:
        raise ImageError(refusal(path, kind))


def named(error: UnpairedError, path: Path) -> UnpairedError:
    """Return the error of a reader, with the name of the file in front if it is an ImageError."""
    if not isinstance(error, ImageError) or str(error).startswith(shown(path)):
        return error
    return ImageError(f"{shown(path)}: {error}", setting=error.setting)


def refusal_of(error: Exception, path: Path) -> ImageError:
    """Return the error for a file on which a parser failed with any exception.

    The message calls it damaged only if its kind is read and the parser does not report a missing feature.
    """
    name = shown(path)
    if isinstance(error, PIL.UnidentifiedImageError):
        return unknown_format(path)
    if isinstance(error, PIL.Image.DecompressionBombError):
        return ImageError(f"{name} claims more pixels than any real image has and was not decoded; remove it.")
    if isinstance(error, OSError) and error.errno is not None:
        return ImageError(f"Cannot open {name}: {error.strerror}; check its name and permissions.")
    if "MAX_TEXT" in str(error):  # Pillow unpacks metadata only up to a megabyte
        return ImageError(f"{name} holds metadata or a profile of more than 1 MB unpacked; save it without them.")
    if (kind := foreign_by_content(path)) is not None:
        return ImageError(refusal(path, kind))
    reason = " ".join(shown(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, NotImplementedError) or reason.lower().startswith(_NOT_READ):
        return ImageError(f"{name} is of a kind that is not read ({reason}); convert it to PNG.")
    return ImageError(f"{name} is damaged or cut short ({reason}); replace or remove it.")


def unknown_format(path: Path) -> ImageError:
    """Return the error for a file that no reader recognises, with its kind by content or else by name.

    If both are unknown, the message says that it may be damaged.
    """
    kind = foreign_by_content(path) or foreign_by_name(path)
    if kind is not None:
        return ImageError(refusal(path, kind))
    known = ", ".join(FORMATS.content_kinds)
    return ImageError(f"{shown(path)} is no image of a known format ({known}), or damaged; convert or remove it.")
