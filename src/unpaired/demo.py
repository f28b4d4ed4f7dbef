"""The built-in demo: train summer <-> winter on unpaired drawn scenes, and evaluate against the ground truth.

The protocol is fixed. The training scenes of both domains have disjoint seeds. The test scenes have other seeds and are
drawn in both styles. The model is compared with no translation and with the best global colour transform, which,
unlike the model, is fitted to the ground truth.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from unpaired.artifacts.samples import draw_samples, write_samples
from unpaired.config import override
from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.evaluation.colour import ColourTransform
from unpaired.evaluation.truth import Scores, score
from unpaired.recipes import demo as demo_recipe
from unpaired.runs.context import Allowed
from unpaired.runs.entry import train_config
from unpaired.scenes.draw import draw_dataset
from unpaired.storage import write_bytes
from unpaired.training.progress import Progress
from unpaired.translate.jobs import plan_outputs
from unpaired.translate.translating import translate_files
from unpaired.translate.translator import Translator

_log = logging.getLogger("unpaired")

STYLES = {"A": "summer", "B": "winter"}
DIRECTIONS = {"AtoB": ("testA", "testB"), "BtoA": ("testB", "testA")}


@dataclass(frozen=True)
class DemoResult:
    """Duration in seconds, and scores by method ("model", "none", "colour") and direction."""

    seconds: float
    scores: dict[str, dict[str, Scores]]

    @property
    def model_wins(self) -> bool:
        """Return whether the model has the best PSNR and the best SSIM in both directions."""
        rivals = (self.scores["none"], self.scores["colour"])
        return all(
            model.psnr > rival[direction].psnr and model.ssim > rival[direction].ssim
            for direction, model in self.scores["model"].items()
            for rival in rivals
        )


def run_demo(
    out: Path,
    *,
    num_train: int = 600,
    num_test: int = 100,
    num_steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    listener: Callable[[Progress], None] = lambda progress: None,
) -> DemoResult:
    """Draw, train, translate and evaluate in the run folder `out`; an interrupted demo resumes.

    Writes demo.json, demo.png (contact sheet of real, translated and ground truth) and translated/ into `out`.

    num_train: training scenes per domain.
    num_steps: training steps, None for the recipe's number.

    Raises the same errors as `unpaired.train`.
    """
    start = time.monotonic()
    config = override(demo_recipe(), {"run.seed": seed, "run.device": device})
    if num_steps is not None:
        config = override(config, {"schedule.num_steps": num_steps})
    data = out / "data"
    size = config.data.crop_size
    _log.info(f"Drawing {num_train} summer scenes, {num_train} other winter scenes and {num_test} test scenes.")
    draw_dataset(data, a=STYLES["A"], b=STYLES["B"], count=num_train, size=size, seed=seed, num_test=num_test)
    config = replace(config, data=replace(config.data, root=str(data), name_a=STYLES["A"], name_b=STYLES["B"]))
    train_config(config, recipe="demo", out=out, listener=listener, allowed=Allowed())

    _log.info("Translating the test scenes and comparing them with the ground truth.")
    translator = Translator.load(out, device=device, precision="fp32")
    for direction, (source, _) in DIRECTIONS.items():
        folder = out / "translated" / direction
        plan = plan_outputs([data / source], folder, overwrite=True, direction=direction)
        failures = translate_files(translator, plan.jobs, direction=direction, batch=8)
        if failures:
            raise failures[0].error
    scores: dict[str, dict[str, Scores]] = {"none": {}, "colour": {}, "model": {}}
    sheet = {}
    for direction, (source, target) in DIRECTIONS.items():
        real, truth = stacked(FolderSource(data / source)), stacked(FolderSource(data / target))
        made = stacked(FolderSource(out / "translated" / direction))
        colour = ColourTransform.fit([(real, truth)])(real)
        for name, images in (("none", real), ("colour", colour), ("model", made)):
            scores[name][direction] = score([(images, truth)])
        a, b = direction[0].lower(), direction[-1].lower()
        shown = {f"real_{a}": real, f"fake_{b}": made, f"truth_{b}": truth}
        sheet[direction] = {column: images[:6] for column, images in shown.items()}
    caption = "Test scenes, not used in training. The ground truth serves evaluation only; training had no pairs."
    write_samples(out / "demo.png", draw_samples(sheet, names=STYLES, caption=caption))
    result = DemoResult(time.monotonic() - start, scores)
    write_bytes(out / "demo.json", demo_json(result).encode())
    return result


def demo_json(result: DemoResult) -> str:
    """Return demo.json: {"seconds", "model": {"AtoB": {"l1", "psnr", "ssim"}, "BtoA": ...}, "none", "colour"}."""
    figures = {
        name: {direction: scores.to_dict() for direction, scores in by_direction.items()}
        for name, by_direction in result.scores.items()
    }
    return json.dumps({"seconds": round(result.seconds, 1), **figures}, indent=1) + "\n"
