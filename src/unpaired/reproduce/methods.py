"""The methods of a table, trained with the same networks, optimizer and steps, without identity terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from unpaired.config import override, require
from unpaired.recipes import RECIPES, Config, at_size, demo
from unpaired.reproduce.labelled import Labelled
from unpaired.suggestions import unknown
from unpaired.translate.translator import Translator

ABLATION = ("cycle-alone", "gan-alone", "gan-forward", "gan-backward", "cyclegan")
COMPARISON = ("cogan", "bigan", "simgan", "feature-gan", "cyclegan", "cut", "pix2pix")
TABLES = {"fcn": COMPARISON, "ablation": ABLATION}
"""The rows of the tables: 2 and 3 with CUT, 4 and 5."""

_ONE_WAY = ("simgan", "feature-gan", "cut", "pix2pix")
"""Methods with one generator, which need a run for each direction."""


def rows_of(table: str, chosen: str | None) -> tuple[str, ...]:
    """Return the rows of a table, "fcn" or "ablation": all of them, or those of a comma-separated text in its order.

    Raises ConfigError for an unknown row.
    """
    if chosen is None:
        return TABLES[table]
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    for name in names:
        require(name in TABLES[table], unknown(name, TABLES[table], f"row of the table {table}"))
    require(bool(names), f"--methods names no row; give some of {', '.join(TABLES[table])}.")
    return tuple(name for name in TABLES[table] if name in names)


@dataclass(frozen=True)
class Trial:
    """One training run: a method in one direction (both for CycleGAN, BiGAN and CoGAN) with one seed."""

    method: str
    direction: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Return the run folder."""
        way = f"-{self.direction}" if self.direction == "BtoA" and self.method in _ONE_WAY else ""
        return out / f"{self.method}{way}-{self.seed}"


def trials(methods: tuple[str, ...], seeds: tuple[int, ...]) -> list[Trial]:
    """Return all training runs of the table, ordered by seed, so that an interruption leaves complete seeds."""
    found: dict[Path, Trial] = {}
    for seed in seeds:
        for method in methods:
            for direction in ("AtoB", "BtoA"):
                trial = Trial(method, direction, seed)
                found.setdefault(trial.folder(Path()), trial)
    return list(found.values())


def config_of(trial: Trial, data: Labelled, steps: int, features: str = "random") -> Config:
    """Return the configuration: the recipe's objective and data, the demo's networks and optimizer.

    CoGAN keeps its coupled networks, at half width, and its learning rate; their batch norm needs batches, here of 32.
    CUT translates in one direction; for photographs to labels the domains are exchanged.

    features: those of the method feature-gan.
    """
    recipe, small = at_size(RECIPES[trial.method](), data.size), at_size(demo(), data.size)
    paired = recipe.data.pairing == "paired"
    config = replace(
        recipe,
        data=replace(small.data, pairing=recipe.data.pairing, root=str(data.pairs if paired else data.unpaired)),
        generator=small.generator,
        discriminator=small.discriminator,
        optimizer=small.optimizer,
        run=replace(small.run, sample_every=0, checkpoint_every=500, log_every=100, held_out_every=0, trust_images=0),
    )
    settings: dict[str, object] = {"schedule.num_steps": steps, "run.seed": trial.seed, "run.publish": "last"}
    if trial.method == "cogan":
        config = replace(config, generator=recipe.generator, discriminator=recipe.discriminator)
        settings.update(
            {
                "generator.base_channels": 32,
                "discriminator.base_channels": 32,
                "data.batch_size": 32,
                "optimizer.learning_rate": recipe.optimizer.learning_rate,
            }
        )
    if trial.method == "feature-gan":
        settings["objective.features"] = features
    if trial.method == "cyclegan":
        settings["objective.identity_weight"] = 0  # as in the paper's comparison
    if trial.direction == "BtoA" and hasattr(recipe.objective, "direction"):
        settings["objective.direction"] = "BtoA"
    elif trial.direction == "BtoA":  # CUT
        settings.update(
            {"data.root": "", "data.a": str(data.unpaired / "trainB"), "data.b": str(data.unpaired / "trainA")}
        )
    return override(config, settings)


def translations(trial: Trial, folder: Path, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the translations of `inputs` by the model of the trial's run folder, by direction."""
    translator = Translator.load(folder, precision="fp32")
    if trial.method == "cut" and trial.direction == "BtoA":
        return {"BtoA": _translated(translator, inputs["BtoA"], "AtoB")}
    return {name: _translated(translator, inputs[name], name) for name in translator.directions}


def _translated(translator: Translator, images: Tensor, direction: str) -> Tensor:
    parts = (images[start : start + 10] for start in range(0, len(images), 10))
    return torch.cat([translator(part, direction=direction).cpu() for part in parts])
