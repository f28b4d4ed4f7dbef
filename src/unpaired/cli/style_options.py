"""`unpaired translate --style`: opens the style, reports progress, and refuses options that need a model."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import CycloptsError

from unpaired.config import require
from unpaired.errors import ModelError
from unpaired.launch import launched
from unpaired.live_line import erase, has_live_line, rewrite
from unpaired.models.model_folder import find_model
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence
from unpaired.translate.jobs import find_images
from unpaired.translate.style_images import StyleImages
from unpaired.translate.style_transfer import StyleTransfer, style_translator
from unpaired.words import duration

if TYPE_CHECKING:
    from unpaired.cli.translation import TranslateOptions
    from unpaired.translate.translator import Translator

_FIRST_REPORT, _SPACING = 10.0, 30.0  # seconds, in a log file


@dataclass(frozen=True, kw_only=True)
class StyleOptions:
    """The options of style transfer; None where none was given. style: an image or a folder of images."""

    style: Path | None
    features: str | None
    strength: float | None
    iterations: int | None

    def settings(self) -> StyleTransfer:
        """Return the settings of the optimisation. Raises ConfigError."""
        given = {"features": self.features, "strength": self.strength, "num_iterations": self.iterations}
        return replace(StyleTransfer(), **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def refuse_unsuitable(
    style: StyleOptions,
    options: TranslateOptions,
    model: Path,
    inputs: tuple[str, ...],
    *,
    scores: bool,
    precision: str,
    backend: str,
    resize: str,
    detail: bool,
    step: int | None,
) -> tuple[str, ...]:
    """Return the inputs to translate: with a style, MODEL is the first of them.

    Raises ConfigError if options of a model and of a style, or scores and another step, are combined, CycloptsError if
    there is no input.
    """
    require(
        step is None or not scores,
        "--scores and --keep-best are for the published model, and --step translates with another one; leave one out.",
    )
    if style.style is None:
        for name in ("features", "iterations"):
            require(
                getattr(style, name) is None,
                f"--{name} is an option of style transfer; add --style with an image or a folder, or leave it out.",
            )
        if not inputs:
            try:
                find_model(model)
                words = f"{shown(model)} IMAGE..."
            except ModelError:
                words = f"RUN {shown(model)}"
            raise CycloptsError(msg=f"Give images to translate after the model: unpaired translate {words}")
        return inputs
    needs_model = {
        "--direction BtoA": options.direction == "BtoA",
        "--scores and --keep-best": scores,
        "--masks": options.masks is not None,
        "--precision bf16": precision == "bf16",
        f"--resize {resize}": resize != "native",
        "--detail": detail,
        f"--step {step}": step is not None,
        f"--backend {backend}": backend != "torch",
    }
    for option, given in needs_model.items():
        require(not given, f"{option} cannot be combined with --style, which uses no model; leave it out.")
    for place in (model, style.style):
        require(
            not (place / "model.json").is_file() and not (place / "config.yaml").is_file(),
            f"{shown(place)} is a model or a run, and --style uses none; give images only, or leave out --style.",
        )
    return (str(model), *inputs)


def open_style(style: StyleOptions, *, device: str, max_pixels: int | None) -> Translator:
    """Return the translator that transfers the style, and print a sentence about it.

    Raises DataError if there is no style image, and as `style_translator` does.
    """
    assert style.style is not None
    settings = style.settings()
    files = [path for _, path in find_images([style.style], purpose="style image").images]
    images = StyleImages.of_files(files)
    opened = style_translator(images, settings, device=device, max_pixels=max_pixels, progress=_Report())
    many = "1 image" if len(images) == 1 else f"{len(images)} images, averaged"
    print_sentence(
        f"Style of {many}: {shown(style.style)}   Features: {shown(settings.features)}   "
        f"{settings.num_iterations} iterations an image"
    )
    return opened


class _Report:
    """Shows the progress of an image: as the live line of a terminal, now and then as a line in a log file."""

    def __init__(self) -> None:
        self._start = self._printed = time.monotonic()

    def __call__(self, iteration: int, number: int) -> None:
        """Show the progress, in a log file on standard error and if enough time has passed; rank 0 only."""
        now = time.monotonic()
        if iteration == 1:
            self._start, self._printed = now, now - _SPACING + _FIRST_REPORT
        if launched().rank or not (has_live_line() or now - self._printed >= _SPACING):
            return
        self._printed = now
        left = (now - self._start) / max(iteration - 1, 1) * (number - iteration)
        line = f"iteration {iteration}/{number}  {duration(left)} left"
        if not has_live_line():
            print(line, file=sys.stderr, flush=True)
        elif iteration < number:
            rewrite(line)
        else:
            erase()
