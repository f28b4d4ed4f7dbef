"""The verdict of an evaluation: whether a model is better than no translation, by the intervals of the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unpaired.evaluation.intervals import Interval

if TYPE_CHECKING:
    from unpaired.evaluation.evaluating import DirectionResult, Row

Outcome = Literal["better", "worse", "mixed", "undecided", "unknown"]

_AGAINST_TRUTH = ("l1", "psnr", "ssim")
_OF_SETS = ("kernel_distance", "density", "coverage", "two_sample_accuracy")
"""Figures that decide, with truth and without. The others count single pixels or single scales."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a direction, the labels of the figures behind it, and the sentence for the user.

    Better or worse: every figure whose interval is apart from that of the untranslated images agrees. Mixed: they
    disagree. Undecided: all intervals overlap. Unknown: nothing can be compared.
    """

    outcome: Outcome
    better: tuple[str, ...]
    worse: tuple[str, ...]
    sentence: str

    def to_dict(self) -> dict[str, object]:
        """Return the verdict by name."""
        return {
            "than_no_translation": self.outcome,
            "better_by": list(self.better),
            "worse_by": list(self.worse),
            "sentence": self.sentence,
        }


def verdict_of(result: DirectionResult, domains: Mapping[str, str], *, truth: bool) -> Verdict:
    """Compare the translations of a direction with the untranslated images.

    With truth by L1, PSNR and SSIM; else by kernel distance, density, coverage and two-sample accuracy. Two figures
    differ if their 95 % intervals do not overlap.

    domains: names of the domains by letter.
    """
    deciding = _AGAINST_TRUTH if truth else _OF_SETS
    rows = [
        result.rows[kind] for kind in deciding if kind in result.rows and result.rows[kind].untranslated is not None
    ]
    signs = {row.metric.label.partition(",")[0]: _sign(row) for row in rows}
    better, worse = (tuple(label for label, sign in signs.items() if sign == wanted) for wanted in (1, -1))
    name = f"{domains[result.direction[0]]} to {domains[result.direction[-1]]}"
    if not rows:
        return Verdict("unknown", (), (), f"{name}: no verdict, because {_reason(result, truth)}.")
    against = "the truth" if truth else "the real images as a set, without truth for single images,"
    if better and worse:
        sentence = (
            f"{name}: neither better nor worse than no translation: nearer to {against} by {_listed(better)}, further "
            f"from it by {_listed(worse)}."
        )
        return Verdict("mixed", better, worse, sentence)
    if better:
        return Verdict(
            "better", better, (), f"{name}: better than no translation; nearer to {against} by {_listed(better)}."
        )
    if worse:
        return Verdict(
            "worse",
            (),
            worse,
            f"{name}: worse than no translation; further from {against} than the inputs by {_listed(worse)}.",
        )
    labels = _listed(tuple(signs))
    return Verdict(
        "undecided", (), (), f"{name}: not distinguishable from no translation; all intervals of {labels} overlap."
    )


def _sign(row: Row) -> int:
    """Return 1 if the translations are better than the untranslated images, -1 if worse, 0 if the intervals overlap."""
    assert row.untranslated is not None
    lower, higher = _below(row.made, row.untranslated), _below(row.untranslated, row.made)
    if not (lower or higher):
        return 0
    return 1 if lower == (row.metric.better == "less") else -1


def _below(one: Interval, other: Interval) -> bool:
    return one.high < other.low  # False for NaN


def _reason(result: DirectionResult, truth: bool) -> str:
    if any(row.floor is not None for row in result.rows.values()) or truth:
        return "the domains have different channels, so that untranslated images cannot be compared"
    return "there are no pairs, and too few images of a domain to compare them as sets"


def _listed(labels: tuple[str, ...]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
