"""Recognises networks by tensor names and shapes: those of the official code, CUT, PyTorch-GAN and mmagic."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

from unpaired.errors import ConfigError, ModelError
from unpaired.interop.official.unsupported_networks import unsupported_network
from unpaired.interop.official.weight_names import Network, State, describe, difference, filters, names
from unpaired.networks import PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from unpaired.networks.layers import MAX_CHANNELS, NormKind
from unpaired.storage import shown

Shapes = Mapping[str, tuple[int, ...]]


class NotReadError(Exception):
    """A recognised network that is not supported; its text continues a sentence that begins with the file's name."""


def recognise(state: State, name: str = "The state dict") -> Network:
    """Return the network of a state dict, recognised by its keys and shapes; all of them are checked.

    Raises ModelError that begins with `name` and contains the first key or shape that does not fit, or the kind of
    an unsupported network.
    """
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    read = next((read for key, read in _READERS.items() if any(re.match(key, name) for name in shapes)), None)
    if read is None or unsupported_network(shapes):
        raise ModelError(f"{name} {unsupported_network(shapes) or _unknown(shapes)}.")
    try:
        found = read(shapes)
    except NotReadError as error:
        raise ModelError(f"{name} {error}.") from None
    except KeyError as error:
        raise ModelError(f"{name} looks like a network of the official code but lacks {error.args[0]}.") from None
    except (ConfigError, ValueError) as error:
        raise ModelError(f"{name} contains an invalid network ({str(error).rstrip('.')}).") from None
    _check_shapes(shapes, found, name)
    return found


def _unknown(shapes: Shapes) -> str:
    first = next(iter(shapes), "")
    return (
        f"is in no layout of the official code: its first tensor is {shown(first)[:80]} "
        f"{list(shapes.get(first, ()))}, and no layer is called model.N, model.model.0 or net.0"
    )


def _norm(shapes: Shapes, conv: str, norm: str) -> NormKind:
    if f"{norm}.weight" in shapes or f"{norm}.running_mean" in shapes:
        return "batch"
    return "instance" if f"{conv}.bias" in shapes else "none"


def _size(shapes: Shapes, key: str, axis: int) -> int:
    """Return one dimension of a convolution's weight. Raises KeyError or ValueError."""
    shape = shapes[key]
    if len(shape) != 4 or not 1 <= shape[axis] <= MAX_CHANNELS:
        raise ValueError(f"{key} is {list(shape)}")
    return shape[axis]


def _entries(shapes: Shapes, pattern: str) -> list[int]:
    """Return the numbers of the entries of `model` whose names match, each once, in order."""
    return sorted({int(match[1]) for key in shapes if (match := re.match(rf"model\.(\d{{1,4}})\.{pattern}$", key))})


def _read_resnet(shapes: Shapes) -> Network:
    blocks = _entries(shapes, r"conv_block\.\d\.weight")
    first, last = (blocks[0], blocks[-1]) if blocks else (0, 0)
    before, behind = _blurs(shapes, first)
    stage = 4 if before and behind else 3  # entries per level
    config = ResNetGenerator(
        base_channels=_size(shapes, "model.1.weight", 0),
        num_blocks=len(blocks),
        num_downs=max(0, first - 4) // stage,
        norm=_norm(shapes, "model.1", "model.2"),
        dropout=f"model.{first}.conv_block.6.weight" in shapes and f"model.{first}.conv_block.5.weight" not in shapes,
        antialias=stage == 4,
    )
    head = f"model.{last + stage * config.num_downs + 2}.weight"
    return Network(config, _size(shapes, "model.1.weight", 1), _size(shapes, head, 0))


def _blurs(shapes: Shapes, first: int) -> tuple[int, int]:
    """Return the number of blurs before the first and after the last residual block. Raises NotReadError."""
    at = _entries(shapes, "filt")
    before = len([entry for entry in at if entry < first])
    behind = len(at) - before
    if (before == 0) != (behind == 0) and before + behind > 1:
        flag = "--no_antialias" if behind else "--no_antialias_up"
        raise NotReadError(
            f"is a ResNet of CUT's code that blurs on the way {'up' if behind else 'down'} alone, as {flag} makes it; "
            "one that blurs both ways, or neither, is read"
        )
    return before, behind


def _read_resnet_of_pytorch_gan(shapes: Shapes) -> Network:
    blocks = _entries(shapes, r"block\.\d\.weight")
    first, last = blocks[0], blocks[-1]
    config = ResNetGenerator(
        base_channels=_size(shapes, "model.1.weight", 0),
        num_blocks=len(blocks),
        num_downs=max(0, first - 4) // 3,
        norm=_norm(shapes, "model.1", "model.2"),
        upsampling="resize_zeros",
    )
    channels = _size(shapes, "model.1.weight", 1)
    made = _size(shapes, f"model.{last + 4 * config.num_downs + 2}.weight", 0)
    if (channels, made) != (3, 3):
        raise NotReadError(
            f"is PyTorch-GAN's GeneratorResNet for {channels}-channel images, whose results have other sizes than its "
            "images, as that code pads by the number of channels; only 3 channels are read"
        )
    return Network(config, channels, made, "pytorch-gan")


def _read_resnet_of_mmagic(shapes: Shapes) -> Network:
    blocks = _entries(shapes, r"block\.\d\.conv\.weight")
    first, last = blocks[0], blocks[-1]
    config = ResNetGenerator(
        base_channels=_size(shapes, "model.0.conv.weight", 0),
        num_blocks=len(blocks),
        num_downs=first - 1,
        norm=_norm(shapes, "model.0.conv", "model.0.bn"),
        dropout=f"model.{first}.block.2.conv.weight" in shapes,
    )
    head = f"model.{last + config.num_downs + 1}.conv.weight"
    return Network(config, _size(shapes, "model.0.conv.weight", 1), _size(shapes, head, 0), "mmagic")


def _read_unet(shapes: Shapes) -> Network:
    """Read the configuration of a U-Net, except for dropout, which has no tensors."""
    depth, level = 1, "model.model.1.model"
    while f"{level}.1.weight" in shapes:
        depth, level = depth + 1, f"{level}.3.model"
    config = UNetGenerator(
        num_downs=depth,
        base_channels=_size(shapes, "model.model.0.weight", 0),
        norm=_norm(shapes, "model.model.0", "model.model.1.model.2"),
    )
    return Network(config, _size(shapes, "model.model.0.weight", 1), _size(shapes, "model.model.3.weight", 1))


def _read_unet_of_mmagic(shapes: Shapes) -> Network:
    depth, level = 1, "model.model.1.model"
    while f"{level}.0.conv.weight" in shapes:
        depth, level = depth + 1, f"{level}.1.model"
    config = UNetGenerator(
        num_downs=depth,
        base_channels=_size(shapes, "model.model.0.conv.weight", 0),
        norm=_norm(shapes, "model.model.0.conv", "model.model.1.model.0.bn"),
    )
    channels = _size(shapes, "model.model.0.conv.weight", 1), _size(shapes, "model.model.2.conv.weight", 1)
    return Network(config, *channels, "mmagic")


def _read_patchgan(shapes: Shapes) -> Network:
    if _entries(shapes, "filt"):
        raise NotReadError(_DISCRIMINATOR.format("a PatchGAN of CUT's code"))
    convs = _entries(shapes, "weight")
    config = PatchGAN(
        base_channels=_size(shapes, "model.0.weight", 0),
        num_layers=(max(convs) - 2) // 3,
        norm=_norm(shapes, "model.2", "model.3"),
    )
    if convs == [0, 2, 5, 8, 12]:
        raise NotReadError(_DISCRIMINATOR.format("PyTorch-GAN's"))
    return Network(config, _size(shapes, "model.0.weight", 1), 1)


_DISCRIMINATOR = "is a discriminator ({}), for training alone; give the generator's file"


def _read_pixelgan(shapes: Shapes) -> Network:
    config = PixelGAN(base_channels=_size(shapes, "net.0.weight", 0), norm=_norm(shapes, "net.2", "net.3"))
    return Network(config, _size(shapes, "net.0.weight", 1), 1)


def _read_patchgan_of_mmagic(shapes: Shapes) -> Network:
    raise NotReadError(_DISCRIMINATOR.format("a PatchGAN of mmagic's"))


_READERS: dict[str, Callable[[Shapes], Network]] = {
    r"model\.\d+\.conv_block\.\d": _read_resnet,
    r"model\.\d+\.block\.\d\.weight$": _read_resnet_of_pytorch_gan,
    r"model\.\d+\.block\.\d\.conv\.weight$": _read_resnet_of_mmagic,
    r"model\.model\.0\.weight$": _read_unet,
    r"model\.model\.0\.conv\.weight$": _read_unet_of_mmagic,
    r"model\.0\.weight$": _read_patchgan,
    r"model\.0\.conv\.weight$": _read_patchgan_of_mmagic,
    r"net\.0\.weight$": _read_pixelgan,
}
"""Functions that read a network, by a key that only this network has."""


def _check_shapes(shapes: Shapes, found: Network, name: str) -> None:
    """Compare all keys and shapes with the recognised network, built on the meta device. Raises ModelError."""
    judges = isinstance(found.config, (PatchGAN, PixelGAN))
    with torch.device("meta"):
        network = found.config.build(*[found.in_channels] if judges else [found.in_channels, found.out_channels])
        built = network.state_dict()
        wanted = {other: tuple(built[ours].shape) for other, ours in names(found.config, found.layout).items()}
        wanted |= {key: tuple(value.shape) for key, value in filters(found.config).items()}
    reason = difference(shapes, list(wanted))
    if not reason:
        wrong = [key for key, shape in wanted.items() if shapes[key] != shape]
        reason = f"{wrong[0]} is {list(shapes[wrong[0]])} instead of {list(wanted[wrong[0]])}" if wrong else ""
    if reason:
        raise ModelError(f"{name} does not fit: {reason} in an official {describe(found)}.")
