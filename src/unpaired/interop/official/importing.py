"""`unpaired import`: converts official files to a model folder; the architecture comes from their keys and shapes.

In the official code G_A translates A to B and G_B the reverse; the file of a single generator is called G. With
--direction BtoA it exchanges the domains of the data, so its A is the data's B. Files of other programs with the same
networks are supported, too (`layout`), also in wrappers (`wrapped`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from unpaired.config import from_dict
from unpaired.errors import ModelError, OutputError
from unpaired.interop.official.options import FILES, Options, read_options
from unpaired.interop.official.recognising import recognise
from unpaired.interop.official.weight_names import Network, describe, from_official
from unpaired.interop.official.wrapped import Part, chosen, domains, parts
from unpaired.live_line import rewrite
from unpaired.models.bounds import MAX_SIDE
from unpaired.models.model_folder import DirectionInfo, GeneratorMode, ModelInfo, TrainingInfo, write_model
from unpaired.models.scale_info import ScaleInfo
from unpaired.networks import PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from unpaired.storage import shown
from unpaired.training_size import Preprocess
from unpaired.untrusted.torch_files import Loaded, load, modernised
from unpaired.untrusted.weight_formats import other_folder

_NAMED = (
    re.compile(r"(?P<epoch>latest|\d{1,18}|iter_\d{1,18})_net_(?P<network>G|G_A|G_B)\.pth"),
    re.compile(r"G_(?P<network>AB|BA)_(?P<epoch>\d{1,18})\.pth"),  # PyTorch-GAN
    re.compile(r"netG_(?P<network>A2B|B2A)(?P<epoch>)\.pth"),
)
_SAME = {"AB": "G_A", "A2B": "G_A", "BA": "G_B", "B2A": "G_B"}
_SUFFIXES = (".pth", ".pt", ".ckpt")
_BACK = {"AtoB": "BtoA", "BtoA": "AtoB"}
_MODES: dict[GeneratorMode, str] = {
    "training": "Translated in training mode, as pix2pix is published and test.py has it: batch norm by the statistics "
    "of the image at hand, dropout (where there is any) on.",
    "evaluation": "Translated as test.py --eval does: batch norm by its statistics of training, dropout off; without "
    "--eval that script stays in training mode.",
}


@dataclass(frozen=True)
class Imported:
    """The new model folder, and notes about recognised networks and choices."""

    folder: Path
    info: ModelInfo
    notes: tuple[str, ...]


def import_official(
    path: Path, out: Path, network: str | None = None, *, domain_names: Mapping[str, str] | None = None
) -> Imported:
    """Convert a file of the official code, or the newest generators of a folder, to the model folder `out`.

    G_A and G_B of one epoch are imported together, whichever is named, as are both directions in one file.

    network: name of a generator in a file with several.
    domain_names: by A and B, instead of those that the names of files suggest.

    Raises ModelError with the file and the first mismatch, OutputError if `out` exists, StorageError.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{shown(out)} exists already; give another --out, or remove it first.")
    info, generators, notes = read_official(path, network)
    info = replace(info, domains=domain_names or info.domains)
    rewrite("Writing the model")
    write_model(out, info, generators)
    return Imported(out, info, notes)


def read_official(path: Path, network: str | None = None) -> tuple[ModelInfo, dict[str, nn.Module], tuple[str, ...]]:
    """Return the description, the generators by direction and the notes that `import_official` makes a model of.

    Raises ModelError with the file and the first mismatch.
    """
    files = find_files(path)
    options = read_options(next(iter(files.values())).parent)
    notes = [_about_options(options)]
    networks: dict[str, Network] = {}
    generators: dict[str, nn.Module] = {}
    named = _domains(files, options)
    for name, file in files.items():
        rewrite(f"Reading {file.name}")
        loaded = load(file)
        found, left_out = parts(loaded)
        those, choice = chosen(loaded.name, found, network)
        if len(files) + len(those) > 3:
            raise ModelError(f"{loaded.name} holds both directions, and so does its name; give another name to it.")
        named = domains(those) or named
        for inside, part in those.items():
            direction = direction_of("G_B" if inside == "BtoA" and name == "G" else name, options)
            networks[direction], generators[direction], said = _read_generator(loaded, part, options)
            where = f"{part.name} in {shown(file.name)}" if part.name else shown(file.name)
            notes += [f"{shown(where)} is {direction}: {describe(networks[direction])}.", *said]
        notes += choice + left_out
    _check_pair(networks, path)
    method, mode = _method(networks, options)
    if any(net.config.norm == "batch" or net.config.dropout for net in networks.values()):
        notes.append(_MODES[mode])
    directions = {
        name: DirectionInfo(generator=net.config, in_channels=net.in_channels, out_channels=net.out_channels, mode=mode)
        for name, net in sorted(networks.items())
    }
    training = TrainingInfo(
        step=None,
        seed=None,
        load_size=options.number("load_size"),
        crop_size=options.number("crop_size"),
        objective=method,
    )
    info = ModelInfo(directions=directions, domains=named, training=training, scale=_scale(options))
    return info, generators, tuple(notes)


def find_files(path: Path) -> dict[str, Path]:
    """Return the generator files at `path` by official name, {"G": ...} or {"G_A": ..., "G_B": ...}.

    In a folder the epoch "latest" is used, otherwise the highest. Raises ModelError if there are none.
    """
    if path.is_dir():
        return _newest(path)
    if not path.exists():
        raise ModelError(f"There is no file or folder {shown(path)}; check the name.")
    named = _named(path)
    if not named or named[2] == "G":
        return {"G": path}
    return _of_epoch(path.parent, named[:2])


def _named(file: Path) -> tuple[int, str, str] | None:
    """Return the program of a file name, its epoch and network ("G", "G_A" or "G_B"); None for other names."""
    for style, pattern in enumerate(_NAMED):
        if match := pattern.fullmatch(file.name):
            return style, match["epoch"], _SAME.get(match["network"], match["network"])
    return None


def _newest(folder: Path) -> dict[str, Path]:
    epochs = {named[:2] for file in folder.iterdir() if (named := _named(file))}
    if epochs:
        return _of_epoch(folder, max(epochs, key=_rank))
    others = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    if len(others) == 1:
        return {"G": others[0]}
    if not others and (words := other_folder(folder)):
        raise ModelError(f"{shown(folder)} {words.format(path=shown(folder))}.")
    held = ", ".join(shown(file.name) for file in others[:6]) or "no .pth file"
    raise ModelError(
        f"{shown(folder)} holds no latest_net_G_A.pth, latest_net_G.pth or the like ({held}); give the file itself, or "
        "the folder checkpoints/NAME of the official code."
    )


def _rank(named: tuple[int, str]) -> tuple[int, bool, bool, int]:
    """Return the sort key of epochs: official code last; per program iterations, epochs by number, then latest."""
    style, epoch = named
    digits = epoch.removeprefix("iter_")
    return -style, epoch == "latest", not epoch.startswith("iter_"), int(digits) if digits.isdecimal() else 0


def _of_epoch(folder: Path, wanted: tuple[int, str]) -> dict[str, Path]:
    by_name = {named: file for file in folder.iterdir() if (named := _named(file)) and file.is_file()}
    found = {name: by_name[*wanted, name] for name in ("G_A", "G_B", "G") if (*wanted, name) in by_name}
    if "G" in found and len(found) > 1:
        raise ModelError(f"{shown(folder)} holds {wanted[1]}_net_G.pth beside G_A or G_B; give the file that you mean.")
    return found


def _read_generator(loaded: Loaded, part: Part, options: Options) -> tuple[Network, nn.Module, list[str]]:
    """Return the generator of a part of a file: its description, the module with weights, and notes."""
    state, notes = modernised(loaded.plain(part.tensors))
    name = f"{loaded.name} ({shown(part.name)[:60]})" if part.name else loaded.name
    found = recognise(state, name)
    if isinstance(found.config, (PatchGAN, PixelGAN)):
        raise ModelError(
            f"{name} is a discriminator ({found.config.kind}, {found.in_channels} channels), for training "
            "alone; give the generator, latest_net_G_A.pth or latest_net_G.pth."
        )
    said = options.values.get("netG", "")
    if said and said != official_name(found.config):
        notes.append(f"{options.file} has netG {said}; the network of the weights is used.")
    if isinstance(found.config, UNetGenerator):
        # Dropout has no tensors; pix2pix uses it unless --no_dropout was given.
        without = options.flag("no_dropout")
        found = replace(found, config=replace(found.config, dropout=not without))
        why = f"from {options.file}" if without is not None else "the default of pix2pix; no_dropout is not recorded"
        notes.append(f"Dropout was {'off' if without else 'on'} in training ({why}).")
    with torch.device("meta"):
        generator: nn.Module = found.config.build(found.in_channels, found.out_channels)
    generator.load_state_dict(from_official(found.config, state, found.layout), assign=True)
    return found, generator, notes


def official_name(config: ResNetGenerator | UNetGenerator) -> str:
    """Return the --netG name of a generator, e.g. "resnet_9blocks"; the official code supports 6, 9, 128 and 256."""
    return f"resnet_{config.num_blocks}blocks" if isinstance(config, ResNetGenerator) else f"unet_{config.multiple}"


def direction_of(name: str, options: Options) -> str:
    """Return the direction of the official generator "G", "G_A" or "G_B" with these options."""
    forward = options.choice("direction", "AtoB", "BtoA") or "AtoB"
    return _BACK[forward] if name == "G_B" else forward


def _check_pair(networks: Mapping[str, Network], path: Path) -> None:
    channels = {name: (found.in_channels, found.out_channels) for name, found in networks.items()}
    if len(channels) == 2 and channels["AtoB"] != channels["BtoA"][::-1]:
        raise ModelError(
            f"{shown(path)} holds generators that do not belong together: {channels['AtoB']} and {channels['BtoA']} "
            "channels in and out; give one of the files in a folder of its own."
        )


def _scale(options: Options) -> ScaleInfo | None:
    """Return how training resized its images, None if the options of training are not there or incomplete."""
    preprocess = options.values.get("preprocess")
    load, crop = options.number("load_size"), options.number("crop_size")
    known = preprocess in get_args(Preprocess) and load is not None and crop is not None
    if not known or options.file.startswith("test") or max(load or 0, crop or 0) > MAX_SIDE:
        return None
    data = {"preprocess": preprocess, "load_size": load, "crop_size": crop}
    scale: ScaleInfo = from_dict(ScaleInfo, data, options.file)
    return scale


def _about_options(options: Options) -> str:
    if not options.file:
        return f"No {FILES[0]} beside it: the direction of a single generator is taken to be AtoB."
    return f"{options.file} beside it was read: direction {direction_of('G', options)}."


def _domains(files: Mapping[str, Path], options: Options) -> dict[str, str]:
    """Return the domains' names, from the name of the data or the weights if it is like horse2zebra."""
    file = next(iter(files.values()))
    weights = file.stem if not _named(file) else file.absolute().parent.name
    for name in (re.split(r"[/\\]", options.values.get("dataroot", "").rstrip("/\\"))[-1], weights):
        if match := re.fullmatch(r"([A-Za-z]+)2([A-Za-z]+)(?:_.*)?", name):
            return {"A": match[1], "B": match[2]}
    return {"A": "A", "B": "B"}


def _method(networks: Mapping[str, Network], options: Options) -> tuple[str, GeneratorMode]:
    """Return the training method, from the options or else from the files, and the mode of its generators.

    pix2pix stays in training mode, as published and as in test.py.
    """
    method = {"cycle_gan": "cyclegan", "pix2pix": "pix2pix", "cut": "cut"}.get(options.values.get("model", ""))
    configs = [found.config for found in networks.values()]
    if method is None and len(configs) == 2:
        method = "cyclegan"
    elif method is None and isinstance(configs[0], UNetGenerator) and configs[0].norm == "batch":
        method = "pix2pix"
    return method or "an unrecorded method", "training" if method == "pix2pix" else "evaluation"
