"""The sample grid of a run: a few images and their translations, labelled like a figure of a paper."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from torch import Tensor

from unpaired.errors import ConfigError
from unpaired.images import from_tensor
from unpaired.pages.html_pages import image_uri
from unpaired.storage import write_bytes

DOMAIN_NAMES: Mapping[str, str] = MappingProxyType({"A": "A", "B": "B"})
"""Default names of the domains."""

KeyT = TypeVar("KeyT", bound=str)
Picture = PIL.Image.Image
Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont

_WHITE, _INK, _GREY, _RULE = (255, 255, 255), (28, 30, 34), (104, 110, 120), (205, 208, 214)
_MIN_CELL = 112  # the side below which images are enlarged: 64 becomes 128, 128 stays
_MAX_WORD = 16  # letters of a word that a label keeps if its column is narrower
_WORDS = {"rec": "reconstructed"}
_LANDSCAPE = 1.6  # width by height that fits both a page and a screen


def draw_samples(
    blocks: Mapping[KeyT, Mapping[str, Tensor]], *, names: Mapping[str, str] = DOMAIN_NAMES, caption: str = ""
) -> Picture:
    """Draw one labelled block for each direction: a column for each kind of image, a row for each image.

    blocks: images n c h w in [-1, 1] by direction ("AtoB") and column ("real_a", "fake_b", "rec_a", ...); sizes and
    counts may differ. Of 2 channels the first is drawn, in grey; of more than 3, the first three.
    names: names of the domains "A" and "B" in the labels.
    caption: a line under the figure.

    Returns an RGB image. Small images are enlarged by a whole factor, pixel by pixel; values are clamped and rounded;
    an image with NaN is drawn as a crossed-out cell. Raises ConfigError if there is nothing to draw, or a tensor is
    not n c h w.
    """
    pictures = {
        direction: {column: _pictures(column, tensor) for column, tensor in columns.items()}
        for direction, columns in blocks.items()
    }
    sides = [max(p.size) for columns in pictures.values() for cells in columns.values() for p in cells]
    if not sides:
        raise ConfigError("There are no sample images to draw; set --run.num-samples to at least 1.")
    factor = max(1, math.ceil(_MIN_CELL / min(sides)))
    unit = min(30, max(14, round(0.1 * factor * max(sides))))
    panels = [
        _panel(
            direction,
            {name: [_enlarged(p, factor) for p in cells] for name, cells in columns.items()},
            names,
            unit,
        )
        for direction, columns in pictures.items()
        if columns
    ]
    return _figure(panels, _plain(caption), unit)


def write_samples(path: Path, image: Picture) -> None:
    """Write a sample grid as PNG, whole or not at all.

    Raises OutputError if the file cannot be written there, StorageError if the disk is full or failing.
    """
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    write_bytes(path, encoded.getvalue())


def data_uri(path: Path, max_bytes: int) -> tuple[str, int, int]:
    """Return a sample grid as a data URI for a page, and its width and height in the file.

    A PNG of at most `max_bytes` is kept as it is; anything else becomes a JPEG of at most that size, scaled down if
    necessary. Raises OSError, SyntaxError or ValueError, as Pillow does, for a damaged image file.
    """
    content = path.read_bytes()
    picture = PIL.Image.open(io.BytesIO(content))
    picture.load()
    kind = "png" if picture.format == "PNG" and len(content) <= max_bytes else "jpeg"
    if kind == "jpeg":
        content = _jpeg(picture.convert("RGB"), max_bytes)
    return image_uri(content, kind), *picture.size


def _jpeg(picture: Picture, max_bytes: int) -> bytes:
    """Return a JPEG of at most `max_bytes` (or 64 pixels wide), coarser and smaller until it fits."""
    width, quality = min(picture.width, 1600), 88
    while True:
        shown = picture.resize((width, max(1, round(picture.height * width / picture.width))))
        encoded = io.BytesIO()
        shown.save(encoded, format="JPEG", quality=quality, subsampling=0)
        if encoded.tell() <= max_bytes or width <= 64:
            return encoded.getvalue()
        width, quality = max(64, width * 3 // 4), max(60, quality - 8)


def label(column: str, names: Mapping[str, str] = DOMAIN_NAMES) -> str:
    """Return the label of a column: "real summer" for real_a, "reconstructed winter" for rec_b."""
    kind, _, domain = column.rpartition("_")
    if not kind or domain.upper() not in DOMAIN_NAMES:
        return _plain(column.replace("_", " "))
    return f"{_WORDS.get(kind, kind.replace('_', ' '))} {_domain(domain.upper(), names)}"


def _domain(letter: str, names: Mapping[str, str]) -> str:
    return _plain(names.get(letter, letter)) or letter


def _plain(text: str) -> str:
    """Return `text` in ASCII, the characters of Pillow's own font; empty if that is impossible."""
    stripped = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(stripped.split()) if stripped.isascii() and stripped.isprintable() else ""


def _pictures(column: str, tensor: Tensor) -> list[Picture]:
    if tensor.ndim != 4 or 0 in tensor.shape[1:]:
        raise ConfigError(f"The samples {column!r} must be images n c h w, not of shape {tuple(tensor.shape)}.")
    shown = tensor[:, :3] if tensor.shape[1] >= 3 else tensor[:, :1]
    return [_picture(image) for image in shown]


def _enlarged(picture: Picture, factor: int) -> Picture:
    # By whole pixels, so that the grid shows the network's output without interpolation.
    return picture.resize((picture.width * factor, picture.height * factor), PIL.Image.Resampling.NEAREST)


def _picture(image: Tensor) -> Picture:
    if not image.isnan().any():
        return from_tensor(image).to_pil().convert("RGB")
    # A failure must not look like a picture: a grey cell, crossed out.
    height, width = image.shape[1:]
    cell = PIL.Image.new("RGB", (width, height), (232, 232, 232))
    pen = PIL.ImageDraw.Draw(cell)
    pen.line([(0, 0), (width - 1, height - 1)], fill=(190, 40, 40))
    pen.line([(0, height - 1), (width - 1, 0)], fill=(190, 40, 40))
    return cell


def _panel(direction: str, columns: Mapping[str, list[Picture]], names: Mapping[str, str], unit: int) -> Picture:
    """Return one block: its title over a rule, a label over each column, a row for each image."""
    font, gap = PIL.ImageFont.load_default(unit), max(4, round(unit / 3))
    lines = {column: _wrapped(label(column, names), _width_of(cells), font) for column, cells in columns.items()}
    widths = {
        column: max(_width_of(cells), *(math.ceil(font.getlength(line)) for line in lines[column]))
        for column, cells in columns.items()
    }
    num_rows = max(map(len, columns.values()))
    heights = [max(cells[row].height for cells in columns.values() if row < len(cells)) for row in range(num_rows)]
    label_height = round(1.25 * unit)
    labels_at = round(2.3 * unit)
    images_at = labels_at + label_height * max(map(len, lines.values())) + gap
    title = _title(direction, names, unit)
    width = max(title.width, sum(widths.values()) + gap * (len(columns) - 1))
    size = width, images_at + sum(heights) + gap * (num_rows - 1)
    panel = PIL.Image.new("RGB", size, _WHITE)
    pen = PIL.ImageDraw.Draw(panel)
    panel.paste(title, (0, 0))
    pen.line([(0, round(1.65 * unit)), (width, round(1.65 * unit))], fill=_RULE)
    left = 0
    for column, cells in columns.items():
        middle, bottom = left + widths[column] / 2, images_at - gap
        for offset, line in enumerate(reversed(lines[column])):
            pen.text((middle, bottom - offset * label_height), line, fill=_GREY, font=font, anchor="md")
        top = images_at
        for cell, height in zip(cells, heights, strict=False):
            panel.paste(cell, (round(middle - cell.width / 2), top))
            top += height + gap
        left += widths[column] + gap
    return panel


def _title(direction: str, names: Mapping[str, str], unit: int) -> Picture:
    """Return "summer -> winter" for AtoB, the arrow drawn, as the font has none; another key as it is."""
    font, base = PIL.ImageFont.load_default(round(1.15 * unit)), round(1.2 * unit)
    source, _, target = direction.partition("to")
    known = source in DOMAIN_NAMES and target in DOMAIN_NAMES
    first = _domain(source, names) if known else _plain(direction)
    second = _domain(target, names) if known else ""
    tail = font.getlength(first) + 0.5 * unit
    head = tail + 1.3 * unit
    end = head + 0.5 * unit + font.getlength(second) if known else tail
    title = PIL.Image.new("RGB", (math.ceil(end), round(1.6 * unit)), _WHITE)
    pen = PIL.ImageDraw.Draw(title)
    pen.text((0, base), first, fill=_INK, font=font, anchor="ls")
    if known:
        y, barb, stroke = base - 0.36 * unit, 0.26 * unit, max(1, round(unit / 12))
        pen.line([(tail, y), (head, y)], fill=_INK, width=stroke)
        pen.line([(head - barb, y - barb), (head, y), (head - barb, y + barb)], fill=_INK, width=stroke)
        pen.text((head + 0.5 * unit, base), second, fill=_INK, font=font, anchor="ls")
    return title


def _wrapped(text: str, width: int, font: Font) -> list[str]:
    """Break a label into lines of at most `width` pixels; a very long word is shortened."""
    longest = max(width, _MAX_WORD * font.getlength("n"))
    lines: list[str] = []
    for word in text.split():
        while font.getlength(word) > longest:
            word = word.removesuffix("...")[:-1] + "..."
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _width_of(cells: list[Picture]) -> int:
    return max(cell.width for cell in cells)


def _figure(panels: list[Picture], caption: str, unit: int) -> Picture:
    """Set the panels on white, beside or above one another, whichever comes closer to a landscape page."""
    margin, between = round(1.5 * unit), round(2.2 * unit)
    beside = sum(p.width for p in panels) + between * (len(panels) - 1), max(p.height for p in panels)
    above = max(p.width for p in panels), sum(p.height for p in panels) + between * (len(panels) - 1)
    side_by_side = _misfit(beside) <= _misfit(above)
    width, height = beside if side_by_side else above
    footer = round(1.8 * unit) if caption else 0
    figure = PIL.Image.new("RGB", (width + 2 * margin, height + 2 * margin + footer), _WHITE)
    left = top = margin
    for panel in panels:
        figure.paste(panel, (left, top))
        left, top = (left + panel.width + between, top) if side_by_side else (left, top + panel.height + between)
    place = margin, margin + height + footer
    font = PIL.ImageFont.load_default(unit)
    PIL.ImageDraw.Draw(figure).text(place, caption, fill=_GREY, font=font, anchor="ls")
    return figure


def _misfit(size: tuple[int, int]) -> float:
    return abs(math.log(size[0] / size[1] / _LANDSCAPE))
