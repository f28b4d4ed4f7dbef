"""Reads the weights that a new run starts from: of a run, a model folder, or a file of the official code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unpaired.artifacts.checkpoint import Checkpoint, list_checkpoints, load_checkpoint
from unpaired.artifacts.part_records import read_config
from unpaired.artifacts.run_folder import RunFolder
from unpaired.errors import ConfigError
from unpaired.interop.official import read_judges, read_official
from unpaired.models.description import find_model
from unpaired.models.model_folder import ModelInfo, read_model
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.recipes import Config
from unpaired.storage import at_home, shown
from unpaired.training.inference_weights import TRANSLATORS
from unpaired.training.start_config import StartConfig, source_name
from unpaired.training.state import Parts, state_sha256

_OFFICIAL = (".pth", ".pt", ".ckpt")
_EXCHANGED = {"AtoB": "BtoA", "BtoA": "AtoB", "A": "B", "B": "A"}
_DOMAIN = re.compile(r"(?<=^translators\.)(?:AtoB|BtoA)(?=\.)|(?<=^discriminators\.)[AB](?=\.)")


@dataclass(frozen=True)
class Source:
    """Weights to start from, on the CPU.

    words: the source in words, for messages and cards.
    weights: by the names of an objective, as in "translators.AtoB.…" and "discriminators.B.…".
    generator: settings of the generators. discriminator: settings of the discriminators; None if there are none.
    sha256: of all weights of the source, taken or not.
    step: the step of the weights, None if unknown.
    kept: Adam's moments and the EMA weights, of a run whose whole state is taken.
    config: the settings of a run. model: the description of a model.
    """

    words: str
    weights: Mapping[str, Tensor]
    generator: GeneratorConfig
    sha256: str
    step: int | None = None
    discriminator: DiscriminatorConfig | None = None
    kept: Parts = field(default_factory=dict)
    config: Config | None = None
    model: ModelInfo | None = None


def read_source(start: StartConfig) -> Source:
    """Read the weights that the settings name, without executing code of the files.

    A run is read at its newest checkpoint, or at `start.step`. The SHA-256 is compared with `start.sha256`, if given.

    Raises ConfigError for settings that the source cannot meet, ModelError or CheckpointError if it cannot be read.
    """
    path = at_home(start.weights)
    if (path / "config.yaml").is_file() and list_checkpoints(path / "checkpoints"):
        source = _of_run(path, start)
    else:
        if start.step is not None or start.parts == "all":
            name = "start.step (--from-step)" if start.step is not None else "start.parts all"
            raise ConfigError(f"{name} needs a run folder with checkpoints, which {shown(path)} is not; remove it.")
        source = _of_official(path, start.parts) if _is_official(path) else _of_model(path)
    if start.sha256 and source.sha256 != start.sha256:
        raise ConfigError(
            f"The weights of {shown(path)} are others: their SHA-256 is {source.sha256}, not {shown(start.sha256)[:80]}"
            " (start.sha256); give the path of the former ones, or another --out to start afresh."
        )
    return source


def _of_run(path: Path, start: StartConfig) -> Source:
    folder = RunFolder(path)
    config = read_config(folder)
    saved = load_checkpoint(_checkpoint(folder, start.step))
    weights = dict(saved.parts["weights"])
    if start.parts != "all":
        weights |= {f"{TRANSLATORS}{name}": value for name, value in saved.parts.get("average", {}).items()}
    if start.parts == "generators":
        weights = {name: value for name, value in weights.items() if name.startswith(TRANSLATORS)}
    return Source(
        words=f"the run {shown(source_name(str(path)))} at step {saved.step}",
        weights=weights,
        generator=config.generator,
        sha256=_sha256(saved),
        step=saved.step,
        discriminator=config.discriminator if start.parts != "generators" else None,
        kept={part: saved.parts[part] for part in ("optim", "average") if part in saved.parts and start.parts == "all"},
        config=config,
    )


def _checkpoint(folder: RunFolder, step: int | None) -> Path:
    """Return the checkpoint of a step, the newest for None. Raises ConfigError, listing the steps that are kept."""
    kept = {int(path.name.removeprefix("step-")): path for path in list_checkpoints(folder.checkpoints)}
    step = max(kept) if step is None else step
    if step not in kept:
        listed = ", ".join(map(str, sorted(kept)))
        raise ConfigError(f"{shown(folder.path)} does not hold step {step}, only {listed}; give one of these.")
    return kept[step]


def _sha256(saved: Checkpoint) -> str:
    """Return the hash of the networks of a checkpoint, the raw and the EMA weights."""
    return state_sha256({part: saved.parts[part] for part in ("weights", "average") if part in saved.parts}, {})


def _of_model(path: Path) -> Source:
    folder = find_model(path)
    info, networks = read_model(folder)
    return _of_generators(f"the model of {shown(source_name(str(path)))}", info, _states(networks))


def _is_official(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in _OFFICIAL
    here = (path, path / "model")
    if not path.is_dir() or any((folder / "model.json").is_file() for folder in here):
        return False
    return any(file.suffix.lower() in _OFFICIAL for file in path.iterdir())


def _of_official(path: Path, parts: str) -> Source:
    """Return the source of official generators, and of the discriminators beside them unless `parts` is generators."""
    info, networks, _ = read_official(path)
    source = _of_generators(f"the weights {shown(source_name(str(path)))}", info, _states(networks))
    judges = read_judges(path) if parts == "networks" else {}
    if not judges:
        return source
    states = {
        f"discriminators.{domain}.{name}": value
        for domain, (_, state) in judges.items()
        for name, value in state.items()
    }
    weights = {**source.weights, **states}
    config = next(iter(judges.values()))[0]
    return replace(source, weights=weights, discriminator=config, sha256=state_sha256({"weights": weights}, {}))


def _states(networks: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {direction: network.state_dict() for direction, network in networks.items()}


def _of_generators(words: str, info: ModelInfo, states: Mapping[str, Mapping[str, Tensor]]) -> Source:
    """Return the source of generators alone, by direction."""
    weights = {f"{TRANSLATORS}{way}.{name}": value for way, state in states.items() for name, value in state.items()}
    step = info.training.step
    return Source(
        words=words if step is None else f"{words} (step {step})",
        weights=weights,
        generator=next(iter(info.directions.values())).generator,
        sha256=state_sha256({"weights": weights}, {}),
        step=step,
        model=info,
    )


def exchanged(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors by the names that they have if A and B are exchanged."""
    return {_DOMAIN.sub(lambda found: _EXCHANGED[found[0]], name): value for name, value in tensors.items()}
