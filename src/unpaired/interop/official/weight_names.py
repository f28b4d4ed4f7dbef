"""Mapping between our weight names and those of other programs.

The official code counts layers from 0: `model.10.conv_block.5` is entry 5 of entry 10. The table of a network lists
its layers with weights in the order of the official file, so that a file written from it has the same keys in the same
order as one the official code wrote. CUT's code counts the same way and has a blur on each level, whose filter is in
its files. PyTorch-GAN and mmagic have tables of their own, which are only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from unpaired.errors import ModelError
from unpaired.networks import PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from unpaired.networks.layers import NormKind
from unpaired.storage import shown

State = Mapping[str, Tensor]
"""Tensors by name, as `state_dict()` returns them."""

_BATCH = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


Layout = Literal["official", "pytorch-gan", "mmagic"]
"""The program whose names a file uses; CUT uses the official ones."""

FILTERS = {3: (1.0, 2.0, 1.0), 4: (1.0, 3.0, 3.0, 1.0)}
"""CUT's blur filters by size: before downsampling, and after upsampling."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights: its official name, our name, and the tensors of the official layer."""

    official: str
    ours: str
    leaves: tuple[str, ...]


@dataclass(frozen=True)
class Blur(Layer):
    """A blur, whose filter is stored in CUT's files but not in ours."""

    channels: int
    size: int

    def filter(self) -> Tensor:
        """Return the filter in CUT's files, channels 1 size size, with sum 1 for downsampling, 4 for upsampling."""
        row = torch.tensor(FILTERS[self.size])
        scale = 4 if self.size == 4 else 1
        return (torch.outer(row, row) / row.sum() ** 2 * scale).repeat(self.channels, 1, 1, 1)


@dataclass(frozen=True)
class Network:
    """A network recognised in a file: its configuration and its channels (out_channels is 1 for a discriminator)."""

    config: Any
    in_channels: int
    out_channels: int
    layout: Layout = "official"


def to_official(config: Any, state: State) -> dict[str, Tensor]:
    """Return the weights of the network `config` with official names, in the official order.

    Raises ModelError if the official code has no such network, or if `state` does not match `config`.
    """
    table = names(config)
    extra = _extra_biases(config, state)
    if reason := difference(state, [*table.values(), *extra]):
        raise ModelError(f"The weights are not those of a {config.kind} with these settings: {reason}.")
    for name in extra:
        if bool(state[name].any()):
            raise ModelError(
                f"{name} is not zero, and the official network without norm has no bias there; train with instance or "
                "batch norm to export."
            )
    fixed = filters(config)
    order = [f"{layer.official}.{leaf}" for layer in layers(config) for leaf in layer.leaves]
    return {official: fixed[official] if official in fixed else state[table[official]] for official in order}


def from_official(config: Any, state: State, layout: Layout = "official") -> dict[str, Tensor]:
    """Return weights with the names of a layout renamed to ours; biases missing in its network become zero.

    Raises ModelError if `state` does not match `config`, or has other filters than CUT's.
    """
    table, fixed = names(config, layout), filters(config)
    if reason := difference(state, [*table, *fixed]):
        raise ModelError(f"The weights are not those of an official {config.kind} with these settings: {reason}.")
    for key, wanted in fixed.items():
        if not state[key].equal(wanted):
            raise ModelError(f"{key} is another filter than {FILTERS[wanted.shape[-1]]}, CUT's own; it cannot be read.")
    ours = {name: state[official] for official, name in table.items()}
    for layer in layers(config, layout) if config.norm == "none" else ():
        if layer.leaves == ("weight",):
            weight = ours[f"{layer.ours}.weight"]
            # A transposed convolution has its output channels second, and only "ups" are transposed.
            transposed = layer.ours.startswith("up") and not getattr(config, "antialias", False)
            outputs = weight.shape[1] if transposed else weight.shape[0]
            ours[f"{layer.ours}.bias"] = weight.new_zeros(outputs)
    return ours


def names(config: Any, layout: Layout = "official") -> dict[str, str]:
    """Return our names of all learned tensors of a file, in the order of the file."""
    learnt = [layer for layer in layers(config, layout) if not isinstance(layer, Blur)]
    return {f"{layer.official}.{leaf}": f"{layer.ours}.{leaf}" for layer in learnt for leaf in layer.leaves}


def filters(config: Any) -> dict[str, Tensor]:
    """Return the constant tensors of a CUT file by name; empty for other networks."""
    if not getattr(config, "antialias", False):
        return {}
    return {f"{layer.official}.filt": layer.filter() for layer in layers(config) if isinstance(layer, Blur)}


def layers(config: Any, layout: Layout = "official") -> list[Layer]:
    """Return the layers with tensors of a network, in the order of its file. Raises ModelError for other networks."""
    for kind, table in _TABLES[layout].items():
        if type(config) is kind:
            return [layer for layer in table(config) if layer.leaves]
    kind_name = getattr(config, "kind", type(config).__name__)
    raise ModelError(f"The official code has no network like {kind_name}; its files cannot hold this one.")


def describe(network: Network) -> str:
    """Return a recognised network in words, e.g. "resnet (3 to 3 channels, base_channels 64, num_blocks 9, ...)"."""
    settings = ", ".join(f"{key} {value}" for key, value in vars(network.config).items())
    return f"{network.config.kind} ({network.in_channels} to {network.out_channels} channels, {settings})"


# --- the tables ------------------------------------------------------------------------------------


def _leaves(norm: NormKind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tensors of a convolution and of its norm; the convolution has no bias before batch norm."""
    return ("weight", "bias") if norm == "instance" else ("weight",), _BATCH if norm == "batch" else ()


def _resnet(config: ResNetGenerator) -> Iterator[Layer]:
    _require_transposed(config)
    return _counted(config, "conv_block")


def _resnet_of_pytorch_gan(config: ResNetGenerator) -> Iterator[Layer]:
    return _counted(config, "block")


def _counted(config: ResNetGenerator, block_name: str) -> Iterator[Layer]:
    """Yield the layers of a ResNet with numbered entries: convolution, norm and ReLU are one entry each.

    Blurs and upsampling layers are entries, too.
    """
    conv, norm = _leaves(config.norm)
    width, blurs = config.base_channels, config.antialias
    yield Layer("model.1", "stem.1", conv)
    yield Layer("model.2", "stem.2", norm)
    at = 4
    for down in range(config.num_downs):
        width *= 2
        yield Layer(f"model.{at}", f"downs.{down}.0", conv)
        yield Layer(f"model.{at + 1}", f"downs.{down}.1", norm)
        if blurs:
            yield Blur(f"model.{at + 3}", "", ("filt",), width, 3)
        at += 4 if blurs else 3
    second = 6 if config.dropout else 5  # dropout, if present, is an entry between them
    for block in range(config.num_blocks):
        for official, ours, leaves in ((1, 1, conv), (2, 2, norm), (second, 6, conv), (second + 1, 7, norm)):
            yield Layer(f"model.{at}.{block_name}.{official}", f"blocks.{block}.body.{ours}", leaves)
        at += 1
    before, ours = (1, 1) if blurs else (1, 2) if config.upsampling == "resize_zeros" else (0, 0)
    for up in range(config.num_downs):
        if blurs:
            yield Blur(f"model.{at}", "", ("filt",), width, 4)
        yield Layer(f"model.{at + before}", f"ups.{up}.{ours}", conv)
        yield Layer(f"model.{at + before + 1}", f"ups.{up}.{ours + 1}", norm)
        at, width = at + before + 3, width // 2
    yield Layer(f"model.{at + 1}", "head.1", ("weight", "bias"))


def _resnet_of_mmagic(config: ResNetGenerator) -> Iterator[Layer]:
    """Yield the layers of mmagic's ResNet; convolution, norm and ReLU together are one entry."""
    conv, norm = _leaves(config.norm)

    def entry(at: str, ours: str, index: int) -> Iterator[Layer]:
        yield Layer(f"{at}.conv", f"{ours}.{index}", conv)
        yield Layer(f"{at}.bn", f"{ours}.{index + 1}", norm)

    yield from entry("model.0", "stem", 1)
    at = 1
    for down in range(config.num_downs):
        yield from entry(f"model.{at + down}", f"downs.{down}", 0)
    at += config.num_downs
    for block in range(config.num_blocks):
        yield from entry(f"model.{at + block}.block.0", f"blocks.{block}.body", 1)
        yield from entry(f"model.{at + block}.block.{2 if config.dropout else 1}", f"blocks.{block}.body", 6)
    at += config.num_blocks
    for up in range(config.num_downs):
        yield from entry(f"model.{at + up}", f"ups.{up}", 0)
    yield Layer(f"model.{at + config.num_downs}.conv", "head.1", ("weight", "bias"))


def _unet(config: UNetGenerator) -> Iterator[Layer]:
    """Yield the encoder layers from the outermost level in, then the decoder layers from the innermost level out."""
    _require_transposed(config)
    conv, norm = _leaves(config.norm)
    innermost = config.num_downs - 1
    for level in range(config.num_downs):
        at = _level(level)
        yield Layer(f"{at}.{1 if level else 0}", f"downs.{level}.conv", conv)
        if 0 < level < innermost:
            yield Layer(f"{at}.2", f"downs.{level}.norm", norm)
    for level in reversed(range(config.num_downs)):
        at, up = _level(level), 3 if level in (0, innermost) else 5
        yield Layer(f"{at}.{up}", f"ups.{level}.conv", conv if level else ("weight", "bias"))
        if level:
            yield Layer(f"{at}.{up + 1}", f"ups.{level}.norm", norm)


def _unet_of_mmagic(config: UNetGenerator) -> Iterator[Layer]:
    """Yield the layers of mmagic's U-Net: entry 0 of a level is its encoder, 1 the next level, 2 its decoder."""
    conv, norm = _leaves(config.norm)
    innermost = config.num_downs - 1
    for level in range(config.num_downs):
        at = _level_of_mmagic(level)
        yield Layer(f"{at}.0.conv", f"downs.{level}.conv", conv)
        if 0 < level < innermost:
            yield Layer(f"{at}.0.bn", f"downs.{level}.norm", norm)
    for level in reversed(range(config.num_downs)):
        up = f"{_level_of_mmagic(level)}.{1 if level == innermost else 2}"
        yield Layer(f"{up}.conv", f"ups.{level}.conv", conv if level else ("weight", "bias"))
        if level:
            yield Layer(f"{up}.bn", f"ups.{level}.norm", norm)


def _level_of_mmagic(level: int) -> str:
    return "model.model" + ".1.model" * level


def _level(level: int) -> str:
    """Return the name of a U-Net's level, 0 the outermost; each holds the next one."""
    return "model.model" + (".1.model" + ".3.model" * (level - 1) if level else "")


def _require_transposed(config: ResNetGenerator | UNetGenerator) -> None:
    if config.upsampling != "transposed":
        raise ModelError(
            f"The official code has no {config.kind} with upsampling {config.upsampling}; only transposed "
            "convolutions fit its files."
        )


def _patchgan(config: PatchGAN) -> Iterator[Layer]:
    if config.num_discriminators != 1:
        raise ModelError(f"The official files hold one discriminator, not {config.num_discriminators} side by side.")
    conv, norm = _leaves(config.norm)
    yield Layer("model.0", "layers.0", ("weight", "bias"))
    for at in range(2, 2 + 3 * config.num_layers, 3):
        yield Layer(f"model.{at}", f"layers.{at}", conv)
        yield Layer(f"model.{at + 1}", f"layers.{at + 1}", norm)
    last = 2 + 3 * config.num_layers
    yield Layer(f"model.{last}", f"layers.{last}", ("weight", "bias"))


def _pixelgan(config: PixelGAN) -> Iterator[Layer]:
    conv, norm = _leaves(config.norm)
    for at, leaves in ((0, ("weight", "bias")), (2, conv), (3, norm), (5, conv)):
        yield Layer(f"net.{at}", f"layers.{at}", leaves)


_TABLES: dict[Layout, dict[type, Callable[[Any], Iterator[Layer]]]] = {
    "official": {
        ResNetGenerator: _resnet,
        UNetGenerator: _unet,
        PatchGAN: _patchgan,
        PixelGAN: _pixelgan,
    },
    "pytorch-gan": {ResNetGenerator: _resnet_of_pytorch_gan},
    "mmagic": {ResNetGenerator: _resnet_of_mmagic, UNetGenerator: _unet_of_mmagic},
}


def difference(given: Mapping[str, Any], wanted: list[str]) -> str:
    """Return the first missing or unknown name as text, "" if all names match."""
    known = set(wanted)
    unknown = next((f"{shown(key)[:80]} is unknown" for key in given if key not in known), "")
    return next((f"{key} is missing" for key in wanted if key not in given), unknown)


def _extra_biases(config: Any, state: State) -> list[str]:
    """Return our biases of a network without norm that do not exist in the official code."""
    if config.norm != "none":
        return []
    bare = {f"{layer.ours}.bias" for layer in layers(config) if layer.leaves == ("weight",)}
    return [key for key in state if key in bare]
