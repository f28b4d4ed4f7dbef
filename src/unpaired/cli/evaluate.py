"""The verb that measures the quality of a model."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from unpaired.cli.app import app
from unpaired.cli.output import console
from unpaired.cli.own_parts import load_parts
from unpaired.launch import launched
from unpaired.models.by_name import results_folder
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence
from unpaired.words import counted

_WIDTH = 120  # columns of a table

if TYPE_CHECKING:
    from unpaired.evaluation.evaluating import Comparison, Evaluation


@app.command
def evaluate(
    model: Annotated[Path, Parameter(name="MODEL")],
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    out: Path | None = None,
    size: int | None = None,
    count: int = 2000,
    batch: int = 16,
    truth: bool | None = None,
    unseen: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    inception: Path | None = None,
    lpips: Annotated[tuple[Path, Path] | None, Parameter(negative=())] = None,
    lpips_trunk: Literal["alex", "vgg"] = "alex",
    baseline: Literal["style"] | None = None,
    baseline_count: int | None = None,
    features: str | None = None,
    device: str = "auto",
    recipe: Path | None = None,
) -> None:
    """Translate the test half of a data set in every direction, and measure the quality of the translations.

    Compares them with ground truth if images are paired (the same names in testA and testB, or side-by-side pairs), as
    a set with the real images of the other domain, and each with its input. Every figure has a 95 % interval and a
    floor, the same figure for real images against other real ones; a verdict compares them with no translation. Writes
    evaluation.json and evaluation.html, beside those of other data sets. Several processes that torchrun starts share
    the images.

    Parameters
    ----------
    model
        A run folder, the model folder in it, or a model by name (`unpaired models`).
    data
        Folder that holds testA and testB, or test (or val) of pairs.
    out
        Folder for the results (default: MODEL/evaluation, for a model by name evaluation/NAME).
    size
        Side that images are resized to (default: that of the training crops).
    count
        Largest number of images of a domain.
    batch
        Images that are translated together.
    truth
        Whether images of the same name are pairs (default: if all names match).
    unseen
        Leave out the validation images that selected the checkpoint of the model.
    inception
        File of FID's Inception weights, for FID and kernel distances on its features.
    lpips
        Two files of weights for LPIPS: the classifier and the authors' channel weights.
    lpips_trunk
        Classifier of the LPIPS files: alex or vgg.
    baseline
        style: compare with style transfer from the training images of the target domain in DATA, which takes minutes.
    baseline_count
        Largest number of images of a domain for the baseline (default: 24).
    features
        Features of the baseline: random (the default), vgg16:FILE, vgg19:FILE or discriminator:RUN.
    device
        auto, cpu, cuda, cuda:N or mps.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from unpaired.config import require
    from unpaired.evaluation.evaluating import Settings
    from unpaired.evaluation.evaluating import evaluate as measure
    from unpaired.evaluation.evaluation_files import free_stem
    from unpaired.evaluation.inception import Inception
    from unpaired.evaluation.lpips import LPIPS
    from unpaired.evaluation.page import to_html
    from unpaired.evaluation.style_baseline import StyleBaseline
    from unpaired.storage import make_folder, write_bytes
    from unpaired.translate.style_transfer import StyleTransfer

    beside = None
    if baseline is not None:
        number = StyleBaseline().count if baseline_count is None else baseline_count
        beside = StyleBaseline(count=number, transfer=StyleTransfer(features=features or "random"))
    for option, value in {"--baseline-count": baseline_count, "--features": features}.items():
        require(
            value is None or baseline is not None, f"{option} belongs to --baseline style; add that, or leave it out."
        )
    settings = Settings(
        size=size,
        count=count,
        batch=batch,
        truth=truth,
        unseen=unseen,
        inception=Inception.load(inception) if inception else None,
        lpips=LPIPS.load(*lpips, trunk=lpips_trunk) if lpips else None,
        baseline=beside,
    )
    folder = out if out is not None else results_folder(model, "evaluation")
    first = not launched().rank
    found = measure(
        model, data, settings=settings, device=device, listener=print_evaluation if first else lambda part: None
    )
    if launched().rank:  # rank 0 has the same results and writes them
        return
    make_folder(folder)
    command = found.facts["command"] = shlex.join(["unpaired", *sys.argv[1:]])
    stem, note = free_stem(folder, found.facts)
    write_bytes(folder / f"{stem}.json", found.to_json().encode())
    page = to_html(found, str(model), str(data), device=device, command=command)
    write_bytes(folder / f"{stem}.html", page.encode())
    if note:
        print_sentence(note)
    place = shown(folder / stem)
    print_sentence(f"Figures of each image: {place}.json   Page: {place}.html")


def print_evaluation(found: Evaluation) -> None:
    """Print a table and the verdict for each direction."""
    from unpaired.evaluation.page import formatted, label_with_arrow

    names = found.facts["domains"]
    for result in found.directions.values():
        title = shown(f"{names[result.direction[0]]} → {names[result.direction[-1]]}")
        size = found.facts["size"]
        # A Text, as a name may look like markup.
        heading = Text(f"{title}, {counted(len(result.names), 'image')} at {size} x {size}", style="table.title")
        table = Table(title=heading, box=None, title_justify="left")
        for column in ("", "translations", "floor: real images", "untranslated"):
            table.add_column(column, justify="left" if not column else "right", no_wrap=bool(column) or not _narrow())
        for row in result.rows.values():
            figures = (formatted(interval, row.metric.digits) for interval in (row.made, row.floor, row.untranslated))
            table.add_row(Text(shown(label_with_arrow(row))), *_fitting(figures))  # a Text, as for the names
        console(width=_WIDTH).print(table)
        if result.two_sample_p is not None:
            print_sentence(f"Two-sample test of translations and real images: p = {result.two_sample_p:.3f}")
        print_sentence(f"Verdict: {shown(found.verdict(result.direction).sentence)}")
        if result.direction in found.baseline:
            console(width=_WIDTH).print(_baseline_table(title, found.baseline[result.direction]))


def _baseline_table(title: str, compared: Comparison) -> Table:
    """Return the figures of the baseline beside those of the model and of untranslated images, on the same images."""
    from unpaired.evaluation.page import baseline_cells, label_with_arrow

    heading = Text(f"{title}, style transfer, the first {len(compared.model.names)} images", style="table.title")
    table = Table(title=heading, box=None, title_justify="left")
    for column in ("", "translations", "style transfer", "untranslated"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=bool(column) or not _narrow())
    for row, cells in baseline_cells(compared):
        table.add_row(Text(shown(label_with_arrow(row))), *_fitting(cells))
    return table


def _fitting(figures: Iterable[str]) -> list[str]:
    """Return figures, with their intervals below them on a narrow terminal."""
    return [figure.replace(" [", "\n[") if _narrow() else figure for figure in figures]


def _narrow() -> bool:
    """Return whether three figures with intervals do not fit beside their names."""
    return console(width=_WIDTH).width < _WIDTH
