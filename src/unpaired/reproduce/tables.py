"""The tables: labels to photo and photo to labels of each method, evaluated as in the paper, with its results."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unpaired.data.sources import FolderSource
from unpaired.data.stacked import stacked
from unpaired.evaluation.segmentation import IGNORE, confusions, nearest_colours, segmentation_scores
from unpaired.evaluation.truth import score
from unpaired.networks.feature_sources import open_features
from unpaired.reproduce.labelled import Labelled
from unpaired.reproduce.methods import config_of, translations, trials
from unpaired.reproduce.published import FIGURES, LABELS_TO_PHOTO, PHOTO_TO_LABELS
from unpaired.reproduce.reader import Reader, reader_sha256, trained_reader
from unpaired.runs import train
from unpaired.storage import write_bytes
from unpaired.training.progress import Progress
from unpaired.words import counted

_log = logging.getLogger("unpaired")

_SCORES = "scores.json"

REAL = "real images"
"""The row with the segmentation of real photographs, the score of a perfect translation."""

UNTRANSLATED = "no translation"
"""The row of the inputs themselves: label maps read as photographs, photographs read as label maps."""

_NOTES = {
    "cogan": "coupled networks of its own, 32 images per step where the others take one.",
    "feature-gan": "features {0.features}; the paper's are relu4_2 of VGG-16.",
    "cut": "not in the paper.",
}
"""What the page states of a method whose conditions are not those of the others, or of the paper."""

Scores = dict[str, float]


@dataclass(frozen=True)
class Table:
    """Scores by direction, method and seed, and the conditions of the evaluation."""

    rows: Mapping[str, Mapping[str, Mapping[int, Scores]]]
    steps: int
    seeds: tuple[int, ...]
    num_test: int
    features: str = "random"

    def to_json(self) -> str:
        """Return the scores as JSON; null for non-finite ones, such as the PSNR of identical images."""
        rows = {
            direction: {
                method: {
                    seed: {name: value if math.isfinite(value) else None for name, value in scores.items()}
                    for seed, scores in by_seed.items()
                }
                for method, by_seed in by_method.items()
            }
            for direction, by_method in self.rows.items()
        }
        return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def make_table(
    data: Labelled,
    out: Path,
    *,
    methods: Sequence[str],
    seeds: tuple[int, ...],
    steps: int,
    reader_steps: int = 1000,
    features: str = "random",
    listener: Callable[[Progress], None] = lambda progress: None,
) -> Table:
    """Train missing runs of methods × seeds, and evaluate all. The same call resumes an interrupted one.

    features: those of the method feature-gan. Raises the same errors as `unpaired.train`.
    """
    if "feature-gan" in methods:
        open_features(features, channels=3)  # a missing file is reported before hours of training
    reader = trained_reader(data, out, num_steps=reader_steps)
    labels, photos = (stacked(FolderSource(data.unpaired / f"test{domain}")) for domain in "AB")
    inputs = {"AtoB": labels, "BtoA": photos}
    judge = Judge(data, reader, labels, photos)
    rows: dict[str, dict[str, dict[int, Scores]]] = {
        "AtoB": {REAL: {0: judge.scores("AtoB", photos)}, UNTRANSLATED: {0: judge.scores("AtoB", labels)}},
        "BtoA": {UNTRANSLATED: {0: judge.scores("BtoA", photos)}},
    }
    table = Table(rows, steps, seeds, len(labels), features)
    for trial in trials(tuple(methods), seeds):
        _log.info(f"{trial.method}, seed {trial.seed}:")
        folder = trial.folder(out)
        run = train(config_of(trial, data, steps, features), out=folder, listener=listener)
        key = f"{run.state_sha256} read by {reader_sha256(reader)} on {len(labels)} images"
        found = _kept(folder / _SCORES, key)
        if found is None:
            made = translations(trial, folder, inputs)
            found = {direction: judge.scores(direction, images) for direction, images in made.items()}
            write_bytes(folder / _SCORES, json.dumps({"key": key, "scores": found}, indent=1).encode())
        for direction, scores in found.items():
            rows[direction].setdefault(trial.method, {})[trial.seed] = scores
        write_bytes(out / "table.json", table.to_json().encode())
    return table


def _kept(path: Path, key: str) -> dict[str, Scores] | None:
    """Return the scores of an earlier call by direction, None if there are none of this model and reader."""
    try:
        kept = json.loads(path.read_bytes())
        return dict(kept["scores"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Judge:
    """Evaluates translations against ground truth: photographs by segmentation, label maps by the nearest colour."""

    def __init__(self, data: Labelled, reader: Reader, labels: Tensor, photos: Tensor) -> None:
        self._data, self._reader = data, reader
        self._truths = {"AtoB": photos, "BtoA": labels}
        self._palette = list(data.palette.values())
        self._classes = nearest_colours(labels, self._palette)
        if data.void is not None:
            self._classes = torch.where(
                self._classes == data.void, torch.full_like(self._classes, IGNORE), self._classes
            )

    def scores(self, direction: str, made: Tensor) -> Scores:
        """Return the paper's three scores, then PSNR and SSIM against the ground truth."""
        found = self._reader.read(made) if direction == "AtoB" else nearest_colours(made, self._palette)
        confusion = confusions(found, self._classes, len(self._palette))
        read = segmentation_scores([confusion], resamples=10)
        against = score([(made, self._truths[direction])])
        return {**{name: read[name].value for name in FIGURES}, "psnr": against.psnr, "ssim": against.ssim}


def to_markdown(table: Table) -> str:
    """Return both tables as Markdown, with the paper's results and a sentence about the ranking of methods."""
    parts = [
        f"{counted(len(table.seeds), 'seed')} of {counted(table.steps, 'step')}; mean [smallest, largest]; "
        f"{counted(table.num_test, 'test image')}.\n"
    ]
    methods = {name for by_method in table.rows.values() for name in by_method}
    parts += [f"{name}: {note.format(table)}\n" for name, note in _NOTES.items() if name in methods]
    titles = {"AtoB": ("Labels to photo", LABELS_TO_PHOTO), "BtoA": ("Photo to labels", PHOTO_TO_LABELS)}
    for direction, (title, published) in titles.items():
        parts += [
            f"\n### {title}\n",
            "| | per-pixel | per-class | class IoU | paper | PSNR | SSIM |",
            "|---|---|---|---|---|---|---|",
        ]
        for method, by_seed in table.rows[direction].items():
            cells = [spread([scores[name] for scores in by_seed.values()], 3) for name in FIGURES]
            paper = " / ".join(f"{value:.2f}" for value in published[method]) if method in published else "–"
            cells += [
                paper,
                *(spread([s[name] for s in by_seed.values()], n) for name, n in (("psnr", 2), ("ssim", 3))),
            ]
            parts.append(f"| {method} | {' | '.join(cells)} |")
        parts.append(f"\n{agreement(table, direction, published)}")
    return "\n".join(parts) + "\n"


def agreement(table: Table, direction: str, published: Mapping[str, Sequence[float]]) -> str:
    """Return a sentence: whether the paper's order by mean class IoU holds, and which pairs of methods are reversed.

    Of a reversed pair it states whether the ranges of the seeds overlap. Methods of equal rank are no pair.
    """
    iou = {
        name: [scores["class_iou"] for scores in by_seed.values()] for name, by_seed in table.rows[direction].items()
    }
    mean = {name: sum(values) / len(values) for name, values in iou.items()}
    shared = [name for name in published if name in iou]
    pairs = [(x, y) for x in shared for y in shared if published[x][2] > published[y][2]]
    if not pairs:
        return "The paper ranks none of these methods."
    other = [
        f"{x} over {y}{' (the ranges of the seeds overlap)' if max(iou[x]) >= min(iou[y]) else ''}"
        for x, y in pairs
        if mean[x] <= mean[y]
    ]
    if not other:
        return f"The paper's order by class IoU holds for every pair of methods ({len(pairs)})."
    return (
        f"The paper's order by class IoU holds in {len(pairs) - len(other)} of {counted(len(pairs), 'pair')} of "
        f"methods; not for {', '.join(other)}."
    )


def spread(values: Sequence[float], digits: int) -> str:
    """Return mean [smallest, largest], the value alone if there is only one, or – if it is non-finite."""
    mean = sum(values) / len(values)
    if not math.isfinite(mean):
        return "–"
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"
