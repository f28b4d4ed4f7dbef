"""The memory that a JPEG 2000 stream costs a decoder beside its pixels, estimated from its headers.

Decoders allocate memory for each tile, block and layer. Encoders write tiles of 128 x 128 or more and blocks of 32 x 32
or more; streams with far smaller ones are refused.
Source: ITU-T T.800, annex A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_LAYERS = 1024
"""Layers of quality; encoders write up to about fifty."""

MAX_STREAMS = 16
"""Codestreams of one file, including byte sequences that look like the start of one."""

MAX_PARTS = 2**17
"""Tile parts that are followed."""

_START = b"\xff\x4f\xff\x51"
_LEAST_TILE, _LEAST_BLOCK = 32 * 32, 16 * 16  # pixels
_FREE = 256  # tiles or blocks that any image may have
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9


def greedy(data: bytes) -> str:
    """Return why a codestream takes far more memory or time than its pixels, as a phrase; "" if it does not.

    Every codestream of a JP2 is inspected. A stream that cannot be followed is left to the decoder. Takes a bounded
    number of steps.
    """
    place, found = data.find(_START), 0
    while place >= 0:
        found += 1
        reason = _greedy(data[place:]) if found <= MAX_STREAMS else f"holds more than {MAX_STREAMS} codestreams"
        if reason:
            return reason
        place = data.find(_START, place + 4)
    return ""


def _greedy(data: bytes) -> str:
    try:
        right, bottom, left, top, across, down, x0, y0, channels = struct.unpack_from(">8IH", data, 8)
        if not across or not down:
            return "claims tiles without pixels"
        tiles = max(-(-(right - x0) // across), 0) * max(-(-(bottom - y0) // down), 0)
        pixels = max(right - left, 0) * max(bottom - top, 0)
        if tiles > max(_FREE, pixels // _LEAST_TILE):
            return f"is cut into {tiles:,} tiles"
        for marker, body in _segments(data):
            layers, block = _coding(marker, body, channels)
            if layers > MAX_LAYERS:
                return f"claims {layers:,} layers"
            if block < _LEAST_BLOCK and pixels * channels // block > _FREE:
                return f"is cut into blocks of {block} pixels"
    except (struct.error, IndexError):
        return ""
    return ""


def _coding(marker: int, body: bytes, channels: int) -> tuple[int, int]:
    """Return the layers and the pixels of a block that COD or COC declares; a precinct cuts blocks further."""
    if marker == _COD:
        style, layers, start = body[0], int.from_bytes(body[2:4]), 5
    elif marker == _COC:
        wide = 2 if channels > 256 else 1
        style, layers, start = body[wide], 1, wide + 1
    else:
        return 1, _LEAST_BLOCK
    levels, width, height = body[start], (body[start + 1] & 15) + 2, (body[start + 2] & 15) + 2
    if style & 1:
        precincts = body[start + 5 : start + 6 + levels]
        width = min([width, *(max((size & 15) - (number > 0), 0) for number, size in enumerate(precincts))])
        height = min([height, *(max((size >> 4) - (number > 0), 0) for number, size in enumerate(precincts))])
    return layers, 1 << (width + height)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of the segments of the main header and of every tile part."""
    place, part = 2, 0
    for _ in range(MAX_PARTS):
        (marker,) = struct.unpack_from(">H", data, place)
        if marker == _EOC:
            return
        if marker == _SOD:
            if part <= place:  # the last part, up to the end
                return
            place = part
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        body = data[place + 4 : place + 2 + length]
        if marker == _SOT:
            (claimed,) = struct.unpack_from(">I", body, 2)
            part = place + claimed if claimed else 0
        yield marker, body
        place += 2 + max(length, 2)
