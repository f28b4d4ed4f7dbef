"""README.md of exported programs: loading, inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CARD = """# Exported generators

Programs of `torch.export`, written by {package} with torch {torch}.
They need torch {torch} or newer and nothing else; `export.json` has the facts below for programs.

    import torch
    program = torch.export.load("{first}.pt2").module()
    with torch.no_grad():
        made = program(images)

`images` and `made` are tensors n c h w, contiguous, float32, with values in [-1, 1].

{directions}
## Values

| domain | value range | type |
|---|---|---|
{values}

A pixel v of the value range [low, high] becomes 2 (v - low) / (high - low) - 1; for the way back, clip to [-1, 1],
invert this and round.
The range `dtype` is the whole range of the image's own type: v / 127.5 - 1 for 8 bits.
Three channels are red, green and blue in this order.
Colours with an ICC profile were {icc} in training.
Transparent images are laid over the colour {background} (red, green, blue; 0 to 255) first.
"""

_DIRECTION = """## {file}: {from} to {to}

- channels: {input_channels} in, {output_channels} out
- height and width: multiples of {multiple}, at least {smallest_side}; the result is as large.
  Mirror other images to the right and below, and cut the result.
- images at once: {images_at_once}
{noise}- SHA-256: `{sha256}`

"""

_NOISE = "- the program draws random noise: results repeat only after the same `torch.manual_seed(...)`\n"


def program_card(description: Mapping[str, Any]) -> str:
    """Return the Markdown text for the content of an export.json."""
    directions: Mapping[str, Mapping[str, Any]] = description["directions"]
    values: Mapping[str, Mapping[str, Any]] = description["values"]
    return _CARD.format(
        package=description["package"],
        torch=description["torch"],
        first=next(iter(directions)),
        directions="".join(_DIRECTION.format(**d, noise=_NOISE if d["random"] else "") for d in directions.values()),
        values="\n".join(f"| {key} | {own['range']} | {own['dtype'] or 'any'} |" for key, own in values.items()),
        icc="converted to sRGB" if description["icc"] == "convert" else "taken as they are",
        background=tuple(description["background"]),
    )
