"""`unpaired.train`: from a folder of images, or a configuration, to a trained run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import torch

from unpaired import ranks
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import require, require_rebuildable
from unpaired.devices import resolve_device
from unpaired.recipes import Config
from unpaired.runs.configure import configured, default_out
from unpaired.runs.context import Allowed, RunContext
from unpaired.runs.extending import Extension
from unpaired.runs.run import carry_out
from unpaired.runs.standing import RunInfo
from unpaired.storage import at_home
from unpaired.training.callbacks import Callback, on_first_rank
from unpaired.training.progress import Progress
from unpaired.training.terminal import shown_by_default


@overload
def train(
    config: Config,
    /,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    listener: Callable[[Progress], None] | None = None,
    quiet: bool = False,
    strict: bool = False,
    verify_data: bool = False,
    allow_data_change: bool = False,
    allow_config_change: bool = False,
    allow_rank_change: bool = False,
    extend: Extension = "",
) -> RunInfo: ...


@overload
def train(
    data: str | Path | None = None,
    /,
    *,
    a: str | Path | None = None,
    b: str | Path | None = None,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    listener: Callable[[Progress], None] | None = None,
    quiet: bool = False,
    strict: bool = False,
    verify_data: bool = False,
    allow_data_change: bool = False,
    allow_config_change: bool = False,
    allow_rank_change: bool = False,
    extend: Extension = "",
) -> RunInfo: ...


def train(
    data: Config | str | Path | None = None,
    /,
    *,
    a: str | Path | None = None,
    b: str | Path | None = None,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    listener: Callable[[Progress], None] | None = None,
    quiet: bool = False,
    strict: bool = False,
    verify_data: bool = False,
    allow_data_change: bool = False,
    allow_config_change: bool = False,
    allow_rank_change: bool = False,
    extend: Extension = "",
) -> RunInfo:
    """Train on a folder of images, or with a whole configuration; the same call continues an interrupted run.

        unpaired.train("datasets/summer2winter", recipe="fast", steps=2000, settings={"objective.identity_weight": 0})
        unpaired.train(unpaired.Config(...))

    An interrupted run continues from its newest checkpoint, bit for bit on the same build, device and number of
    threads; a finished one returns at once.

    Sentences about the run are logged to the logger "unpaired" (INFO, WARNING). If neither it nor the root logger has a
    handler, they are printed on standard error, with the live line of a terminal or a line every ten seconds.

    Under torchrun several processes train as one, with the same call in each: rank 0 reads and writes the run folder
    and calls `listener` and `callbacks`, the others compute.

    Args:
        data: A folder that holds trainA and trainB, or pairs, as the recipe takes them; or a Config, which leaves no
            room for the parameters up to `settings`.
        a: The folder of domain A, instead of `data`.
        b: The folder of domain B, instead of `data`.
        recipe: A name of `unpaired.recipes.RECIPES` (default: paper, or that of the run `start_from`), or
            FILE.py:FUNCTION.
        start_from: Run folder, model folder or official .pth file whose weights the run starts from; `settings` takes
            start.step, start.parts, start.exchange and start.warmup.
        size: Side of the training crops in pixels.
        steps: Length of the run in steps, half of it with a decaying learning rate.
        epochs: Length of the run in epochs, instead of `steps`.
        settings: Any other setting by its dotted path.
        out: The run folder (default: runs/NAME OF THE DATA).
        callbacks: Called after steps, see `unpaired.Callback`.
        listener: Called with the Progress of each logged step, instead of printing lines of progress.
        quiet: Print nothing.
        strict: Refuse a damaged checkpoint, instead of setting it aside and using the one before.
        verify_data: Read every image, also those of large folders that are the same as at the last scan by their dates.
        allow_data_change: Continue although the images changed; history.jsonl records this and the next two changes.
        allow_config_change: Continue with other settings, except those of the networks.
        allow_rank_change: Continue with another number of processes.
        extend: Make a finished run longer, to the whole length in `steps` or `epochs`. "keep": with the rate of the
            longer schedule; "restart": with a new schedule for the new steps.

    Returns:
        The RunInfo of the run at the end.

    Raises DataError (folders or images that cannot be used or changed), ConfigError (bad settings, or the run folder
    belongs to another configuration), CheckpointError (with `strict`), DeviceError, OutputError (another process trains
    in it), StorageError, NonFiniteError, WorkerError, OutOfMemoryError, RankError (another process was lost),
    Interrupted.
    """
    given = {
        "a": a,
        "b": b,
        "recipe": recipe,
        "start_from": start_from,
        "size": size,
        "steps": steps,
        "epochs": epochs,
        "settings": settings,
    }
    config = _configured(data, {name: value for name, value in given.items() if value is not None}, out)
    return train_config(
        config,
        recipe=recipe or ("paper" if not isinstance(data, Config) and start_from is None else ""),
        out=out,
        callbacks=callbacks,
        listener=listener,
        quiet=quiet,
        allowed=Allowed(strict, allow_data_change, allow_config_change, allow_rank_change, extend),
        verify_data=verify_data,
    )


def train_config(
    config: Config,
    *,
    recipe: str,
    out: str | Path | None,
    allowed: Allowed,
    verify_data: bool = False,
    callbacks: Sequence[Callback] = (),
    listener: Callable[[Progress], None] | None = None,
    quiet: bool = False,
) -> RunInfo:
    """Train with a configuration; recipe: the name that it was made from, for `info`. The rest is as for `train`."""
    require_rebuildable(config)
    device = resolve_device(config.run.device)
    if config.run.num_threads:
        torch.set_num_threads(config.run.num_threads)
    ranks.require_divisible(config.data.batch_size, "data.batch_size")
    ranks.require_equal_micro_batches(config.data.batch_size, config.run.accumulate, "run.accumulate")
    folder = RunFolder(at_home(out) if out is not None else default_out(config.data))
    wrapped = tuple(on_first_rank(callbacks))
    with shown_by_default(listener, quiet=quiet) as shown:
        context = RunContext(
            folder=folder,
            device=device,
            allowed=allowed,
            verify_data=verify_data,
            listener=shown,
            callbacks=wrapped,
            recipe=recipe,
        )
        return carry_out(config, context)


def _configured(data: Config | str | Path | None, given: dict[str, Any], out: str | Path | None) -> Config:
    """Return the configuration that `train` was called with; raises TypeError for parameters beside a Config."""
    if isinstance(data, Config):
        if given:
            raise TypeError(f"train() takes {', '.join(given)} with a folder, not with a Config, which has it all.")
        return data
    settings = given.get("settings", {})
    named = isinstance(settings, Mapping)
    require(named, f"settings must map dotted paths of settings to values, not be {type(settings).__name__}.")
    places = {
        "data.root": data,
        "data.a": given.pop("a", None),
        "data.b": given.pop("b", None),
        "start.weights": given.pop("start_from", None),
    }
    paths = {key: str(at_home(place)) for key, place in places.items() if place is not None}
    return configured(**{**given, "out": out, "settings": {**paths, **settings}}).config
