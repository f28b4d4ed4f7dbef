"""The model folder: the published model of a run, readable and verifiable without training code.

    model.json          architecture, training information, and SHA-256 of the weights
    AtoB.safetensors    the generator's weights of one direction; BtoA.safetensors if there is a second one
    README.md           the model card
    trust.safetensors   optional: reference statistics for `translate --scores` (`trust_file`)

A folder is replaced atomically: the old one stays on disk until the new one is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from unpaired.config import from_dict, require, to_dict
from unpaired.errors import ConfigError, MissingPartError, ModelError, UnknownKindError, UnpairedError
from unpaired.images import Color
from unpaired.models import bounds as checked
from unpaired.models.card import model_card
from unpaired.models.description import DIRECTIONS as DIRECTIONS
from unpaired.models.description import SCHEMA as SCHEMA
from unpaired.models.description import TrainingInfo as TrainingInfo
from unpaired.models.description import beside as _beside
from unpaired.models.description import find_model as find_model
from unpaired.models.description import read_json as _read_json
from unpaired.models.domain_values import DomainValues, values_from_json, values_to_json
from unpaired.models.rebuilding import Build, shapes, with_weights
from unpaired.models.scale_info import ScaleInfo
from unpaired.models.selection_info import ChoiceInfo, SheetInfo
from unpaired.models.start_info import StartInfo
from unpaired.networks import GENERATORS, GeneratorConfig
from unpaired.networks.layers import MAX_CHANNELS, require_count
from unpaired.registry import LOADER, Registry, not_installed, origin_from_json
from unpaired.storage import shown, storage_error, sync_folder, utf8_path, writable, write_bytes
from unpaired.tensor_files import serialised
from unpaired.version import __version__

MAX_WEIGHTS = 2**29
"""Maximum number of weights of a generator, 2 GiB: ten times the largest published one."""

_FLOATS = ("F32", "F16", "BF16", "F64")
_OTHERS = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.uint8: "U8", torch.bool: "BOOL"}
_MAX_REASON = 400  # characters of an untrusted file in a message
_MAX_HEADER = 2**22  # bytes of a safetensors header

GeneratorMode = Literal["evaluation", "training"]


@dataclass(frozen=True, kw_only=True)
class DirectionInfo:
    """One generator: its configuration, input and output channels, and mode.

    mode: "training" for pix2pix as published, whose dropout is its noise and whose batch norm uses the statistics of
        the input image; "evaluation" otherwise.
    """

    generator: GeneratorConfig
    in_channels: int = 3
    out_channels: int = 3
    mode: GeneratorMode = "evaluation"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The content of model.json.

    directions: by name, "AtoB" and optionally "BtoA".
    domains: names of the domains, as {"A": "summer", ...}.
    background: background colour for transparent images.
    values: value ranges and data types of A and B.
    icc: whether ICC profiles were ignored, or colours converted to sRGB.
    classes: the classes of a class-conditional model, in the order of its one-hot channels.
    choice: checkpoint selection, None without validation images.
    sheets: of training on A and B side by side.
    scale: how training resized its images, None if it is not recorded.
    masked: whether training used masks, so that pixels outside of one are translated arbitrarily.
    start: the weights that training started from, None for new ones.
    version: version of the package.
    """

    directions: Mapping[str, DirectionInfo]
    domains: Mapping[str, str]
    training: TrainingInfo
    background: Color = (255, 255, 255)
    values: Mapping[str, DomainValues] = field(default_factory=lambda: {"A": DomainValues(), "B": DomainValues()})
    icc: Literal["ignore", "convert"] = "ignore"
    classes: tuple[str, ...] = ()
    choice: ChoiceInfo | None = None
    sheets: SheetInfo | None = None
    scale: ScaleInfo | None = None
    masked: bool = False
    start: StartInfo | None = None
    version: str = __version__


@dataclass(frozen=True)
class TrustFile:
    """A file beside the weights, and its entry "trust" in model.json."""

    name: str
    data: bytes
    entry: Mapping[str, Any]


def write_model(
    folder: Path,
    info: ModelInfo,
    generators: Mapping[str, nn.Module | Mapping[str, Tensor]],
    *,
    trust: TrustFile | None = None,
) -> None:
    """Write a model folder atomically, replacing an existing one.

    generators: networks, or their weights by name, of the directions of `info`.

    The content is written and synced in a temporary folder, which two renames put in place. After a crash between the
    two, the old folder has a name that `read_model` finds. Raises OutputError or StorageError.
    """
    assert set(generators) == set(info.directions)
    fresh, old = _beside(folder, "new"), _beside(folder, "old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        digests = {name: _write_weights(fresh / f"{name}.safetensors", generators[name]) for name in generators}
        write_bytes(fresh / "README.md", model_card(_to_json(info, digests)).encode(), sync=True)
        described = _to_json(info, digests)
        if trust is not None:
            write_bytes(fresh / trust.name, trust.data, sync=True)
            described["trust"] = dict(trust.entry)
        text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
        write_bytes(fresh / "model.json", text.encode(), sync=True)
        sync_folder(fresh)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        fresh.rename(folder)
        sync_folder(folder.parent)
    except (OSError, UnpairedError) as error:
        if old.exists() and not folder.exists():
            with contextlib.suppress(OSError):
                old.rename(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise (storage_error(error, folder) if isinstance(error, OSError) else error) from None
    shutil.rmtree(old, ignore_errors=True)


def sweep_model(folder: Path) -> None:
    """Remove temporary folders of a killed `write_model`, except for the only complete one."""
    shutil.rmtree(_beside(folder, "new"), ignore_errors=True)
    if (folder / "model.json").is_file():
        shutil.rmtree(_beside(folder, "old"), ignore_errors=True)


def read_model(path: str | os.PathLike[str]) -> tuple[ModelInfo, dict[str, nn.Module]]:
    """Read a model folder, or that of a run folder: its info and its generators, on the CPU, in their mode.

    Names and shapes are compared with networks on the meta device before weights are loaded, and the files with their
    SHA-256. Raises ModelError with the first mismatch, and MissingPartError if a generator is not installed.
    """
    folder = find_model(Path(path))
    data = _read_json(folder / "model.json")
    info = _from_json(data, folder)
    files = {name: _weights_of(data, folder, name) for name in info.directions}
    with ThreadPoolExecutor(max(len(files), 1)) as pool:  # hashing dominates, and releases the GIL
        loading = {
            name: pool.submit(_load_weights, file, info.directions[name], sha) for name, (file, sha) in files.items()
        }
        networks = {name: loaded.result() for name, loaded in loading.items()}
    return info, networks


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """Read the model.json of a model folder, or of that of a run folder, and no weights. Raises ModelError."""
    folder = find_model(Path(path))
    return _from_json(_read_json(folder / "model.json"), folder)


def read_network(path: str | os.PathLike[str], direction: str) -> tuple[DirectionInfo, nn.Module]:
    """Read one direction of a model folder as `read_model` reads all of them, with its description.

    Raises ModelError, also for a direction that the model does not have.
    """
    folder = find_model(Path(path))
    data = _read_json(folder / "model.json")
    info = _from_json(data, folder)
    if direction not in info.directions:
        raise ModelError(f"{shown(folder)} has no direction {direction}, only {', '.join(info.directions)}.")
    file, sha256 = _weights_of(data, folder, direction)
    return info.directions[direction], _load_weights(file, info.directions[direction], sha256)


def _weights_of(data: dict[str, Any], folder: Path, direction: str) -> tuple[Path, str]:
    """Return the file of a direction's weights and its SHA-256. Raises ModelError for a file of another name."""
    entry, file = data["directions"][direction], folder / f"{direction}.safetensors"
    if entry.get("weights") != file.name:
        raise ModelError(f"{shown(folder)}: the weights of {direction} must be named {file.name}; publish it again.")
    return file, str(entry.get("sha256"))


def description_sha256(folder: Path) -> str:
    """Return a SHA-256 of the content of model.json, which has those of all weights. Raises ModelError."""
    return hashlib.sha256(json.dumps(_read_json(folder / "model.json"), sort_keys=True).encode()).hexdigest()


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of model.json of a model folder. Raises ModelError."""
    return _read_json(folder / "model.json")


def _write_weights(path: Path, network: nn.Module | Mapping[str, Tensor]) -> str:
    data = serialised(network.state_dict() if isinstance(network, nn.Module) else network)
    write_bytes(path, data, sync=True)
    return hashlib.sha256(data).hexdigest()


def _to_json(info: ModelInfo, digests: Mapping[str, str]) -> dict[str, Any]:
    directions = {
        name: {
            "generator": to_dict(direction.generator),
            "in_channels": direction.in_channels,
            "out_channels": direction.out_channels,
            "mode": direction.mode,
            "weights": f"{name}.safetensors",
            "sha256": digests[name],
        }
        for name, direction in info.directions.items()
    }
    return {
        "schema": SCHEMA,
        "package": f"unpaired {info.version}",
        "directions": directions,
        "domains": {key: writable(name) for key, name in info.domains.items()},
        "training": to_dict(info.training),
        "value_range": {name: values_to_json(own) for name, own in info.values.items()},
        "icc": info.icc,
        "background": list(info.background),
        **({"classes": [writable(name) for name in info.classes]} if info.classes else {}),
        **({"choice": to_dict(info.choice)} if info.choice else {}),
        **({"side_by_side": to_dict(info.sheets)} if info.sheets else {}),
        **({"scale": to_dict(info.scale)} if info.scale else {}),
        **({"masked": True} if info.masked else {}),
        **({"started_from": to_dict(info.start)} if info.start else {}),
        **_requirements(info),
    }


def _requirements(info: ModelInfo) -> dict[str, Any]:
    """Return the entry of model.json about generators that are not built in and must be installed to load it."""
    return requirements(GENERATORS, (direction.generator.kind for direction in info.directions.values()))


def requirements(registry: Registry[Any], kinds: Iterable[str]) -> dict[str, Any]:
    """Return {"requires": {"generator wide": origin}} for kinds that are not built in, {} if all are."""
    found = {name: origin.to_json() for name, origin in registry.origins(kinds).items()}
    return {"requires": found} if found else {}


def missing_part(error: UnknownKindError, data: Mapping[str, Any]) -> str:
    """Return the message for a part that is not installed; data: a JSON object with the origins under "requires"."""
    required = data.get("requires")
    entry = required.get(f"{error.noun} {error.kind}") if isinstance(required, dict) else None
    return not_installed(error.noun, error.kind, origin_from_json(entry))


def _from_json(data: dict[str, Any], folder: Path) -> ModelInfo:
    """Build the info from model.json; any invalid value raises ModelError."""
    try:
        directions = {}
        for name, entry in data["directions"].items():
            require(name in DIRECTIONS, f"the direction {name!r} is unknown")
            known = {key: entry[key] for key in ("generator", "in_channels", "out_channels", "mode")}
            for key in ("in_channels", "out_channels"):
                require_count(f"directions.{name}.{key}", known[key], MAX_CHANNELS)
            directions[name] = from_dict(DirectionInfo, known, f"directions.{name}")
        return ModelInfo(
            directions=directions,
            domains={key: checked.text(data["domains"][key], f"domains.{key}") for key in ("A", "B")},
            training=checked.sides(from_dict(TrainingInfo, data["training"], "training")),
            background=checked.colour(data["background"]),
            values=values_from_json(data["value_range"]),
            icc=checked.icc(data.get("icc", "ignore")),
            classes=checked.texts(data.get("classes", []), "classes"),
            choice=from_dict(ChoiceInfo, data["choice"], "choice") if "choice" in data else None,
            sheets=from_dict(SheetInfo, data["side_by_side"], "side_by_side") if "side_by_side" in data else None,
            scale=from_dict(ScaleInfo, data["scale"], "scale") if "scale" in data else None,
            masked=data.get("masked") is True,
            start=from_dict(StartInfo, data["started_from"], "started_from") if "started_from" in data else None,
            version=checked.text(data["package"], "package").removeprefix("unpaired "),
        )
    except UnknownKindError as error:
        raise MissingPartError(f"{shown(folder)}: {missing_part(error, data)}", setting=LOADER) from None
    except ConfigError as error:
        reason = str(error).rstrip(".")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"an entry is missing or invalid ({error})"
    reason = shown(reason) if len(reason) <= _MAX_REASON else f"{shown(reason[:_MAX_REASON])}..."
    raise ModelError(f"{shown(folder / 'model.json')} does not describe a model: {reason}; publish it again.")


def _load_weights(path: Path, info: DirectionInfo, sha256: str) -> nn.Module:
    name = shown(path)
    if path.exists() and not path.is_file():
        raise ModelError(f"{name} is not a regular file but a folder, a pipe or a device; copy the model folder again.")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise ModelError(f"{name} is damaged: its SHA-256 differs from model.json; copy it again.")
        build = partial(info.generator.build, info.in_channels, info.out_channels)
        built_in = GENERATORS.origin(info.generator.kind) is None
        network = _without_memory(path, build, built_in=built_in)
        _check_fit(path, network)
        with utf8_path(path) as named:
            tensors = safetensors.torch.load_file(named)
    except OSError as error:
        raise ModelError(f"Cannot read {name}: {error.strerror or error}; copy it again.") from None
    except (safetensors.SafetensorError, RuntimeError) as error:  # the latter if the disk fails while it is opened
        raise ModelError(f"{name} cannot be loaded ({' '.join(str(error).split())}); copy it again.") from None
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ModelError(f"{name} contains NaN or infinite weights in {broken[0]}; use an earlier checkpoint.")
    network = with_weights(network, tensors, build, built_in=built_in)
    return network.float().requires_grad_(False).train(info.mode == "training")


def _without_memory(path: Path, build: Build, *, built_in: bool) -> nn.Module:
    """Build the network on the meta device, so that an oversized description allocates nothing. Raises ModelError."""
    try:
        network = shapes(build, built_in=built_in)
    except Exception as error:
        if built_in and not isinstance(error, (RuntimeError, ValueError, OverflowError)):
            raise  # a mistake of this package
        reason = " ".join(str(error).split())
        raise ModelError(
            f"The network in model.json for {shown(path)} cannot be built ({reason}); publish it again."
        ) from None
    count = sum(tensor.numel() for tensor in network.state_dict().values())
    if count > MAX_WEIGHTS:
        raise ModelError(
            f"The network in model.json for {shown(path)} has {count:,} weights, more than the limit of "
            f"{MAX_WEIGHTS:,}; publish it again."
        )
    return network


def _check_fit(path: Path, network: nn.Module) -> None:
    """Compare the file's header with the network, without loading weights. Raises ModelError."""
    wanted = {key: list(value.shape) for key, value in network.state_dict().items()}
    with path.open("rb") as head:
        length = int.from_bytes(head.read(8), "little")
    if length > _MAX_HEADER:
        raise ModelError(
            f"{shown(path)} has a header of {length:,} bytes, more than the limit of {_MAX_HEADER:,}; copy it again."
        )
    with utf8_path(path) as named, safetensors.safe_open(named, framework="pt") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        found = {key: piece.get_shape() for key, piece in slices.items()}
        types = {key: piece.get_dtype() for key, piece in slices.items()}
    problems = [f"{key} is missing" for key in wanted if key not in found]
    problems += [f"{shown(key)[:80]} is unknown" for key in found if key not in wanted]
    problems += [
        f"{key} is of type {types[key]}"
        for key, value in network.state_dict().items()
        if key in types and types[key] not in (_FLOATS if value.is_floating_point() else (_OTHERS.get(value.dtype),))
    ]
    problems += [
        f"{key} is {found[key]} instead of {shape}"
        for key, shape in wanted.items()
        if key in found and found[key] != shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        first = ", ".join(problems[:3])
        raise ModelError(f"{shown(path)} does not fit model.json: {first}{more}; publish the model again.")
