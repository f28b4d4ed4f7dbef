"""The verbs under `unpaired models`: list, fetch and remove ready-made models. The list does not import torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from unpaired.cli.app import app
from unpaired.cli.output import ByteLines, console
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence

models_app = App(name="models", help="List ready-made models, fetch published ones by name, or remove them.")
app.command(models_app)

_WIDTH = 150
_RIGHT = ("size", "MB")  # columns


@models_app.default
@models_app.command(name="list")
def list_models(*, json_: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False) -> None:
    """List every model that translate, evaluate and the other commands take by name, and those that can be fetched.

    Parameters
    ----------
    json_
        Print JSON instead of a table.
    """
    from unpaired.zoo.shelf import ready_models

    found = ready_models()
    if json_:
        print(json.dumps([asdict(model) for model in found], indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "domains", "size", "MB", "where", "licence", "credit", "use"):
        table.add_column(title, justify="right" if title in _RIGHT else "left", overflow="fold")
    for model in found:
        arrow = "↔" if len(model.directions) > 1 else "→"
        domains = "" if model.problem else f"{model.domains[0]} {arrow} {model.domains[1]}"
        size = "-" if model.size is None else str(model.size)
        megabytes = f"{'' if model.exact else '~'}{model.num_bytes / 1e6:.1f}"
        where = "damaged" if model.problem else model.place
        cells = (model.name, domains, size, megabytes, where, model.licence, model.credit, model.about)
        table.add_row(*(Text(shown(cell)) for cell in cells))
    console(_WIDTH).print(table)
    for model in found:
        if model.problem:
            print_sentence(model.problem)
    print_sentence("Use one: unpaired translate NAME IMAGE...   Fetch one: unpaired models get NAME")


@models_app.command
def get(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    out: Path | None = None,
    url: str | None = None,
) -> None:
    """Fetch published weights by name and import them; the same command again continues an interrupted download.

    Nothing else fetches a model: no command does so on its own.

    Parameters
    ----------
    name
        A name from `unpaired models`, e.g. horse2zebra.
    out
        The model folder to make (default: NAME in the data folder, where every command finds it by its name).
    url
        A mirror of the authors' server, with the same paths.
    """
    from unpaired.data.download import PUBLISHED_AT
    from unpaired.zoo.fetching import fetch_model

    fetched = fetch_model(name, out=out, url=url or PUBLISHED_AT, listener=ByteLines())
    for note in fetched.notes:
        print_sentence(note)
    print_sentence(f"Model: {shown(fetched.path)}")
    print_sentence(f"Translate with it: unpaired translate {name if out is None else shown(out)} IMAGE...")


@models_app.command
def remove(name: Annotated[str, Parameter(name="NAME")], /) -> None:
    """Remove a fetched model, or the part of it that was fetched; its SHA-256 stays on record.

    Parameters
    ----------
    name
        A name from `unpaired models`.
    """
    from unpaired.zoo.fetching import remove_model

    folder, freed = remove_model(name)
    print_sentence(f"Removed {shown(folder)}: {freed / 1e6:.1f} MB")
