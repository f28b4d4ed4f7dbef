"""Where every weight of a network stands in the official files: names both ways, and networks told from their names.

The official code counts layers from 0: `model.10.conv_block.5` is entry 5 of entry 10. The table of a network lists
its layers with weights in the order of the official file, so that a file written from it has the same keys in the same
order as one the official code wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unpaired.errors import ConfigError, ModelError
from unpaired.networks import PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from unpaired.networks.layers import MAX_CHANNELS, NormKind
from unpaired.storage import shown

State = Mapping[str, Tensor]
"""Tensors by name, as `state_dict()` returns them."""

_BATCH = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Layer:
    """A layer with weights: its name in the official file, its name here, and what the official one holds."""

    official: str
    ours: str
    leaves: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A network recognised in a file: its configuration and its channels (out_channels is 1 for a discriminator)."""

    config: Any
    in_channels: int
    out_channels: int


def to_official(config: Any, state: State) -> dict[str, Tensor]:
    """Return the weights of the network that `config` describes under their official names, in the official order.

    Raises ModelError where the official code has no such network, or `state` is not of this one.
    """
    table = names(config)
    extra = _extra_biases(config, state)
    if reason := _difference(state, [*table.values(), *extra]):
        raise ModelError(f"The weights are not those of a {config.kind} with these settings: {reason}.")
    for name in extra:
        if bool(state[name].any()):
            raise ModelError(
                f"{name} is not zero, and the official network without norm has no bias there; train with instance or "
                "batch norm to export."
            )
    return {official: state[ours] for official, ours in table.items()}


def from_official(config: Any, state: State) -> dict[str, Tensor]:
    """Return weights with official names under ours; biases that the official network lacks become zero.

    Raises ModelError where `state` is not of the network that `config` describes.
    """
    table = names(config)
    if reason := _difference(state, list(table)):
        raise ModelError(f"The weights are not those of an official {config.kind} with these settings: {reason}.")
    ours = {name: state[official] for official, name in table.items()}
    for layer in layers(config) if config.norm == "none" else ():
        if layer.leaves == ("weight",):
            weight = ours[f"{layer.ours}.weight"]
            # A transposed convolution has its output channels second, and only those go "up".
            outputs = weight.shape[1] if layer.ours.startswith("up") else weight.shape[0]
            ours[f"{layer.ours}.bias"] = weight.new_zeros(outputs)
    return ours


def names(config: Any) -> dict[str, str]:
    """Return the name here of every tensor in the official file, in that file's order."""
    return {f"{layer.official}.{leaf}": f"{layer.ours}.{leaf}" for layer in layers(config) for leaf in layer.leaves}


def layers(config: Any) -> list[Layer]:
    """Return the layers with weights of a network, in the official order. Raises ModelError for other networks."""
    for kind, table in _TABLES.items():
        if type(config) is kind:
            return [layer for layer in table(config) if layer.leaves]
    kind_name = getattr(config, "kind", type(config).__name__)
    raise ModelError(f"The official code has no network like {kind_name}; its files cannot hold this one.")


def recognise(state: State, name: str = "The state dict") -> Network:
    """Tell from keys and shapes which network of the official code `state` belongs to; every one is checked.

    Raises ModelError that begins with `name` and gives the first key or shape that does not fit.
    """
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    read = next((read for key, read in _READERS.items() if any(re.match(key, name) for name in shapes)), None)
    if read is None:
        first = next(iter(shapes), "")
        raise ModelError(
            f"{name} is in no layout of the official code: its first tensor is {shown(first)[:80]} "
            f"{list(shapes.get(first, ()))}, and no layer is called model.N, model.model.0 or net.0."
        )
    try:
        found = read(shapes)
    except KeyError as error:
        raise ModelError(f"{name} looks like a network of the official code but lacks {error.args[0]}.") from None
    except (ConfigError, ValueError) as error:
        raise ModelError(f"{name} holds a network that cannot be ({str(error).rstrip('.')}).") from None
    _check_shapes(shapes, found, name)
    return found


def describe(network: Network) -> str:
    """Return a recognised network in words, e.g. "resnet (3 to 3 channels, base_channels 64, num_blocks 9, ...)"."""
    settings = ", ".join(f"{key} {value}" for key, value in vars(network.config).items())
    return f"{network.config.kind} ({network.in_channels} to {network.out_channels} channels, {settings})"


# --- the tables ------------------------------------------------------------------------------------


def _leaves(norm: NormKind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a normalised convolution and its norm hold: a bias stands only in front of instance norm."""
    return ("weight", "bias") if norm == "instance" else ("weight",), _BATCH if norm == "batch" else ()


def _resnet(config: ResNetGenerator) -> Iterator[Layer]:
    _require_transposed(config)
    conv, norm = _leaves(config.norm)
    yield Layer("model.1", "stem.1", conv)
    yield Layer("model.2", "stem.2", norm)
    at = 4
    for down in range(config.num_downs):
        yield Layer(f"model.{at}", f"downs.{down}.0", conv)
        yield Layer(f"model.{at + 1}", f"downs.{down}.1", norm)
        at += 3
    second = 6 if config.dropout else 5  # dropout stands between, and is counted
    for block in range(config.num_blocks):
        for official, ours, leaves in ((1, 1, conv), (2, 2, norm), (second, 6, conv), (second + 1, 7, norm)):
            yield Layer(f"model.{at}.conv_block.{official}", f"blocks.{block}.body.{ours}", leaves)
        at += 1
    for up in range(config.num_downs):
        yield Layer(f"model.{at}", f"ups.{up}.0", conv)
        yield Layer(f"model.{at + 1}", f"ups.{up}.1", norm)
        at += 3
    yield Layer(f"model.{at + 1}", "head.1", ("weight", "bias"))


def _unet(config: UNetGenerator) -> Iterator[Layer]:
    """Yield the levels from the outside in on the way down, and out again on the way up, as they are nested."""
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


_TABLES: dict[type, Callable[[Any], Iterator[Layer]]] = {
    ResNetGenerator: _resnet,
    UNetGenerator: _unet,
    PatchGAN: _patchgan,
    PixelGAN: _pixelgan,
}


# --- recognising -----------------------------------------------------------------------------------

Shapes = Mapping[str, tuple[int, ...]]


def _norm(shapes: Shapes, conv: str, norm: str) -> NormKind:
    if f"{norm}.weight" in shapes or f"{norm}.running_mean" in shapes:
        return "batch"
    return "instance" if f"{conv}.bias" in shapes else "none"


def _size(shapes: Shapes, key: str, axis: int) -> int:
    """Return one extent of a convolution's weight. Raises KeyError or ValueError."""
    shape = shapes[key]
    if len(shape) != 4 or not 1 <= shape[axis] <= MAX_CHANNELS:
        raise ValueError(f"{key} is {list(shape)}")
    return shape[axis]


def _read_resnet(shapes: Shapes) -> Network:
    entries = [match for key in shapes if (match := re.match(r"model\.(\d{1,4})\.conv_block\.(\d)\.weight$", key))]
    blocks = sorted({int(match[1]) for match in entries})
    first, last = (blocks[0], blocks[-1]) if blocks else (0, 0)
    config = ResNetGenerator(
        base_channels=_size(shapes, "model.1.weight", 0),
        num_blocks=len(blocks),
        num_downs=max(0, first - 4) // 3,
        norm=_norm(shapes, "model.1", "model.2"),
        dropout=f"model.{first}.conv_block.6.weight" in shapes and f"model.{first}.conv_block.5.weight" not in shapes,
    )
    head = f"model.{last + 3 * config.num_downs + 2}.weight"
    return Network(config, _size(shapes, "model.1.weight", 1), _size(shapes, head, 0))


def _read_unet(shapes: Shapes) -> Network:
    """Read a U-Net, but for its dropout, which leaves no trace in a file."""
    depth = 1
    while f"{_level(depth)}.1.weight" in shapes:
        depth += 1
    config = UNetGenerator(
        num_downs=depth,
        base_channels=_size(shapes, "model.model.0.weight", 0),
        norm=_norm(shapes, "model.model.0", f"{_level(1)}.2"),
    )
    return Network(config, _size(shapes, "model.model.0.weight", 1), _size(shapes, "model.model.3.weight", 1))


def _read_patchgan(shapes: Shapes) -> Network:
    convs = [int(match[1]) for key in shapes if (match := re.match(r"model\.(\d{1,4})\.weight$", key))]
    config = PatchGAN(
        base_channels=_size(shapes, "model.0.weight", 0),
        num_layers=(max(convs) - 2) // 3,
        norm=_norm(shapes, "model.2", "model.3"),
    )
    return Network(config, _size(shapes, "model.0.weight", 1), 1)


def _read_pixelgan(shapes: Shapes) -> Network:
    config = PixelGAN(base_channels=_size(shapes, "net.0.weight", 0), norm=_norm(shapes, "net.2", "net.3"))
    return Network(config, _size(shapes, "net.0.weight", 1), 1)


_READERS: dict[str, Callable[[Shapes], Network]] = {
    r"model\.\d+\.conv_block\.\d": _read_resnet,
    r"model\.model\.0\.weight$": _read_unet,
    r"model\.0\.weight$": _read_patchgan,
    r"net\.0\.weight$": _read_pixelgan,
}
"""By a key that only this network has."""


def _check_shapes(shapes: Shapes, found: Network, name: str) -> None:
    """Compare every key and shape with the network that was recognised, built without memory."""
    judges = isinstance(found.config, (PatchGAN, PixelGAN))
    with torch.device("meta"):
        network = found.config.build(*[found.in_channels] if judges else [found.in_channels, found.out_channels])
    built = network.state_dict()
    wanted = {official: tuple(built[ours].shape) for official, ours in names(found.config).items()}
    reason = _difference(shapes, list(wanted))
    if not reason:
        wrong = [key for key, shape in wanted.items() if shapes[key] != shape]
        reason = f"{wrong[0]} is {list(shapes[wrong[0]])} instead of {list(wanted[wrong[0]])}" if wrong else ""
    if reason:
        raise ModelError(f"{name} does not fit: {reason} in an official {describe(found)}.")


def _difference(given: Mapping[str, Any], wanted: list[str]) -> str:
    """Return which name is the first to be missing or too many, "" where there is none."""
    known = set(wanted)
    unknown = next((f"{shown(key)[:80]} is unknown" for key in given if key not in known), "")
    return next((f"{key} is missing" for key in wanted if key not in given), unknown)


def _extra_biases(config: Any, state: State) -> list[str]:
    """Return the biases that a network without norm has here and not in the official code."""
    if config.norm != "none":
        return []
    bare = {f"{layer.ours}.bias" for layer in layers(config) if layer.leaves == ("weight",)}
    return [key for key in state if key in bare]
