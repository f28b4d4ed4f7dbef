"""Whether the best step by held-out images is the best by truth: runs whose checkpoints were all kept, looked at again.

    python benchmarks/best_checkpoint.py look OUT.json RUN...     every checkpoint, as a run with valA and valB would
    python benchmarks/best_checkpoint.py table OUT.json RUN...    what the rule would have published, beside the best

The runs are those on scenes of time_to_quality.py, trained and scored. The held-out images are drawn afresh: 32 summers
and 32 winters of other scenes than the runs', and than one another's, so that nothing is known of what a translation
should be; four such sets, to see how much of a choice is luck of the draw. The truth is RUN/scores.jsonl: PSNR and SSIM
of 100 test scenes, the mean of both directions. None of them takes part in a choice.

With --maps DATA the runs are those on maps, and the held-out images two sets of halves of pairs whose other half was
trained on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image as Picture
from time_to_quality import STORED

from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.config import read_yaml
from unpaired.data.domains import open_domains
from unpaired.data.held_out import HeldOutImages
from unpaired.data.sources import FolderSource
from unpaired.recipes import Config
from unpaired.runs import build_objective
from unpaired.runs.validation_setup import MOST
from unpaired.scenes.draw import draw_dataset
from unpaired.selection.early_stopping import PLATEAU, detect_plateau, with_early_stopping
from unpaired.selection.rule import distance, select_best
from unpaired.selection.validation import StepEvaluation
from unpaired.selection.validation_metrics import ValidationMetrics
from unpaired.training.schedule import Schedule

DRAWS = (1001, 1002, 1003, 1004)
"""Seeds of the held-out scenes; the runs' own have seed 0."""

KINDS = {"paper": "trained", "small": "averaged"}
"""By recipe, the weights that a run of it publishes."""

FIGURES = ("psnr", "ssim")
NEAR = 0.05

Choices = dict[str, Callable[[Sequence[StepEvaluation]], StepEvaluation]]


def chosen(evaluations: Sequence[StepEvaluation]) -> StepEvaluation:
    """Return the evaluation that the rule takes."""
    found = select_best(evaluations)
    assert found is not None
    return found


WAYS: Choices = {
    "rule": chosen,
    "smallest distance": lambda evaluations: min(evaluations, key=distance),
    "last": lambda evaluations: evaluations[-1],
}


def recipe_of(run: Path) -> str:
    """Return the recipe's name in a run's, as in scenes-paper-0."""
    return run.name.split("-")[1]


def held_out(config: Config, seed: int, folder: Path, maps: Path | None) -> ValidationMetrics:
    """Draw held-out scenes, or cut held-out maps, and treat them as a run does."""
    if maps is None:
        draw_dataset(folder, a="summer", b="winter", count=MOST, size=64, seed=seed, num_test=0)
    else:
        cut(maps, folder, DRAWS.index(seed))
    images = HeldOutImages(FolderSource(folder / "trainA"), FolderSource(folder / "trainB"), "none of the run's")
    batch = images.batch(open_domains(config.data), config.data, config.run.seed)
    return ValidationMetrics(batch.a, batch.b)


def cut(maps: Path, folder: Path, offset: int) -> None:
    """Cut the halves of pairs that `time_to_quality.prepare` leaves out, every second from an offset on."""
    files = sorted(maps.joinpath("train").iterdir(), key=lambda path: int(path.stem))
    half = len(files) // 2
    for name, unused, side in (("trainA", files[half:], 0), ("trainB", files[:half], 1)):
        folder.joinpath(name).mkdir(parents=True)
        for path in unused[offset::2][:MOST]:
            with Picture.open(path) as pair:
                edge = pair.width // 2
                part = pair.convert("RGB").crop((side * edge, 0, (side + 1) * edge, pair.height))
            part.resize((STORED, STORED), Picture.Resampling.LANCZOS).save(folder / name / f"{path.stem}.png")


@torch.no_grad()
def look_at(run: Path, kind: str, seed: int, by_step: dict[str, dict[str, float]], maps: Path | None) -> None:
    """Add to `by_step` the figures of every checkpoint of a run, with one kind of weights and one set of images."""
    config = read_yaml(Config, run / "config.yaml")
    objective = build_objective(config).eval()
    with TemporaryDirectory() as folder:
        images = held_out(config, seed, Path(folder), maps)
    for path in reversed(list_checkpoints(run / "checkpoints")):
        step = str(int(path.name.removeprefix("step-")))
        if step in by_step:
            continue
        parts = load_checkpoint(path).parts
        objective.load_state_dict(parts["weights"])
        if kind == "averaged":
            objective.translators.load_state_dict(parts["average"])
        by_step[step] = images.figures(objective.generators())


def evaluations_of(by_step: dict[str, dict[str, float]]) -> list[StepEvaluation]:
    """Return the evaluations in the order of their steps."""
    return [StepEvaluation(int(step), by_step[step]) for step in sorted(by_step, key=int)]


def truth_of(run: Path, kind: str) -> dict[int, dict[str, float]]:
    """Return by step the figures against truth, each the mean of the directions."""
    found = {}
    for line in map(json.loads, (run / "scores.jsonl").read_text(encoding="utf-8").splitlines()):
        if line["weights"] == kind:
            each = {name: [line[way][name]["value"] for way in ("AtoB", "BtoA")] for name in FIGURES}
            found[line["step"]] = {name: statistics.fmean(values) for name, values in each.items()}
    return found


def behind(truth: dict[int, dict[str, float]], step: int, figure: str) -> float:
    """Return by what share of the best value a step is worse than the best step, 0 or more."""
    best = max(figures[figure] for figures in truth.values())
    return (best - truth[step][figure]) / best


Series = list[tuple[str, str, str, list[StepEvaluation], dict[int, dict[str, float]]]]
"""Run, weights, seed of the held-out images, evaluations, truth by step."""


def series(everything: dict[str, Any], runs: Sequence[Path]) -> Series:
    """Return all that was looked at."""
    return [
        (run.name, kind, seed, evaluations_of(by_step), truth_of(run, kind))
        for run in runs
        for kind, by_seed in everything[run.name].items()
        for seed, by_step in by_seed.items()
    ]


def chosen_table(all_series: Series) -> None:
    """Print for each run the best by truth, and what each way takes with each set of held-out images."""
    print(
        "| run | weights | best by PSNR | best by SSIM | way | steps, by set | PSNR | SSIM | behind in PSNR | in SSIM |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for run, kind in dict.fromkeys((run, kind) for run, kind, *_ in all_series):
        those = [
            (evaluations, truth) for one, other, _, evaluations, truth in all_series if (one, other) == (run, kind)
        ]
        truth = those[0][1]
        tops = [max(truth, key=lambda step, figure=figure: truth[step][figure]) for figure in FIGURES]
        best = " | ".join(f"{truth[top][name]:.4g} at {top}" for top, name in zip(tops, FIGURES, strict=True))
        for way, choose_by in WAYS.items():
            steps = [choose_by(evaluations).step for evaluations, _ in those]
            shown = str(steps[0]) if len({*steps}) == 1 else ", ".join(map(str, steps))
            values = " | ".join(spread([truth[step][name] for step in steps], "{:.4g}") for name in FIGURES)
            shares = " | ".join(
                spread([100 * behind(truth, step, name) for step in steps], "{:.1f}") + " %" for name in FIGURES
            )
            print(f"| {run} | {kind} | {best} | {way} | {shown} | {values} | {shares} |")


def spread(values: Sequence[float], form: str) -> str:
    """Return the smallest and the largest of some values, once where they read the same."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def near_table(all_series: Series, least: int | None) -> None:
    """Print how often each way is within 5 % of the best, at the end of the runs or at each evaluation from one on."""
    print("\n| recipe | weights | way | within 5 % by PSNR | by SSIM | behind in SSIM, at worst | in the mean |")
    print("|---|---|---|---|---|---|---|")
    for recipe, kind in dict.fromkeys((run.split("-")[1], kind) for run, kind, *_ in all_series):
        those = [
            (evaluations, truth)
            for run, other, _, evaluations, truth in all_series
            if (run.split("-")[1], other) == (recipe, kind)
        ]
        ends = [
            (evaluations[:count], {evaluation.step: truth[evaluation.step] for evaluation in evaluations[:count]})
            for evaluations, truth in those
            for count in ([len(evaluations)] if least is None else range(least, len(evaluations)))
        ]
        taken = {
            way: [(choose_by(evaluations).step, truth) for evaluations, truth in ends]
            for way, choose_by in WAYS.items()
        }
        if least is None:
            taken["any of its steps"] = [
                (evaluation.step, truth) for evaluations, truth in ends for evaluation in evaluations
            ]
        for way, pairs in taken.items():
            shares = {figure: [behind(truth, step, figure) for step, truth in pairs] for figure in FIGURES}
            cells = " | ".join(f"{sum(share <= NEAR for share in each)} of {len(each)}" for each in shares.values())
            worst, mean = max(shares["ssim"]), statistics.fmean(shares["ssim"])
            print(f"| {recipe} | {kind} | {way} | {cells} | {worst:.1%} | {mean:.1%} |")


def flat_table(all_series: Series, runs: Sequence[Path]) -> None:
    """Print where --stop-when-flat would first have acted, as far as evaluations of runs that went on can tell.

    Where it brings the decay forward, what comes after cannot be told from a run that did not.
    """
    print("\n| run | weights | held-out set | first finding | what it would do | SSIM there behind the run's last |")
    print("|---|---|---|---|---|---|")
    configs = {run.name: read_yaml(Config, run / "config.yaml") for run in runs}
    for run, kind, seed, evaluations, truth in all_series:
        schedule = Schedule(configs[run].schedule, epoch_length=600, batch_size=1)
        for count in range(1, len(evaluations)):
            found = detect_plateau(evaluations[:count], schedule)
            if found is not None:
                step, last = evaluations[count - 1].step, evaluations[-1].step
                shorter = with_early_stopping(schedule, [{"kind": PLATEAU, **found.details}])
                lost = 1 - truth[step]["ssim"] / truth[last]["ssim"]
                does = "end" if "end" in found.details else f"decay from here, end at {shorter.num_steps} of {last}"
                print(f"| {run} | {kind} | {seed} | {step} | {does} | {lost:.1%} |")
                break
        else:
            print(f"| {run} | {kind} | {seed} | never | | |")


def main() -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["look", "table"])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--maps", type=Path)
    given = parser.parse_args()
    seeds = DRAWS[:2] if given.maps else DRAWS
    torch.set_num_threads(1)
    everything = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.verb == "look":
        for seed, run in itertools.product(seeds, given.runs):
            kind = KINDS[recipe_of(run)]
            of_kind = everything.setdefault(run.name, {}).setdefault(kind, {})
            look_at(run, kind, seed, of_kind.setdefault(str(seed), {}), given.maps)
            given.out.write_text(json.dumps(everything))
            print(run.name, kind, seed, flush=True)
        return
    all_series = series(everything, given.runs)
    chosen_table(all_series)
    near_table(all_series, None)
    print("\nStopped at any evaluation from the fourth to the last but one:")
    near_table(all_series, 4)
    flat_table(all_series, given.runs)


if __name__ == "__main__":
    main()
