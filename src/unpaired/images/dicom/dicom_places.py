"""The position of a DICOM image in the patient, and the size of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Keywords for the size of a pixel."""


def has_spacing(data: Any) -> bool:
    """Return whether a data set declares the size of a pixel."""
    return any(data.get(keyword) for keyword in SPACINGS) or _grouped(data, "PixelMeasures", "PixelSpacing") is not None


def axes_of(data: Any) -> str:
    """Return letters for the directions of rows, columns and frames: towards L, R, P, A, H or F.

    "" without an orientation; two letters without a direction of frames. Tilted axes get the nearest letter.
    """
    orientation = data.get("ImageOrientationPatient") or _grouped(data, "PlaneOrientation", "ImageOrientationPatient")
    try:
        across, down = np.array([float(number) for number in orientation]).reshape(2, 3)
    except (TypeError, ValueError):
        return ""
    if not (across.any() and down.any()):
        return ""
    way = _way(data, np.cross(across, down))
    return _letter(across) + _letter(down) + ("" if way is None else _letter(way))


def _way(data: Any, normal: Any) -> Any:
    """Return the direction from the first frame to the last, None if unknown."""
    offsets = data.get("GridFrameOffsetVector")
    if offsets is not None and not isinstance(offsets, str) and np.size(offsets) > 1:
        return normal * np.sign(float(offsets[-1]) - float(offsets[0]))
    groups = data.get("PerFrameFunctionalGroupsSequence") or ()
    if len(groups) < 2:
        return None
    try:
        ends = [
            [float(number) for number in groups[place].PlanePositionSequence[0].ImagePositionPatient]
            for place in (0, -1)
        ]
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    along = float(np.dot(np.subtract(ends[1], ends[0]), normal))
    return normal * np.sign(along) if along else None


def _letter(direction: Any) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return ("RL", "AP", "FH")[axis][int(direction[axis] > 0)]


def _grouped(data: Any, group: str, keyword: str) -> Any:
    """Return a value of the functional groups: of all frames, else of the first."""
    for groups in (data.get("SharedFunctionalGroupsSequence"), data.get("PerFrameFunctionalGroupsSequence")):
        found = groups[0].get(f"{group}Sequence") if groups else None
        if found and found[0].get(keyword) is not None:
            return found[0].get(keyword)
    return None
