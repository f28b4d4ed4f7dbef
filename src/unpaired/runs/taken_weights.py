"""Puts the weights that a run starts from into its networks, and reports what was taken and what starts new."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from unpaired.config import flatten, option_name, override
from unpaired.errors import ConfigError
from unpaired.networks.protocols import GeneratorConfig
from unpaired.objectives.base import Objective
from unpaired.recipes import Config
from unpaired.runs.start_source import Source, exchanged, read_source
from unpaired.storage import shown
from unpaired.training.state import TrainingState

_LISTED = 4  # maximum number of layers in a sentence

_NOUNS = {"translators.heads": "the projection heads", "translators.couple": "the coupled generators"}


@dataclass(frozen=True)
class Taken:
    """The weights that a run takes from its source, by the names of its objective.

    weights: to be copied. new: names of all others, which keep their initial values. words: of the source.
    """

    source: Source
    weights: Mapping[str, Tensor]
    new: tuple[str, ...]
    warm_up: int
    left_out: tuple[str, ...] = field(default=())

    def sentence(self) -> str:
        """Return what was taken, what starts new, and the warm-up, for the log, the history and a dry run."""
        taken = {network_of(name) for name in self.weights}
        whole = {network_of(name) for name in self.new} - taken
        layers = list(dict.fromkeys(layer_of(name) for name in self.new if network_of(name) not in whole))
        found = f"Starting from {self.source.words}: {networks_named(taken)}"
        found += ", with Adam's moments and the EMA weights." if self.source.kept else "."
        beginners = [networks_named(whole)] if whole else []
        if layers:
            more = f" and {len(layers) - _LISTED} more" if len(layers) > _LISTED else ""
            beginners.append(f"layers of other shapes ({', '.join(layers[:_LISTED])}{more})")
        if beginners:
            found += f" New: {' and '.join(beginners)}"
            first = "step" if self.warm_up == 1 else f"{self.warm_up} steps"
            found += f"; these alone learn in the first {first}." if self.warm_up else "."
        if self.left_out:
            found += f" Left out: {networks_named(self.left_out)}."
        return found


def taken_weights(config: Config, objective: Objective[Any], source: Source | None = None) -> Taken:
    """Return what a run with these settings takes from its source, which is read unless it is given.

    A layer is taken if the source has one of that name and shape in a network of that kind. Raises ConfigError if no
    generator has one, or if a generator of the source has layers that the run's lacks, naming the settings to give.
    """
    start = config.start
    source = source or read_source(start)
    whole = start.parts == "all"
    weights = _networks_alone(exchanged(source.weights) if start.exchange else source.weights, whole=whole)
    wanted = _networks_alone(objective.state_dict(), whole=whole)
    _check_kind(config.generator, source, wanted, weights)
    judges_alike = type(source.discriminator) is type(config.discriminator)
    weights = {name: value for name, value in weights.items() if judges_alike or not _judges(name)}
    fits = {name: name in weights and weights[name].shape == value.shape for name, value in wanted.items()}
    misfits = {name.rpartition(".")[0] for name, fitting in fits.items() if not fitting}
    taken = {name: weights[name] for name in wanted if fits[name] and name.rpartition(".")[0] not in misfits}
    new = tuple(name for name in wanted if name not in taken)
    if start.parts == "all":
        _require_all(source, new, weights, wanted, config)
    if not any(name.startswith("translators.") for name in taken):
        have, need = ({network_of(name) for name in names} for names in (weights, wanted))
        raise ConfigError(
            f"No generator of {source.words} fits: it has {networks_named(have)}, and this run trains "
            f"{networks_named(need)}; give weights of such networks, or exchange its domains with --start.exchange."
        )
    left_out = sorted({network_of(name) for name in weights} - {network_of(name) for name in wanted})
    trained = {name for name, _ in objective.named_parameters()}
    warm_up = start.warmup if any(name in trained for name in new) else 0
    steps = config.schedule.num_steps
    if warm_up and steps is not None and warm_up >= steps:
        raise ConfigError(
            f"start.warmup (--from-warmup) is {warm_up} and the run has {steps} steps, in which only new layers would "
            "learn; give a shorter warm-up."
        )
    return Taken(source, taken, new, warm_up, tuple(left_out))


@torch.no_grad()
def start_from(state: TrainingState, taken: Taken, parts: str) -> None:
    """Copy the weights into the untrained `state`; the rest of it stays as it is, and the EMA starts from them."""
    own = state.objective.state_dict()
    for name, value in taken.weights.items():
        own[name].copy_(value)
    if state.ema is not None:
        for name, value in state.objective.translators.state_dict().items():
            state.ema.weights[name].copy_(value)
    if parts == "all":
        state.restore({**state.parts(), **taken.source.kept}, state.counters())
    state.warm_up = taken.warm_up
    if taken.warm_up:
        state.new = frozenset(taken.new) & {name for name, _ in state.objective.named_parameters()}


def with_networks_of(config: Config, source: Source) -> Config:
    """Return the configuration with the source's networks, except for the discriminators if it has none."""
    parts: dict[str, Any] = {}
    for name in ("generator", "discriminator"):
        part = getattr(source, name)
        if part is not None:
            parts |= {f"{name}.kind": part.kind, **{f"{name}.{key}": value for key, value in flatten(part).items()}}
    return override(config, parts)


def network_of(name: str) -> str:
    """Return the network of a tensor, as in "discriminators.B"."""
    return ".".join(name.split(".")[:2])


def layer_of(name: str) -> str:
    """Return the layer of a tensor, its name without "weight" or "bias", as in AtoB.stem.1."""
    return name.partition(".")[2].rpartition(".")[0]


def _networks_alone(tensors: Mapping[str, Tensor], *, whole: bool) -> dict[str, Tensor]:
    """Return the tensors of networks that learn, or all of them."""
    return {name: value for name, value in tensors.items() if whole or name.startswith(("translators.", "discrim"))}


def _judges(name: str) -> bool:
    return name.startswith("discriminators.")


def _check_kind(
    config: GeneratorConfig, source: Source, wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Raise ConfigError if generators are of another kind, or have layers that those of the run lack."""
    ours = {network_of(name) for name in wanted}
    lost = [name for name in weights if not _judges(name) and network_of(name) in ours and name not in wanted]
    if type(config) is type(source.generator) and not lost:
        return
    theirs = source.generator
    give = [] if config.kind == theirs.kind else [f"--generator.kind {theirs.kind}"]
    give += [
        f"{option_name('generator.' + each.name)} {getattr(theirs, each.name)}"
        for each in fields(theirs)  # type: ignore[arg-type]
        if getattr(theirs, each.name) != getattr(config, each.name, None)
    ]
    what = f" (it has {layer_of(lost[0])}, which this run's lacks)" if lost else ""
    raise ConfigError(
        f"The generator of {source.words} does not fit that of this run{what}; give "
        f"{shown(' '.join(give)) or 'the same method'}."
    )


def _require_all(
    source: Source, new: Collection[str], weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], config: Config
) -> None:
    """Raise ConfigError unless the whole state of the source fits, with its moments."""
    unknown = [name for name in weights if name not in wanted]
    average = ("average" in source.kept) == (config.optimizer.ema_decay > 0)
    if new or unknown or not average or config.start.exchange:
        first = next(iter([*new, *unknown]), "the EMA weights" if not average else "exchanged domains")
        raise ConfigError(
            f"start.parts all takes the whole state of {source.words}, which does not fit this run ({first}); use the "
            "same method and networks, or start.parts networks."
        )


def networks_named(networks: Iterable[str]) -> str:
    """Return networks in words: "the generators AtoB and BtoA, the discriminator B"."""
    found: dict[str, list[str]] = {"generator": [], "discriminator": []}
    others = []
    for network in sorted(networks):
        group, _, name = network.partition(".")
        if network in _NOUNS:
            others.append(_NOUNS[network])
        else:
            found["discriminator" if group == "discriminators" else "generator"].append(name)
    named = [f"the {noun}{'s' * (len(names) > 1)} {' and '.join(names)}" for noun, names in found.items() if names]
    return ", ".join([*named, *others])
