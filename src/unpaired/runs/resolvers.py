"""Resolves the given settings into those of a run: an ordered list of functions, each with one purpose.

A resolver takes a Config and the facts about the run, and returns a Config. `RESOLVERS` is the list; training and
`unpaired train --dry-run` apply it alike.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unpaired.artifacts.history import History
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import read_data
from unpaired.config import require_rebuildable
from unpaired.provenance import Provenance
from unpaired.recipes import Config
from unpaired.storage import printable, shown

# The modules that a resolver needs are imported in it, so that a dry run imports only those of its own settings.
if TYPE_CHECKING:
    import torch

    from unpaired.data.datasets import DataConfig
    from unpaired.data.domains import Domains
    from unpaired.runs.context import RunContext
    from unpaired.runs.extending import Extension

_log = logging.getLogger("unpaired")


@dataclass(frozen=True)
class Known:
    """The facts that resolvers need besides the settings.

    device: returns the device of the run.
    entries: the history of a run that continues.
    started: the settings that it was started with, None for a new run.
    domains: the images, None in a dry run that needs none of them.
    scanned: whether the images of a new run were decoded.
    keeps_auto: whether the precision auto of a new run stays, for a dry run, which need not import torch then.
    """

    device: Callable[[], torch.device]
    entries: Sequence[Mapping[str, Any]]
    started: Config | None
    domains: Domains | None
    scanned: bool = True
    keeps_auto: bool = False


Resolver = Callable[[Config, Known], Config]


def repeat_remedies(config: Config, known: Known) -> Config:
    """Apply the remedies of the guardian that are in the run's history."""
    return _remedied(config, known.entries)


def pin_files(config: Config, known: Known) -> Config:
    """Record the SHA-256 of the weights that the method's settings name, so that a run continues only with these."""
    pinned = getattr(config.objective, "pinned", None)
    return config if pinned is None else replace(config, objective=pinned(config))


def pin_start(config: Config, known: Known) -> Config:
    """Record the step and the SHA-256 of the weights that a new run starts from; a run that continues has them."""
    start, before = config.start, known.started
    if not start.weights:
        return config
    if before is not None and before.start.weights == start.weights and before.start.sha256:
        pinned = replace(start, sha256=start.sha256 or before.start.sha256)
        if start.step is None:
            pinned = replace(pinned, step=before.start.step)
        return replace(config, start=pinned)
    from unpaired.recipes import build_objective
    from unpaired.runs.start_source import read_source
    from unpaired.runs.taken_weights import taken_weights

    source = read_source(start)
    _log.info(printable(taken_weights(config, build_objective(config), source).sentence()))
    step = source.step if source.config is not None else None
    return replace(config, start=replace(start, sha256=source.sha256, step=step))


def read_values(config: Config, known: Known) -> Config:
    """Set what depends on the images, if they were decoded: their types, and the values of percentiles."""
    if known.domains is None or not known.scanned:
        return config
    saved = known.started.data if known.started is not None else None
    return replace(config, data=known.domains.resolved(config.data, saved))


def choose_precision(config: Config, known: Known) -> Config:
    """Resolve the precision auto to that of the device, or that of the run to continue."""
    before = known.started.run if known.started is not None else None
    if config.run.precision == "fp32" or (config.run.precision == "auto" and before is None and known.keeps_auto):
        return config
    from unpaired.training.autocast import resolve_precision

    return replace(config, run=resolve_precision(config.run, before, known.device()))


def fit_memory(config: Config, known: Known) -> Config:
    """Change settings so that the run fits `run.memory`, if that is given."""
    if known.domains is None:
        return config
    from unpaired.runs.memory_plan import planned
    from unpaired.runs.trial_step import own_faults

    with own_faults(config):
        return planned(config, known.domains, known.started, known.device())


RESOLVERS: dict[Resolver, str] = {
    repeat_remedies: "the guardian",
    pin_files: "the weights of its features",
    read_values: "the images",
    choose_precision: "this machine",
    fit_memory: "memory plan",
    pin_start: "the weights to start from",
}
"""The resolvers in order, with the name of each as the source of a setting."""


def resolved(config: Config, known: Known, made: Provenance[Config] | None = None) -> Config:
    """Return the resolved settings of a run; `made` records the source of each.

    Raises ConfigError or DataError if they do not suit the images or the machine.
    """
    for resolver, source in RESOLVERS.items():
        config = resolver(config, known)
        if made is not None:
            made.stage(config, source)
    return config


def inspected(config: Config, context: RunContext) -> Known:
    """Read the facts for resolvers: an existing run, and the images, which are decoded for a new run."""
    from unpaired.data.domains import open_domains
    from unpaired.data.scan_cache import recall

    folder, entries, started = context.folder, *_standing(context.folder)
    domains = open_domains(config.data)
    if not context.verify_data:
        for source in domains.training_sources():
            recall(source, config.data.background)
    if started is None:
        domains = scanned(config, domains)
    elif folder.data.exists():
        domains = domains.without(read_data(folder), config.data)
    return Known(lambda: context.device, entries, started, domains)


def scanned(config: Config, domains: Domains) -> Domains:
    """Decode every image and log its faults; returns the domains without the images that cannot be used."""
    _log.info(f"Scanning {domains.described(config.data)}.")
    usable, notes = domains.usable(config.data, max(config.generator.min_size, config.discriminator.min_size))
    for note in notes:
        _log.info(printable(note))
    return usable


def dry_run(
    config: Config,
    out: Path,
    made: Provenance[Config] | None = None,
    *,
    keeps_auto: bool = False,
    extend: Extension = "",
) -> Config:
    """Return the settings that training in the run folder `out` would start with, without decoding an image.

    Only `run.memory` needs the images, to count them. Changes no file. made: records the source of each setting.
    keeps_auto: leave the precision auto of a new run without a memory limit to the start of training, and log its
    meaning, so that torch is not needed. extend: how a finished run becomes longer, "" for not.
    Raises ConfigError, DataError, DeviceError.
    """
    require_rebuildable(config)
    keeps_auto = keeps_auto and config.run.precision == "auto" and not config.run.memory

    def device() -> torch.device:
        from unpaired.devices import resolve_device

        return resolve_device(config.run.device)

    if config.run.device not in ("auto", "cpu"):  # these two exist everywhere
        device()
    domains = None
    if config.run.memory:
        from unpaired.data.domains import open_domains

        domains = open_domains(config.data)
    known = Known(device, *_standing(RunFolder(out)), domains, scanned=False, keeps_auto=keeps_auto)
    if extend:
        from unpaired.runs.extending import with_restart

        config = with_restart(config, known.started, RunFolder(out), extend)
        if made is not None:
            made.stage(config, f"--extend {extend}")
    if keeps_auto and known.started is None:
        _log.info(
            "The precision auto becomes bf16 if the device of the run has instructions for it, else fp32, when "
            "training starts."
        )
    return resolved(config, known, made)


def note_unread(data: DataConfig) -> None:
    """Log that no image was read, and which of the folders do not exist."""
    folders = [Path(folder) for folder in (data.root, data.a, data.b) if folder]
    missing = [shown(folder) for folder in folders if not folder.is_dir()]
    for folder in missing:
        _log.warning(f"There is no folder {folder}.")
    if folders and not missing:
        words = " ".join(shlex.quote(str(folder)) for folder in folders) if data.root else "--a DIR --b DIR"
        _log.info(f"The images were not read; `unpaired data check {words}` reads them.")


def _standing(folder: RunFolder) -> tuple[Sequence[Mapping[str, Any]], Config | None]:
    """Return the history of a run and the settings it was started with, None for a new run."""
    entries = History(folder.path).entries()
    if not folder.config.exists():
        return entries, None
    from unpaired.artifacts.part_records import read_config

    return entries, _remedied(read_config(folder), entries)


def _remedied(config: Config, entries: Sequence[Mapping[str, Any]]) -> Config:
    """Return the settings with the remedies in a history, as `remedied` does."""
    if not entries:
        return config
    from unpaired.monitoring.rewind import remedied

    return remedied(config, entries)
