"""The guardian: checks a run for the typical failures of these methods, and reports each with its figure and remedy.

A failure is a pure function of the checks so far, and the checks are the lines of RUN/guardian.jsonl. That file is the
only state of the guardian: a run that continues truncates it to its step, and continues as if it had never stopped.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from unpaired.artifacts.history import History
from unpaired.data.datasets import Batch
from unpaired.monitoring.observe import observe
from unpaired.monitoring.rewind import Finding, num_kept, treated
from unpaired.objectives.losses import adversarial_loss
from unpaired.selection.validation import StepEvaluation, append_evaluation, truncate_evaluations
from unpaired.training.callbacks import Request, StepView
from unpaired.training.state import TrainingState

Mode = Literal["off", "warn", "rewind"]

PROBE = 4
"""Largest number of images in the probe."""

MIN_CHECKS = 3
"""Checks in a row with a failure before it is reported."""

INVERTED = -0.3
"""Correlation of input and translation below which colours count as inverted; healthy: labels to photos .8, summer to
winter .2, untrained networks -.4 to .1."""

COLLAPSED = 0.1
"""Spread of translations, relative to real images, below which they count as one output; healthy: .66 and more."""

NEW_CHECKS = 10
"""Checks after which the outputs of a network must differ for the first time."""

WON, WON_CHECKS = 0.04, 5
"""Loss of a discriminator, relative to that of an undecided one, below which it has won; one batch may be chance."""

VANISHED = 1e-7
"""Root mean square of a player's gradient; near Adam's eps of 1e-8 the updates shrink with the gradient."""

EXPLODED, EXPLODED_CHECKS, KNOWN_CHECKS = 50.0, 2, 5
"""Largest gradient relative to the median of all earlier checks; checks in a row above it; least number before."""

BLOWN_UP, BLOWN_UP_CHECKS = 10.0, 2
"""Largest activation on a flat image, relative to that on real ones; healthy: .01 to .03."""


Checks = Sequence[StepEvaluation]
Settings = Mapping[str, Any]


def judge(checks: Checks, settings: Settings) -> list[Finding]:
    """Return the failures of the run after these checks, each once; settings: the run's, by dotted path."""
    found = dict[str, Finding]()
    for name in checks[-1].figures if checks else ():
        for ailment in _AILMENTS:
            finding = ailment(checks, name, settings)
            if finding is not None:
                found.setdefault(finding.ailment, finding)
    return list(found.values())


# ---- failures: each function judges one measurement, given by name, and returns None for those of the others ----


def inversion(checks: Checks, name: str, settings: Settings) -> Finding | None:
    """Colours are inverted: if both translators invert them, the cycle is consistent and no other loss rises."""
    if not name.startswith("correlation_"):
        return None
    since = _healthy_until(checks, name, lambda value: value < INVERTED, MIN_CHECKS)
    if since is None:
        return None
    weight, remedy = settings.get("objective.identity_weight"), _slower(settings, "generator")
    advice = "halve the generators' learning rate or try another --run.seed"
    if weight is not None and weight < 0.5 and _has_identity(settings):
        remedy, advice = {"objective.identity_weight": 0.5}, "an identity loss"
    advice += ", unless the domains are each other's negatives"
    figure = (
        f"input and translation {_last(name)} correlate by {_now(checks, name)}, below {INVERTED} {_row(MIN_CHECKS)}"
    )
    return Finding("colour inversion", figure, advice, remedy, since)


def collapse(checks: Checks, name: str, settings: Settings) -> Finding | None:
    """Every input becomes the same image, after a time of different outputs or for all of the first checks."""
    if not name.startswith("spread_"):
        return None
    since = _healthy_until(checks, name, lambda value: value < COLLAPSED, MIN_CHECKS)
    if since is None or (since == 0 and len(checks) < NEW_CHECKS):
        return None
    figure = (
        f"translations {_last(name)} of different images vary by {_now(checks, name)} times as much as real images, "
        f"below {COLLAPSED} {_row(MIN_CHECKS)}"
    )
    advice = "halve the generators' learning rate and not the discriminators'"
    return Finding("collapse to one output", figure, advice, _slower(settings, "generator"), since)


def discriminator_won(checks: Checks, name: str, settings: Settings) -> Finding | None:
    """A discriminator is nearly always right, so that its gradient carries little information for the generator."""
    loss = settings.get("objective.adversarial")
    undecided = None if loss is None else adversarial_loss(loss).undecided
    if not name.startswith("discriminator_") or undecided is None:
        return None
    lost = WON * undecided
    since = _healthy_until(checks, name, lambda value: value < lost, WON_CHECKS)
    if since is None:
        return None
    figure = f"the loss of {_last(name).upper()}'s is {_now(checks, name)}, below {lost:.2g} {_row(WON_CHECKS)}"
    advice = "halve the discriminators' learning rate"
    return Finding("discriminator has won", figure, advice, _slower(settings, "discriminator"), since)


def vanishing_gradient(checks: Checks, name: str, settings: Settings) -> Finding | None:
    """A player's gradient is so small that Adam makes no progress."""
    if not name.startswith("gradient_"):
        return None
    since = _healthy_until(checks, name, lambda value: value < VANISHED, MIN_CHECKS)
    if since is None:
        return None
    figure = f"that of the {_last(name)}s is {_now(checks, name)} a weight, below {VANISHED} {_row(MIN_CHECKS)}"
    advice = f"halve the {_last(name)}s' learning rate"
    return Finding("vanishing gradient", figure, advice, _slower(settings, _last(name)), since)


def exploding_gradient(checks: Checks, name: str, settings: Settings) -> Finding | None:
    """A player's gradient is far above its earlier values."""
    values = [check.figures[name] for check in checks if name in check.figures]
    if not name.startswith("gradient_") or len(values) < KNOWN_CHECKS + EXPLODED_CHECKS:
        return None
    usual = max(statistics.median(values[:-EXPLODED_CHECKS]), VANISHED)
    since = _healthy_until(checks, name, lambda value: value > EXPLODED * usual, EXPLODED_CHECKS)
    if since is None:
        return None
    figure = (
        f"that of the {_last(name)}s is {_now(checks, name)} a weight, above {EXPLODED:.0f} times the median before, "
        f"{usual:.2g}, {_row(EXPLODED_CHECKS)}"
    )
    advice = f"halve the {_last(name)}s' learning rate"
    return Finding("exploding gradient", figure, advice, _slower(settings, _last(name)), since)


def flat_blow_up(checks: Checks, name: str, settings: Settings) -> Finding | None:
    """An image of one colour drives the activations far beyond those of real images, or to NaN or infinity."""
    if not name.startswith("flat_"):
        return None
    since = _healthy_until(checks, name, lambda value: value > BLOWN_UP, BLOWN_UP_CHECKS)
    if since is None:
        return None
    figure = (
        f"an image of one colour drives activations {_last(name)} to {_now(checks, name)} times those of real images, "
        f"above {BLOWN_UP:.0f} {_row(BLOWN_UP_CHECKS)}"
    )
    advice = "leave out the flat images that `unpaired data check` lists, and halve the generators' learning rate"
    return Finding("flat-image blow-up", figure, advice, _slower(settings, "generator"), since)


_AILMENTS = (inversion, collapse, discriminator_won, vanishing_gradient, exploding_gradient, flat_blow_up)


def _healthy_until(checks: Checks, name: str, bad: Callable[[float], bool], num_checks: int) -> int | None:
    """Return the step of the last good check, 0 without one; None unless the last `num_checks` checks are bad."""
    count = 0
    for check in reversed(checks):
        if name not in check.figures or not bad(check.figures[name]):
            break
        count += 1
    if count < num_checks:
        return None
    return checks[-count - 1].step if count < len(checks) else 0


def _now(checks: Checks, name: str) -> str:
    return f"{checks[-1].figures[name]:.2g}"


def _row(num_checks: int) -> str:
    return f"at {num_checks} checks in a row"


def _last(name: str) -> str:
    return name.rpartition("_")[2]


def _has_identity(settings: Settings) -> bool:
    weights = [settings.get(f"objective.cycle_weight_{domain}") or 0 for domain in "ab"]
    return max(weights) > 0 and settings.get("data.channels_a") == settings.get("data.channels_b")


def _slower(settings: Settings, player: str) -> dict[str, Any]:
    """Return the settings that halve one player's learning rate and keep the other's."""
    rate = settings["optimizer.learning_rate"]
    judges = settings["optimizer.discriminator_learning_rate"] or rate
    if player == "discriminator":
        return {"optimizer.discriminator_learning_rate": judges / 2}
    return {"optimizer.learning_rate": rate / 2, "optimizer.discriminator_learning_rate": judges}


# ---- monitoring a run ----


class Guardian:
    """The callback that monitors the run in the folder `run`, from step `step` on.

    probe: a few images of both domains.
    settings: the run's by dotted path.
    rewind: whether to request a rewind for a failure that was not treated yet.
    note: called with the step and the sentence of each failure, once until it has recovered.

    request is the failure to rewind for, after a check that requested it.
    """

    at_end = False

    def __init__(
        self, run: Path, step: int, probe: Batch, settings: Settings, *, rewind: bool, note: Callable[[int, str], None]
    ) -> None:
        self.request: Finding | None = None
        self.every: int = settings["run.guardian_every"]
        self._path, self._probe, self._settings, self._note = run / "guardian.jsonl", probe, settings, note
        self._checks = truncate_evaluations(self._path, step)
        self._known = {finding.ailment for finding in judge(self._checks, settings)}
        self._rewind, self._treated = rewind, treated(History(run))

    @property
    def ailments(self) -> list[str]:
        """Return the names of the present failures."""
        return sorted(self._known)

    def num_kept(self, checkpoints: Path, least: int) -> int:
        """Return the number of checkpoints to keep, at least `least`, so that there is one to rewind to."""
        if not self._rewind:
            return least
        # No failure that is yet to be reported can have begun before this check.
        safe = self._checks[-WON_CHECKS].step if len(self._checks) >= WON_CHECKS else 0
        return num_kept(checkpoints, least, safe, self._settings["run.checkpoint_every"])

    def after_step(self, view: StepView) -> Request:
        """Check a step, unless it was skipped; request a rewind if the run needs one."""
        return Request.GO_BACK if view.terms and self.check(view.state, view.terms) else Request.CONTINUE

    def check(self, state: TrainingState, terms: Mapping[str, Tensor]) -> bool:
        """Check the step just taken, whose losses are `terms`; return whether the run must be rewound."""
        unpaired = self._settings["data.pairing"] == "unpaired"
        check = StepEvaluation(state.step, observe(state, self._probe, terms, unpaired=unpaired))
        self._checks.append(check)
        append_evaluation(self._path, check)
        found = judge(self._checks, self._settings)
        for finding in found:
            if finding.ailment in self._known:
                continue
            if self._rewind and finding.ailment not in self._treated:
                self.request = finding
                return True
            self._note(state.step, finding.sentence(state.step))
        self._known = {finding.ailment for finding in found}
        return False
