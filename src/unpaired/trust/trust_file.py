"""trust.safetensors of a model folder: features and symptoms of training images, and the networks for trust scores.

    typical.A.features      n d, of n training images of A
    symptoms.AtoB.cycle     n numbers, the symptoms of the same images; so for each component and direction
    judge.B.*               the discriminator of B
    trained.AtoB.*          the generator with the raw weights, if EMA weights are published

model.json records the name of the file, its SHA-256, the side of the training images, the settings of the
discriminators and the method of the distances.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from unpaired.config import from_dict, require, to_dict
from unpaired.errors import ConfigError, MissingPartError, ModelError, UnknownKindError
from unpaired.models.model_folder import (
    MAX_WEIGHTS,
    ModelInfo,
    TrustFile,
    find_model,
    missing_part,
    read_description,
    requirements,
)
from unpaired.models.rebuilding import Build, shapes, with_weights
from unpaired.networks import DISCRIMINATORS, GENERATORS, DiscriminatorConfig
from unpaired.networks.layers import MAX_CHANNELS, require_count
from unpaired.networks.random_convolutions import num_features
from unpaired.registry import LOADER
from unpaired.storage import shown, utf8_path
from unpaired.tensor_files import serialised
from unpaired.trust.ood import LEAST, OODScore, large_enough
from unpaired.trust.score import COMPONENTS, Reference

_NAME = "trust.safetensors"
_LEFT_OUT = "left out"  # leave-one-out distances
_MOST = 4096  # the most training images, and the largest side
_KNOWN = re.compile(
    rf"typical\.[AB]\.features|symptoms\.(AtoB|BtoA)\.({'|'.join(COMPONENTS)})|(judge\.[AB]|trained\.(AtoB|BtoA))\..+"
)


@dataclass(frozen=True, kw_only=True)
class JudgeInfo:
    """A discriminator: its configuration and input channels (of an image, or of input and output together)."""

    discriminator: DiscriminatorConfig
    in_channels: int


def pack(reference: Reference, judges: Mapping[str, JudgeInfo]) -> TrustFile:
    """Return the file and its entry in model.json; `judges` describes the discriminators of the reference."""
    tensors = {f"typical.{domain}.features": typical.features for domain, typical in reference.typical.items()}
    for direction, symptoms in reference.symptoms.items():
        tensors |= {f"symptoms.{direction}.{name}": values.float() for name, values in symptoms.items()}
    for kind, networks in (("judge", reference.judges), ("trained", reference.raw)):
        for name, network in networks.items():
            tensors |= {f"{kind}.{name}.{key}": value.detach() for key, value in network.state_dict().items()}
    data = serialised(tensors)
    sizes = {typical.size for typical in reference.typical.values()}
    entry = {
        "weights": _NAME,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": sizes.pop() if sizes else 0,
        "distances": _LEFT_OUT,
        "judges": {
            name: {"discriminator": to_dict(judge.discriminator), "in_channels": judge.in_channels}
            for name, judge in judges.items()
        },
        **requirements(DISCRIMINATORS, (judge.discriminator.kind for judge in judges.values())),
    }
    return TrustFile(_NAME, data, entry)


def read_reference(path: str | os.PathLike[str], info: ModelInfo) -> Reference:
    """Read the reference of trust scores from a model or run folder; `info` is its description in model.json.

    Raises ModelError if there is none, or if it is damaged or does not fit.
    """
    folder = find_model(Path(path))
    entry = read_description(folder).get("trust")
    if entry is None:
        raise ModelError(
            f"{shown(folder)} has no reference for trust scores; run "
            f"the `unpaired train` command of its run again (it needs {LEAST} images a domain)."
        )
    file = folder / _NAME
    try:
        tensors = _tensors(file, str(entry["sha256"]))
        size = int(entry["size"])
        judges = {
            name: from_dict(JudgeInfo, judge, f"trust.judges.{name}")
            for name, judge in entry["judges"].items()
            if name in ("A", "B")
        }
        return _built(tensors, info, size, judges, known_distances=_known_distances(entry))
    except OSError as error:
        raise ModelError(f"Cannot read {shown(file)}: {error.strerror or error}; copy it again.") from None
    except UnknownKindError as error:
        raise MissingPartError(f"{shown(folder)}: {missing_part(error, entry)}", setting=LOADER) from None
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        reason = shown(" ".join(str(error).split())[:400]).rstrip(".")
        raise ModelError(f"{shown(file)} does not fit model.json ({reason}); copy it again.") from None
    except safetensors.SafetensorError as error:
        raise ModelError(f"{shown(file)} cannot be loaded ({shown(error)[:400]}); copy it again.") from None


def _tensors(file: Path, sha256: str) -> dict[str, Tensor]:
    if not file.is_file():
        raise ModelError(f"{shown(file)} is missing; copy the model folder again.")
    if file.stat().st_size > 8 * MAX_WEIGHTS:
        raise ModelError(f"{shown(file)} is larger than any model needs; copy it again.")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != sha256:
        raise ModelError(f"{shown(file)} is damaged: its SHA-256 is not the one in model.json; copy it again.")
    with utf8_path(file) as named, safetensors.safe_open(named, framework="pt") as header:
        unknown = [key for key in header.keys() if not _KNOWN.fullmatch(key)]  # noqa: SIM118 - not a mapping
    if unknown:
        raise ValueError(f"{unknown[0][:80]} is unknown")
    with utf8_path(file) as named:
        tensors = safetensors.torch.load_file(named)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinite numbers")
    return tensors


def _known_distances(entry: Mapping[str, Any]) -> bool:
    """Return whether the file has leave-one-out distances; files of earlier versions have no such entry."""
    if "distances" not in entry:
        return False
    require(entry["distances"] == _LEFT_OUT, f"the distances {entry['distances']!r} are unknown")
    return True


def _built(
    tensors: dict[str, Tensor],
    info: ModelInfo,
    size: int,
    judges: Mapping[str, JudgeInfo],
    known_distances: bool,
) -> Reference:
    """Build the reference from its tensors. Raises ValueError, RuntimeError or ConfigError if they do not match.

    known_distances: whether to use the distances in the file; older files were measured differently.
    """
    typical, symptoms, judging, trained = {}, {}, {}, {}
    for direction, described in info.directions.items():
        source, target = direction[0], direction[-1]
        known = {
            name: tensors[key].double() for name in COMPONENTS if (key := f"symptoms.{direction}.{name}") in tensors
        }
        if not known:
            continue
        lengths = {tuple(values.shape) for values in known.values()}
        if len(lengths) != 1 or len(shape := lengths.pop()) != 1 or not LEAST <= shape[0] <= _MOST:
            raise ValueError(f"the symptoms of {direction} are not those of {LEAST} to {_MOST} images")
        symptoms[direction] = known
        if "typicality" in known:
            features = tensors[f"typical.{source}.features"].float()
            if not large_enough(size) or size > _MOST or features.shape != (shape[0], num_features(size)):
                raise ValueError(f"the features of {source} are not those of {shape[0]} images of {size} pixels")
            typical[source] = OODScore(features, size, described.in_channels)
            if not known_distances:
                known["typicality"] = typical[source].among_themselves().double()
        if target in judges:
            judge = judges[target]
            require_count(f"trust.judges.{target}.in_channels", judge.in_channels, 2 * MAX_CHANNELS)
            build = partial(judge.discriminator.build, judge.in_channels)
            built_in = DISCRIMINATORS.origin(judge.discriminator.kind) is None
            judging[target] = _network(tensors, f"judge.{target}.", build, built_in=built_in)
        if any(key.startswith(f"trained.{direction}.") for key in tensors):
            rebuild = partial(described.generator.build, described.in_channels, described.out_channels)
            built_in = GENERATORS.origin(described.generator.kind) is None
            network = _network(tensors, f"trained.{direction}.", rebuild, built_in=built_in)
            trained[direction] = network.train(described.mode == "training")
    return Reference(typical, symptoms, judging, trained)


def _network(tensors: Mapping[str, Tensor], prefix: str, build: Build, *, built_in: bool) -> nn.Module:
    """Build a network and give it its weights."""
    network = shapes(build, built_in=built_in)
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    for key, value in network.state_dict().items():
        if key in own and own[key].dtype != value.dtype:
            raise ValueError(f"{prefix}{key} is of type {own[key].dtype}")
    return with_weights(network, own, build, built_in=built_in).requires_grad_(False).eval()
