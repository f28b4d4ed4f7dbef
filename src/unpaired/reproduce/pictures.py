"""The picture of a table: the same test images translated by every method, one column each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from unpaired.artifacts.samples import draw_samples, write_samples
from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.reproduce.labelled import Labelled
from unpaired.reproduce.methods import translations, trials

_NUM_IMAGES = 4


def draw_methods(path: Path, data: Labelled, out: Path, *, methods: Sequence[str], seed: int) -> None:
    """Write the first test images, their translations by the trained runs of one seed in `out`, and the truth.

    path: the PNG file, with a block for each direction.
    """
    labels, photos = (stacked(FolderSource(data.unpaired / f"test{domain}"))[:_NUM_IMAGES] for domain in "AB")
    inputs = {"AtoB": labels, "BtoA": photos}
    blocks: dict[str, dict[str, Tensor]] = {direction: {"input": images} for direction, images in inputs.items()}
    for trial in trials(tuple(methods), (seed,)):
        for direction, made in translations(trial, trial.folder(out), inputs).items():
            blocks[direction][trial.method] = made
    blocks["AtoB"]["truth"], blocks["BtoA"]["truth"] = photos, labels
    caption = f"seed {seed}, test images, none selected"
    write_samples(path, draw_samples(blocks, names={"A": "labels", "B": "photo"}, caption=caption))
