"""`unpaired export`: writes a model, or a run with its discriminators, as files for the official test script.

Generators with antialias become files for CUT's code, which has another script and other options.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import from_dict, load_yaml
from unpaired.errors import CheckpointError, ConfigError, ModelError
from unpaired.interop.exporter_protocol import ExportResult
from unpaired.interop.new_files import write_new
from unpaired.interop.official.importing import official_name
from unpaired.interop.official.options import options_text
from unpaired.interop.official.weight_names import to_official
from unpaired.models.model_folder import DirectionInfo, ModelInfo, read_model
from unpaired.networks import DCGANGenerator, DiscriminatorConfig, ResNetGenerator, UNetGenerator
from unpaired.networks.protocols import translates_by_search
from unpaired.storage import shown

_KNOWN = ("resnet_9blocks", "resnet_6blocks", "unet_128", "unet_256")
_ANY = "use format torch-export, which takes any generator that torch can trace"
_GENERATORS = {"AtoB": "G_A", "BtoA": "G_B"}
_DISCRIMINATORS = {"B": "D_A", "A": "D_B"}
"""The official code names a discriminator after the generator it trains: D_A scores images of B."""


@dataclass(frozen=True)
class Exported:
    """The written files, the official command that uses them, and notes about omitted networks."""

    files: tuple[Path, ...]
    command: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class OfficialExporter:
    """Files that the official CycleGAN and pix2pix code loads."""

    kind: ClassVar[str] = "official"
    label: ClassVar[str] = "the .pth files that the official CycleGAN and pix2pix code loads"

    def export(self, model: Path, out: Path) -> ExportResult:
        """Write the files as `export_official` does."""
        made = export_official(model, out)
        return ExportResult(made.files, (*made.notes, f"Test with the official code: {made.command}"))


def export_official(path: Path, out: Path) -> Exported:
    """Write the generators of a run or model folder, and a run's newest discriminators, as official files into `out`.

    Two generators become latest_net_G_A.pth and latest_net_G_B.pth, a single one latest_net_G.pth; train_opt.txt
    contains their options. Raises ModelError if the official code has no such network, OutputError if a file exists,
    StorageError.
    """
    info, networks = read_model(path)
    pair = len(networks) == 2
    for entry in info.directions.values():
        _check_known(entry, path)
    states = {
        _GENERATORS[name] if pair else "G": to_official(info.directions[name].generator, network.state_dict())
        for name, network in networks.items()
    }
    options, notes = _options(info, out), []
    for domain, (config, state) in _discriminators(path).items():
        try:
            states[_DISCRIMINATORS[domain] if pair else "D"] = to_official(config, state)
            options |= _judge_options(config)
        except ModelError as error:  # not needed for a test
            notes.append(f"The discriminator of domain {domain} was left out: {error}")
    if any(getattr(entry.generator, "antialias", False) for entry in info.directions.values()) and len(states) > len(
        networks
    ):
        notes.append("CUT's code blurs in its discriminators too, so it can test with these files, and not train on.")
    contents = {f"latest_net_{name}.pth": _saved(state) for name, state in states.items()}
    contents["train_opt.txt"] = options_text(options).encode(errors="backslashreplace")
    return Exported(write_new(out, contents), _command(info, options, out), tuple(notes))


def _check_known(entry: DirectionInfo, path: Path) -> None:
    """Raise ModelError unless the options of the official code support the generator."""
    config = entry.generator
    if translates_by_search(config):
        raise ModelError(
            f"The generator {config.kind} of {shown(path)} translates by an optimisation for each image, which other "
            "programs do not run; use `unpaired translate`."
        )
    if isinstance(config, DCGANGenerator):
        raise ModelError(
            f"The model {shown(path)} draws images from noise, which no format of other programs holds; use `unpaired "
            "sample`."
        )
    if not isinstance(config, (ResNetGenerator, UNetGenerator)):
        raise ModelError(
            f"The official code has no generator like the {config.kind} of {shown(path)}; {_ANY}.", setting="format"
        )
    if config.upsampling != "transposed":
        raise ModelError(
            f"The official code has no {config.kind} with upsampling {config.upsampling}, as {shown(path)} is; {_ANY}.",
            setting="format",
        )
    if own := _own_setting(config):
        raise ModelError(
            f"The official code has no network with generator.{own}, as {shown(path)} is; {_ANY}.", setting="format"
        )
    if official_name(config) not in _KNOWN:
        raise ModelError(
            f"The official code has no {official_name(config)}, as {shown(path)} is, but {', '.join(_KNOWN)}; {_ANY}.",
            setting="format",
        )
    if isinstance(config, ResNetGenerator) and config.num_downs != 2:
        raise ModelError(
            f"The official ResNet generator halves its images twice (num_downs 2), that of {shown(path)} "
            f"{'once, as in the recipes demo and fast' if config.num_downs == 1 else f'{config.num_downs} times'}; "
            f"{_ANY}.",
            setting="format",
        )


def _own_setting(config: ResNetGenerator | UNetGenerator) -> str:
    """Return a setting that makes another network of a generator than the official code has, else ""."""
    if isinstance(config, UNetGenerator):
        return "num_skips" if config.outermost_skip > 0 else ""
    return next(
        (name for name in ("num_deformable_blocks", "num_attention_blocks", "displacement") if getattr(config, name)),
        "",
    )


def _discriminators(path: Path) -> dict[str, tuple[Any, dict[str, Tensor]]]:
    """Return the discriminators of a run's newest valid checkpoint by domain, as configuration and weights.

    Empty for a model folder.
    """
    run = RunFolder(path)
    if not run.config.exists():
        return {}
    try:
        settings = load_yaml(run.config)
        config = from_dict(DiscriminatorConfig, settings["discriminator"], "discriminator")
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"{shown(run.config)} does not describe a run ({shown(error)}).") from None
    for checkpoint in list_checkpoints(run.checkpoints):
        try:
            weights = load_checkpoint(checkpoint).parts["weights"]
        except CheckpointError:
            continue  # use an older one; the run itself quarantines this one when it resumes
        found: dict[str, tuple[Any, dict[str, Tensor]]] = {}
        for key, tensor in weights.items():
            kind, _, rest = key.partition(".")
            domain, _, name = rest.partition(".")
            if kind == "discriminators" and domain in _DISCRIMINATORS:
                found.setdefault(domain, (config, {}))[1][name] = tensor
        return found
    return {}


def _options(info: ModelInfo, out: Path) -> dict[str, object]:
    """Return the official options of the generators, which the test command has to repeat."""
    pair = len(info.directions) == 2
    direction = "AtoB" if "AtoB" in info.directions else "BtoA"
    entry = info.directions[direction]
    config: Any = entry.generator
    unet = config.kind == "unet"
    options: dict[str, object] = {
        "name": out.absolute().name,
        "model": "cycle_gan" if pair else "pix2pix" if info.training.objective == "pix2pix" else "test",
        "direction": direction,
        "netG": official_name(config),
        "ngf": config.base_channels,
        "norm": config.norm,
        "no_dropout": not config.dropout,
        "input_nc": entry.in_channels,
        "output_nc": entry.out_channels,
        "preprocess": "resize_and_crop" if unet else "none",
    }
    if getattr(config, "antialias", False):
        del options["norm"]
        options |= {"normG": config.norm, "no_antialias": False, "no_antialias_up": False}
        options["model"] = "cycle_gan" if pair else "cut"
    sizes = {"load_size": info.training.load_size, "crop_size": info.training.crop_size}
    return options | {key: value for key, value in sizes.items() if value is not None}


def _judge_options(config: Any) -> dict[str, object]:
    if config.kind == "pixelgan":
        return {"netD": "pixel", "ndf": config.base_channels}
    return {"netD": "n_layers", "n_layers_D": config.num_layers, "ndf": config.base_channels}


def _command(info: ModelInfo, options: Mapping[str, object], out: Path) -> str:
    """Return the command that runs the official test script on the exported files."""
    if "no_antialias" in options:
        return _cut_command(info, options, out)
    # --model cycle_gan loads both generators, and always builds them without dropout.
    both = options["model"] == "cycle_gan" and options["no_dropout"]
    folder = out.absolute()
    words = ["python test.py", f"--dataroot {'DATA' if both else 'FOLDER_OF_IMAGES'}"]
    words += [f"--checkpoints_dir {shlex.quote(str(folder.parent))}", f"--name {shlex.quote(folder.name)}"]
    words.append(f"--model {'cycle_gan' if both else 'test'}")
    if len(info.directions) == 2 and not both:
        words.append("--model_suffix _A")
    for key in ("netG", "ngf", "norm", "input_nc", "output_nc", "preprocess"):
        words.append(f"--{key} {options[key]}")
    if options["preprocess"] != "none":  # a U-Net needs a fixed size
        words += [f"--{key} {str(options['netG']).removeprefix('unet_')}" for key in ("load_size", "crop_size")]
    if options["no_dropout"] and not both:
        words.append("--no_dropout")
    if any(entry.mode == "evaluation" for entry in info.directions.values()) and (
        options["norm"] == "batch" or not options["no_dropout"]
    ):
        words.append("--eval")
    return " ".join(words)


def _cut_command(info: ModelInfo, options: Mapping[str, object], out: Path) -> str:
    """Return the command that runs CUT's test script, which needs a folder with testA and testB."""
    folder = out.absolute()
    words = ["python test.py --dataroot DATA", f"--checkpoints_dir {shlex.quote(str(folder.parent))}"]
    words += [f"--name {shlex.quote(folder.name)} --model {options['model']}"]
    words += [f"--{key} {options[key]}" for key in ("netG", "ngf", "normG", "input_nc", "output_nc", "preprocess")]
    words += [] if options["no_dropout"] else ["--no_dropout False"]
    words += ["--direction BtoA"] if options["direction"] == "BtoA" else []
    evaluated = any(entry.mode == "evaluation" for entry in info.directions.values())
    words += ["--eval"] if evaluated and (options["normG"] == "batch" or not options["no_dropout"]) else []
    return " ".join(words)


def _saved(state: Mapping[str, Tensor]) -> bytes:
    """Serialise a state dict with torch.save, the format of the official code (docs/decisions/006)."""
    buffer = io.BytesIO()
    torch.save({key: tensor.detach().cpu().clone() for key, tensor in state.items()}, buffer)
    return buffer.getvalue()
