"""The settings that come with the weights a run starts from: its networks, and without a recipe all of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unpaired.artifacts.part_records import read_config
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override
from unpaired.networks.protocols import DiscriminatorConfig, GeneratorConfig
from unpaired.recipes import Config
from unpaired.runs.start_source import read_source
from unpaired.storage import at_home
from unpaired.training.start_config import StartConfig


@dataclass(frozen=True)
class StartSettings:
    """Settings of weights to start from.

    words: their source, for the provenance of settings.
    config: all settings, without those of folders and of a start; None if only the generator is known.
    """

    words: str
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig | None
    config: Config | None

    def with_networks(self, config: Config) -> Config:
        """Return the configuration with these networks, except for discriminators that are unknown."""
        judge = self.discriminator if self.discriminator is not None else config.discriminator
        return replace(config, generator=self.generator, discriminator=judge)


def settings_of(start: Mapping[str, Any], out: Path) -> StartSettings:
    """Return the settings that come with weights. If the run in `out` started from them, it is read instead of them.

    start: the settings under "start", by name. Raises as `read_source`.
    """
    given = override(Config(), {f"start.{name}": value for name, value in start.items()}).start
    folder = RunFolder(at_home(out))
    own = read_config(folder) if folder.config.exists() else None
    if own is not None and own.start.weights == given.weights:
        return StartSettings(f"run {folder.path}", own.generator, own.discriminator, _without_places(own))
    source = read_source(given)
    config = None if source.config is None else _without_places(source.config)
    return StartSettings(source.words, source.generator, source.discriminator, config)


def _without_places(config: Config) -> Config:
    """Return the settings of a run for other data: without its folders, machine and own start."""
    empty: dict[str, Any] = dict.fromkeys(("root", "a", "b", "name_a", "name_b", "dtype_a", "dtype_b"), "")
    run = replace(config.run, device="auto", num_threads=0, memory="")
    return replace(config, data=replace(config.data, **empty), run=run, start=StartConfig())
