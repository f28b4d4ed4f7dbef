"""The verb that draws images with a GAN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.cli.own_parts import load_parts
from unpaired.models.by_name import results_folder
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence
from unpaired.words import counted


@app.command
def sample(
    model: Annotated[Path, Parameter(name="MODEL")],
    /,
    *,
    out: Path | None = None,
    count: int = 16,
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    device: str = "auto",
    recipe: Path | None = None,
) -> None:
    """Draw images with a model that was trained by the recipes gan or cgan.

    Parameters
    ----------
    model
        A run folder, the model folder in it, or a model by name (`unpaired models`).
    out
        Folder for the images (default: MODEL/sampled, for a model by name sampled/NAME).
    count
        Number of images.
    class_
        The class to draw, of a conditional model (default: all of them in turn).
    seed
        Seed of the noise; the same seed draws the same images.
    overwrite
        Replace images that exist already.
    device
        auto, cpu, cuda, cuda:N or mps.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from unpaired.translate.sampling import Sampler, sample_files

    folder = out if out is not None else results_folder(model, "sampled")
    sampler = Sampler.load(model, device=device)
    for path in sample_files(sampler, folder, count, seed=seed, class_name=class_, overwrite=overwrite):
        print(shown(path), flush=True)
    print_sentence(f"Drew {counted(count, 'image')} into {folder}")
