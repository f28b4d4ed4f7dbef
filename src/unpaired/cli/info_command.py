"""The verb `info`: a run, a model, all runs below a folder, or two runs beside each other. Does not import torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from unpaired.cli.app import app
from unpaired.cli.output import console
from unpaired.cli.own_parts import load_parts
from unpaired.config import require
from unpaired.errors import ModelError
from unpaired.models.by_name import hint, located
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence, sentences_printed
from unpaired.words import duration

if TYPE_CHECKING:
    from unpaired.models.description import Description
    from unpaired.runs.standing import RunInfo

_NUMBERS = ("step", "of", "steps/s", "left")  # columns


@app.command
def info(
    runs: Annotated[tuple[Path, ...], Parameter(name="RUN", negative=())],
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
    recipe: Path | None = None,
) -> None:
    """Print the progress of a run, a model, all runs below a folder, or the differences between two runs.

    Parameters
    ----------
    runs
        A run folder, a model folder, a model by name (`unpaired models`), or a folder of runs, which are listed; two
        run folders are compared.
    json_
        Print JSON instead of a table.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    runs = tuple(map(located, runs))
    require(len(runs) in (1, 2), "info takes a run, a model or a folder of runs, or two runs to compare.")
    with sentences_printed("stderr" if json_ else "stdout"):
        if len(runs) == 2:
            _print_comparison(*runs, as_json=json_)
        elif (sentence := hint(runs[0])) and not os.path.lexists(runs[0]):
            raise ModelError(sentence)
        elif (runs[0] / "model.json").is_file():
            _print_model(runs[0], as_json=json_)
        elif not runs[0].is_dir() or any((runs[0] / name).exists() for name in ("config.yaml", "checkpoints", "model")):
            _print_run(runs[0], as_json=json_)
        else:
            _print_runs(runs[0], as_json=json_)


def _print_run(path: Path, *, as_json: bool) -> None:
    from unpaired.runs.standing import info as run_info

    found = run_info(path)
    facts = _facts(found)
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    _print(_words(found))


def _print_model(path: Path, *, as_json: bool) -> None:
    from unpaired.models.description import describe_model

    facts = {"path": str(path), **_model_facts(describe_model(path))}
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    _print(facts)


def _print_runs(folder: Path, *, as_json: bool) -> None:
    """Print a table of the runs below a folder; a run that cannot be read has the reason in its row."""
    from unpaired.errors import UnpairedError
    from unpaired.runs.catalogue import runs_below

    found = runs_below(folder)
    if as_json:
        rows = [
            {"path": str(path), "problem": str(run)} if isinstance(run, UnpairedError) else _facts(run)
            for path, run in found.items()
        ]
        print(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("run", "recipe", "state", "step", "of", "steps/s", "left", "last step logged"):
        table.add_column(title, justify="right" if title in _NUMBERS else "left", overflow="fold")
    for path, run in found.items():
        name = str(path.relative_to(folder))
        if isinstance(run, UnpairedError):
            table.add_row(*_texts(name, "", "damaged"))
            continue
        cells = (name, run.recipe or run.objective, run.state, str(max(run.step, run.logged_step)), str(run.num_steps))
        table.add_row(*_texts(*cells, _speed(run.steps_per_second), _left(run), run.updated))
    console(120).print(table)
    for run in found.values():
        if isinstance(run, UnpairedError):
            print_sentence(str(run))


def _print_comparison(a: Path, b: Path, *, as_json: bool) -> None:
    """Print what differs between two runs, and their figures beside each other."""
    from unpaired.runs.catalogue import figures, setting_differences
    from unpaired.runs.standing import info as run_info

    one, other = run_info(a), run_info(b)
    changed = setting_differences(a, b)
    tables = figures(a, one), figures(b, other)
    if as_json:
        pairs = {name: [table.get(name) for table in tables] for name in dict.fromkeys([*tables[0], *tables[1]])}
        facts = {"runs": [_facts(one), _facts(other)], "settings": changed, "figures": pairs}
        print(json.dumps(facts, indent=1))
        return
    progress = [
        {
            "recipe": run.recipe or "not recorded",
            "state": run.state,
            "step": f"{run.step} of {run.num_steps}",
            "epoch": str(run.epoch),
            "device": run.device,
            "steps/s": _speed(run.steps_per_second),
            "started": run.started,
            "images": ", ".join(f"{name} {count}" for name, count in run.num_images.items()),
        }
        for run in (one, other)
    ]
    settings = [{key: _value(pair[side]) for key, pair in changed.items()} for side in (0, 1)]
    table = Table(box=None, pad_edge=False)
    for title in ("", shown(a), shown(b)):
        table.add_column(Text(title), overflow="fold")
    for title, (left, right) in {"": progress, "settings that differ": settings, "figures": tables}.items():
        keys = sorted(dict.fromkeys([*left, *right]), key=lambda key: not key.startswith("loss "))
        if title:
            table.add_row(*_texts(""))
            table.add_row(*_texts(title if keys else f"{title}: none"), style="bold")
        for key in keys:
            table.add_row(*_texts(key, left.get(key, "-"), right.get(key, "-")))
    console(120).print(table)


def _facts(found: RunInfo) -> dict[str, Any]:
    return {**asdict(found), "path": str(found.path), "finished": found.finished}


def _model_facts(found: Description) -> dict[str, Any]:
    training = found.training
    facts: dict[str, Any] = {
        "domains": found.domains,
        "directions": {
            name: f"{kind}, {given} to {made} channels" for name, (kind, given, made) in found.directions.items()
        },
        "objective": training.objective,
        "step": training.step,
        "seed": training.seed,
        "weights": training.weights,
        "load_size": training.load_size,
        "crop_size": training.crop_size,
    }
    if found.scale is not None:
        facts["training_images"] = {domain: found.scale.words(domain) for domain in ("A", "B")}
    if found.choice is not None:
        facts["selected_by"] = found.choice.rule
    return {**facts, "made_by": found.package}


def _words(found: RunInfo) -> dict[str, Any]:
    """Return the facts of a run as they are printed, what changes first."""
    speed = f"{_speed(found.steps_per_second)} steps/s, {_speed(found.images_per_second)} images/s"
    logged = f" ({found.updated})" if found.updated else ""
    return {
        "path": found.path,
        "state": found.state,
        **({"ended": found.ended} if found.ended else {}),
        "checkpoint": f"step {found.step} of {found.num_steps}, epoch {found.epoch}" if found.step else "none yet",
        "last_step_logged": f"{found.logged_step}{logged}" if found.logged_step else "none",
        "speed": speed if found.images_per_second else "unknown",
        "time_left": _left(found),
        "started": found.started or "unknown",
        "device": found.device or "not recorded before the first checkpoint",
        "recipe": found.recipe or "not recorded",
        "objective": found.objective,
        "domains": found.domains,
        "training_images": found.num_images,
        "losses": {name: f"{value:.4g}" for name, value in found.losses.items()},
        "model": "yes" if found.has_model else "not yet",
        "bit_exact": "yes" if found.bit_exact else "no, something changed on the way (history.jsonl)",
        "state_sha256": found.state_sha256 or "none yet",
    }


def _print(facts: Mapping[str, Any]) -> None:
    """Print facts as a table of names and values."""
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(*_texts(key.replace("_", " "), _value(value)))
    console().print(table)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def _left(run: RunInfo) -> str:
    """Return the time left in words; for a stopped run the time that the rest takes when it is continued."""
    if run.seconds_left is None:
        return "unknown"
    if run.finished:
        return "none"
    return duration(run.seconds_left) + (" when continued" if run.state == "stopped" else "")


def _speed(speed: float) -> str:
    return f"{speed:.3g}" if speed else "-"


def _texts(*cells: str) -> list[Text]:
    """Return cells as text, since a name may look like markup."""
    return [Text(shown(cell)) for cell in cells]
