"""The verbs of the package as functions, where the work is done by a class or takes settings as an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unpaired.config import override, require
from unpaired.doctor.checkup import Checkup, check_data
from unpaired.evaluation import Metric
from unpaired.evaluation.evaluating import Evaluation, Settings
from unpaired.evaluation.evaluating import evaluate as evaluate_with
from unpaired.interop import EXPORTERS, ExportResult
from unpaired.interop.official import Imported, import_official
from unpaired.interop.running import run_exporter
from unpaired.recipes import at_size, paper
from unpaired.storage import at_home
from unpaired.suggestions import unknown

_PAIRINGS = ("unpaired", "paired", "noise")


def check(
    data: str | Path = "",
    *,
    a: str | Path = "",
    b: str | Path = "",
    size: int | None = None,
    preprocess: str | None = None,
    pairing: str = "",
    range: str = "dtype",
    channels_a: int = 3,
    channels_b: int = 3,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checkup:
    """Inspect every file of a data folder as training would and return the findings, as `unpaired data check` does.

    data: folder that holds trainA and trainB, or pairs; or any folder of images. a, b: the folders of the domains
    instead. size: side of the training crops in pixels, None for 256. preprocess: "resize_and_crop", "crop",
    "scale_width", "scale_width_and_crop" or "none", None for the recipe's. pairing: "unpaired", "paired" or "noise", ""
    to infer it. range: the values that become black and white: "dtype", "LOW..HIGH" or percentiles "pLOW..pHIGH".
    channels_a, channels_b: channels of the images in training. progress: called with the files done and all files.
    Raises DataError if a folder is missing, and ConfigError for settings that do not fit each other.
    """
    require(pairing in ("", *_PAIRINGS), unknown(f"{pairing!r} for pairing", _PAIRINGS, "choice"))
    settings = {
        "data.root": str(data),
        "data.a": str(a),
        "data.b": str(b),
        "data.range": range,
        "data.channels_a": channels_a,
        "data.channels_b": channels_b,
        **({} if preprocess is None else {"data.preprocess": preprocess}),
    }
    config = override(paper() if size is None else at_size(paper(), size), settings).data
    return check_data(config, pairing=pairing, progress=progress)


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    size: int | None = None,
    count: int = 2000,
    truth: bool | None = None,
    unseen: bool = False,
    metrics: Sequence[Metric] = (),
    device: str = "auto",
) -> Evaluation:
    """Translate the test images of a data folder with a run or model folder and return its figures with intervals.

    size: side in pixels that images are resized to, None for that of training. count: at most so many images a domain,
    the first ones. truth: whether images of equal name are each other's truth, None to infer it. unseen: leave out the
    images that selected the checkpoint. metrics: further ones than those that are registered. device: "auto", "cpu",
    "cuda", "cuda:N" or "mps". Raises DataError, ModelError, ConfigError.
    """
    settings = Settings(size=size, count=count, truth=truth, unseen=unseen, metrics=tuple(metrics))
    return evaluate_with(model, data, settings=settings, device=device)


def import_weights(path: str | Path, out: str | Path, *, network: str | None = None) -> Imported:
    """Make the model folder `out` of weights of the official code and its relatives, and return the result.

    path: a .pth file, or a folder of them such as checkpoints/NAME. network: the generator to take of a file that holds
    several, such as "netG_A". Files are read without running code in them. Raises ModelError, naming the file and the
    first thing that does not fit, and OutputError if `out` exists.
    """
    return import_official(at_home(path), at_home(out), network)


def export(model: str | Path, out: str | Path, *, format: str = "official") -> ExportResult:
    """Write a run or model folder into the folder `out` for another program, and return the files.

    format: kind of an exporter: "official" (.pth files of the official code), "torch-export" (a torch.export program),
    or one that a package or you registered. Raises ModelError, OutputError, and ConfigError for an unknown format.
    """
    return run_exporter(EXPORTERS, format, "format", at_home(model), at_home(out))
