"""The guardian: watches a run for what goes wrong in this family of methods, and names it with figure and remedy.

An ailment is a pure function of the looks so far, and the looks are lines of RUN/guardian.jsonl. So what the guardian
knows is in that file alone: a run that continues cuts it to its step, and goes on as if it had never stopped.
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
from unpaired.selection.validation import Look, append_look, cut_looks
from unpaired.training.callbacks import Request, StepView
from unpaired.training.state import TrainingState

Mode = Literal["off", "warn", "rewind"]

PROBE = 4
"""How many images it looks at, at most."""

LOOKS = 3
"""For how many looks in a row something must be wrong before it has a name."""

INVERTED = -0.3
"""Correlation of input and translation below which colours count as inverted; healthy labels to photos have .8,
summer to winter .2, networks before the first step -.4 to .1."""

COLLAPSED = 0.1
"""Spread of translations, relative to real images, below which there is one output; healthy: .66 and more."""

NEW_LOOKS = 10
"""How many looks a network may take to tell its inputs apart for the first time."""

WON, WON_LOOKS = 0.04, 5
"""Share of the loss of a discriminator that cannot tell, below which it has won; on one batch it may be by chance."""

VANISHED = 1e-7
"""Root mean square of a player's gradient; Adam's eps is 1e-8, and near it the steps shrink with the gradient."""

EXPLODED, EXPLODED_LOOKS, KNOWN_LOOKS = 50.0, 2, 5
"""How many times the median of all earlier looks, of which it takes so many, a gradient may be."""

BLOWN_UP, BLOWN_UP_LOOKS = 10.0, 2
"""Largest activation on a flat image, relative to that on real ones; healthy: .01 to .03."""


Looks = Sequence[Look]
Settings = Mapping[str, Any]


def judge(looks: Looks, settings: Settings) -> list[Finding]:
    """Return what ails the run after these looks, each ailment once; settings: the run's, by dotted path."""
    found = dict[str, Finding]()
    for name in looks[-1].figures if looks else ():
        for ailment in _AILMENTS:
            finding = ailment(looks, name, settings)
            if finding is not None:
                found.setdefault(finding.ailment, finding)
    return list(found.values())


# ---- ailments: each asks about one figure, by its name, and answers None for those it has nothing to do with ----


def inversion(looks: Looks, name: str, settings: Settings) -> Finding | None:
    """Colours are turned round: two translators that both do so keep the cycle, so that no other loss objects."""
    if not name.startswith("correlation_"):
        return None
    since = _healthy_until(looks, name, lambda value: value < INVERTED, LOOKS)
    if since is None:
        return None
    weight, remedy = settings.get("objective.identity_weight"), _slower(settings, "generator")
    advice = "halve the generators' learning rate or try another --run.seed"
    if weight is not None and weight < 0.5 and _has_identity(settings):
        remedy, advice = {"objective.identity_weight": 0.5}, "an identity loss"
    advice += ", unless the domains are each other's negatives"
    figure = f"input and translation {_last(name)} correlate by {_now(looks, name)}, below {INVERTED} {_row(LOOKS)}"
    return Finding("colour inversion", figure, advice, remedy, since)


def collapse(looks: Looks, name: str, settings: Settings) -> Finding | None:
    """Every input becomes the same image, though it was otherwise, or never was in all the time there has been."""
    if not name.startswith("spread_"):
        return None
    since = _healthy_until(looks, name, lambda value: value < COLLAPSED, LOOKS)
    if since is None or (since == 0 and len(looks) < NEW_LOOKS):
        return None
    figure = (
        f"translations {_last(name)} of different images differ by {_now(looks, name)} of what real images do, below "
        f"{COLLAPSED} {_row(LOOKS)}"
    )
    advice = "halve the generators' learning rate and not the discriminators'"
    return Finding("collapse to one output", figure, advice, _slower(settings, "generator"), since)


def discriminator_won(looks: Looks, name: str, settings: Settings) -> Finding | None:
    """A discriminator is nearly always right, so that its verdict tells the generator little."""
    loss = settings.get("objective.adversarial")
    undecided = None if loss is None else adversarial_loss(loss).undecided
    if not name.startswith("discriminator_") or undecided is None:
        return None
    lost = WON * undecided
    since = _healthy_until(looks, name, lambda value: value < lost, WON_LOOKS)
    if since is None:
        return None
    figure = f"the loss of {_last(name).upper()}'s is {_now(looks, name)}, below {lost:.2g} {_row(WON_LOOKS)}"
    advice = "halve the discriminators' learning rate"
    return Finding("discriminator has won", figure, advice, _slower(settings, "discriminator"), since)


def vanishing_gradient(looks: Looks, name: str, settings: Settings) -> Finding | None:
    """A player's gradient is so small that Adam stands still."""
    if not name.startswith("gradient_"):
        return None
    since = _healthy_until(looks, name, lambda value: value < VANISHED, LOOKS)
    if since is None:
        return None
    figure = f"that of the {_last(name)}s is {_now(looks, name)} a weight, below {VANISHED} {_row(LOOKS)}"
    advice = f"halve the {_last(name)}s' learning rate"
    return Finding("vanishing gradient", figure, advice, _slower(settings, _last(name)), since)


def exploding_gradient(looks: Looks, name: str, settings: Settings) -> Finding | None:
    """A player's gradient is far beyond what it was."""
    values = [look.figures[name] for look in looks if name in look.figures]
    if not name.startswith("gradient_") or len(values) < KNOWN_LOOKS + EXPLODED_LOOKS:
        return None
    usual = max(statistics.median(values[:-EXPLODED_LOOKS]), VANISHED)
    since = _healthy_until(looks, name, lambda value: value > EXPLODED * usual, EXPLODED_LOOKS)
    if since is None:
        return None
    figure = (
        f"that of the {_last(name)}s is {_now(looks, name)} a weight, above {EXPLODED:.0f} times the median before, "
        f"{usual:.2g}, {_row(EXPLODED_LOOKS)}"
    )
    advice = f"halve the {_last(name)}s' learning rate"
    return Finding("exploding gradient", figure, advice, _slower(settings, _last(name)), since)


def flat_blow_up(looks: Looks, name: str, settings: Settings) -> Finding | None:
    """An image of one colour drives the activations far beyond those of real images, or to what is no number."""
    if not name.startswith("flat_"):
        return None
    since = _healthy_until(looks, name, lambda value: value > BLOWN_UP, BLOWN_UP_LOOKS)
    if since is None:
        return None
    figure = (
        f"an image of one colour drives activations {_last(name)} to {_now(looks, name)} times those of real images, "
        f"above {BLOWN_UP:.0f} {_row(BLOWN_UP_LOOKS)}"
    )
    advice = "leave out the flat images that `unpaired data check` lists, and halve the generators' learning rate"
    return Finding("flat-image blow-up", figure, advice, _slower(settings, "generator"), since)


_AILMENTS = (inversion, collapse, discriminator_won, vanishing_gradient, exploding_gradient, flat_blow_up)


def _healthy_until(looks: Looks, name: str, bad: Callable[[float], bool], num_looks: int) -> int | None:
    """Return the step of the look before a figure went bad, 0 without one; None unless it was at the last looks."""
    count = 0
    for look in reversed(looks):
        if name not in look.figures or not bad(look.figures[name]):
            break
        count += 1
    if count < num_looks:
        return None
    return looks[-count - 1].step if count < len(looks) else 0


def _now(looks: Looks, name: str) -> str:
    return f"{looks[-1].figures[name]:.2g}"


def _row(num_looks: int) -> str:
    return f"at {num_looks} looks in a row"


def _last(name: str) -> str:
    return name.rpartition("_")[2]


def _has_identity(settings: Settings) -> bool:
    weights = [settings.get(f"objective.cycle_weight_{domain}") or 0 for domain in "ab"]
    return max(weights) > 0 and settings.get("data.channels_a") == settings.get("data.channels_b")


def _slower(settings: Settings, player: str) -> dict[str, Any]:
    """Return the settings that halve one player's learning rate and leave the other's."""
    rate = settings["optimizer.learning_rate"]
    judges = settings["optimizer.discriminator_learning_rate"] or rate
    if player == "discriminator":
        return {"optimizer.discriminator_learning_rate": judges / 2}
    return {"optimizer.learning_rate": rate / 2, "optimizer.discriminator_learning_rate": judges}


# ---- the watch over a run ----


class Guardian:
    """The callback that watches a run in the folder `run`, from the step that its state is at.

    probe: a few images of both domains. settings: the run's by dotted path. note: told the step and the sentence of
    each ailment, once until it has recovered. request: what to go back for, after a look that asked for it.
    """

    at_end = False

    def __init__(
        self, run: Path, step: int, probe: Batch, settings: Settings, *, rewind: bool, note: Callable[[int, str], None]
    ) -> None:
        self.request: Finding | None = None
        self.every: int = settings["run.guardian_every"]
        self._path, self._probe, self._settings, self._note = run / "guardian.jsonl", probe, settings, note
        self._looks = cut_looks(self._path, step)
        self._known = {finding.ailment for finding in judge(self._looks, settings)}
        self._rewind, self._treated = rewind, treated(History(run))

    @property
    def ailments(self) -> list[str]:
        """Return the names of what ails the run now."""
        return sorted(self._known)

    def num_kept(self, checkpoints: Path, least: int) -> int:
        """Return how many checkpoints to keep, `least` or more, so that there is one to go back to."""
        if not self._rewind:
            return least
        # No ailment that is yet to be named can have begun before this look.
        safe = self._looks[-WON_LOOKS].step if len(self._looks) >= WON_LOOKS else 0
        return num_kept(checkpoints, least, safe, self._settings["run.checkpoint_every"])

    def after_step(self, view: StepView) -> Request:
        """Observe a step, unless it was left out; ask to go back if the run should."""
        return Request.GO_BACK if view.terms and self.look(view.state, view.terms) else Request.CONTINUE

    def look(self, state: TrainingState, terms: Mapping[str, Tensor]) -> bool:
        """Observe the step just taken, whose losses are `terms`; returns whether the run should go back for it."""
        unpaired = self._settings["data.pairing"] == "unpaired"
        look = Look(state.step, observe(state, self._probe, terms, unpaired=unpaired))
        self._looks.append(look)
        append_look(self._path, look)
        found = judge(self._looks, self._settings)
        for finding in found:
            if finding.ailment in self._known:
                continue
            if self._rewind and finding.ailment not in self._treated:
                self.request = finding
                return True
            self._note(state.step, finding.sentence(state.step))
        self._known = {finding.ailment for finding in found}
        return False
