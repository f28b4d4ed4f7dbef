"""VGG-16 and VGG-19 (Simonyan & Zisserman 2015, configurations D and E): the convolutional layers, as PyTorch's files
number them.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

Depth = Literal[16, 19]

PUBLISHED: dict[Depth, str] = {16: "397923af", 19: "dcbb9e9d"}
"""Beginnings of the SHA-256 of the published files, which vgg16-397923af.pth and vgg19-dcbb9e9d.pth are named after."""

_BLOCKS: dict[Depth, tuple[int, ...]] = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


def vgg_layers(depth: Depth) -> nn.Sequential:
    """Return the untrained convolutions, ReLUs and poolings, n 3 h w to n 512 h/16 w/16; no pooling after the last."""
    layers: list[nn.Module] = []
    channels = 3
    for block, (width, count) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True)):
        if block:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def relu_places(depth: Depth) -> dict[str, int]:
    """Return the position of each ReLU in `vgg_layers` by its published name, e.g. {"relu1_1": 1, ...}."""
    places, position = {}, 0
    for block, count in enumerate(_BLOCKS[depth], start=1):
        for layer in range(1, count + 1):
            places[f"relu{block}_{layer}"] = position + 1
            position += 2
        position += 1
    return places
