"""The orientation of volumes: slices along other axes show another plane of the body, or the same one mirrored."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from unpaired.data.sources import FolderSource
from unpaired.errors import DataError, UnpairedError
from unpaired.images import is_volume_name
from unpaired.scanning.header_scan import headers_by_path
from unpaired.storage import shown

_REMEDY = "bring them to the same axes (nibabel.as_closest_canonical)"


def refuse_other_axes(a: FolderSource, b: FolderSource) -> None:
    """Raise DataError that names the first pair of volumes with different axes; image k of a belongs to image k of b.

    Volumes without an orientation in their header are accepted.
    """
    axes_a, axes_b = _axes(a.paths), _axes(b.paths)
    pairs = dict.fromkeys(zip(a.paths, b.paths, strict=True))
    known = [(one, other) for one, other in pairs if one in axes_a and other in axes_b]
    differing = [(one, other) for one, other in known if axes_a[one] != axes_b[other]]
    if differing:
        one, other = differing[0]
        raise DataError(
            f"{len(differing)} of {len(known)} pairs of volumes differ in their axes, {shown(one)} with {axes_a[one]} "
            f"and {shown(other)} with {axes_b[other]} first, so that their slices do not show the same; {_REMEDY}."
        )


def axes_note(sources: Iterable[FolderSource]) -> list[str]:
    """Return one sentence about volumes with other axes than most, none if there are none."""
    axes: dict[Path, str] = {}
    for source in sources:
        axes |= _axes(source.paths)
    others = minority(axes)
    if not others:
        return []
    first, usual = next(iter(others)), most_common(axes)
    verb = "has" if len(others) == 1 else "have"
    return [
        f"{len(others)} of {len(axes)} volumes {verb} other axes than most, {shown(first)} first: {axes[first]}, and "
        f"most are {usual}; slices are used as stored, so {_REMEDY} unless this is intended."
    ]


def minority(axes: Mapping[Path, str]) -> dict[Path, str]:
    """Return the volumes with other axes than the most common ones, in their order."""
    usual = most_common(axes)
    return {path: text for path, text in axes.items() if text != usual}


def most_common(axes: Mapping[Path, str]) -> str:
    """Return the axes of most volumes, of the first ones in a tie; "" without any."""
    counts = collections.Counter(axes.values())
    return counts.most_common(1)[0][0] if counts else ""


def _axes(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the axes of the volumes among some files, without unknown axes and unreadable files."""
    headers = headers_by_path(filter(is_volume_name, paths), passed_over=UnpairedError)
    return {path: header.axes for path, header in headers.items() if header.axes}
