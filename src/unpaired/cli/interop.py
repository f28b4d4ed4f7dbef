"""The verbs that exchange models with the official code: import and export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.cli.own_parts import load_parts
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence


@app.command(name="import")
def import_(
    path: Annotated[Path, Parameter(name="DIR_OR_PTH")],
    /,
    *,
    out: Path,
    network: str | None = None,
) -> None:
    """Import files of the official CycleGAN, pix2pix or CUT code into a model folder; their network is detected.

    Parameters
    ----------
    path
        A .pth file, or a folder of them such as checkpoints/NAME; its latest generators are taken.
    out
        The model folder to make.
    network
        Generator to import from a file with several, such as netG_A.
    """
    from unpaired.interop.official import import_official

    made = import_official(path, out, network)
    for note in made.notes:
        print_sentence(note)
    directions = list(made.info.directions)
    flag = "" if "AtoB" in directions else " --direction BtoA"
    print_sentence(f"Model: {made.folder} ({' and '.join(directions)})")
    print_sentence(f"Translate with it: unpaired translate {shlex.quote(str(made.folder))} IMAGE...{flag}")


@app.command
def export(
    model: Annotated[Path, Parameter(name="MODEL")],
    /,
    *,
    out: Path,
    format: str = "official",
    recipe: Path | None = None,
) -> None:
    """Export a model to another format: official, the .pth files that the official CycleGAN and pix2pix code loads.

    torch-export is a program for torch.export.load, which needs torch alone, and a description of its images.

    Parameters
    ----------
    model
        A run folder (official: its discriminators are written too), or a model folder.
    out
        Folder for the files, such as checkpoints/NAME of the official code.
    format
        official, torch-export, or an exporter of an installed package or of --recipe.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from unpaired.interop import EXPORTERS
    from unpaired.interop.running import run_exporter

    made = run_exporter(EXPORTERS, format, "--format", model, out)
    for file in made.files:
        print(shown(file))
    for note in made.notes:
        print_sentence(note)
