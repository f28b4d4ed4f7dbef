"""The header of a JPEG XL codestream, ISO/IEC 18181-1: size, channels and depth."""

from __future__ import annotations

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIDE = ((9, 1), (13, 1), (18, 1), (30, 1))
_PREVIEW_SIDE = ((6, 1), (8, 65), (10, 321), (12, 1345))
_PREVIEW_EIGHTHS = ((0, 16), (0, 32), (5, 1), (9, 33))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_GREY = 1  # of the colour spaces
_ALPHA, _SPOT, _MOSAIC = 0, 2, 5  # of the kinds of extra channels


class _Bits:
    """Reader of the bits of a stream, lowest bit first; raises ValueError at the end of the stream."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        first, last = self._place // 8, (self._place + count + 7) // 8
        if last > len(self._data):
            raise ValueError("The header is cut short.")
        value = int.from_bytes(self._data[first:last], "little") >> self._place % 8
        self._place += count
        return value & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Pass over `count` bits."""
        self._place += count

    def pick(self, choices: tuple[tuple[int, int], ...]) -> int:
        """Return a number whose form (bits, offset) is one of four, selected by two bits."""
        count, offset = choices[self.take(2)]
        return self.take(count) + offset


def jxl_size(data: bytes) -> tuple[int, int, int, int]:
    """Return width, height, channels and bits of a codestream without its two-byte signature.

    Width and height are those after orientation; channels include the extra ones. Raises ValueError if the header is
    cut short.
    """
    bits = _Bits(data)
    width, height = _size(bits)
    if bits.take(1):  # all other fields have their defaults
        return width, height, 3, 8
    orientation = _extra_fields(bits) if bits.take(1) else 0
    depth = _depth(bits)
    bits.take(1)
    extras = bits.pick(((0, 0), (0, 1), (4, 2), (12, 1)))
    for _ in range(extras):
        _extra_channel(bits)
    bits.take(1)
    grey = not bits.take(1) and (bits.take(1), bits.pick(_ENUM))[1] == _GREY
    if orientation >= 4:  # stored as one less than that of EXIF
        width, height = height, width
    return width, height, (1 if grey else 3) + extras, depth


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.pick(_SIDE)

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    over, under = _RATIOS[ratio]
    return height * over // under, height


def _extra_fields(bits: _Bits) -> int:
    """Return the orientation, 0 to 7; skip the fields of other sizes and of animation."""
    orientation = bits.take(3)
    if bits.take(1):
        _size(bits)
    if bits.take(1):
        form = _PREVIEW_EIGHTHS if bits.take(1) else _PREVIEW_SIDE
        bits.pick(form)
        if not bits.take(3):
            bits.pick(form)
    if bits.take(1):
        bits.pick(((0, 100), (0, 1000), (10, 1), (30, 1)))
        bits.pick(((0, 1), (0, 1001), (8, 1), (10, 1)))
        bits.pick(((0, 0), (3, 0), (16, 0), (32, 0)))
        bits.take(1)
    return orientation


def _depth(bits: _Bits) -> int:
    if not bits.take(1):
        return bits.pick(((0, 8), (0, 10), (0, 12), (6, 1)))
    depth = bits.pick(((0, 32), (0, 16), (0, 24), (6, 1)))
    bits.take(4)
    return depth


def _extra_channel(bits: _Bits) -> None:
    if bits.take(1):
        return
    kind = bits.pick(_ENUM)
    _depth(bits)
    bits.pick(((0, 0), (0, 3), (0, 4), (3, 1)))
    bits.skip(8 * bits.pick(((0, 0), (4, 0), (5, 16), (10, 48))))
    if kind == _ALPHA:
        bits.take(1)
    elif kind == _SPOT:
        bits.take(64)
    elif kind == _MOSAIC:
        bits.pick(((0, 1), (2, 0), (4, 3), (8, 19)))
