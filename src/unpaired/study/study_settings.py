"""The settings of a study, with the defaults of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unpaired.config import require
from unpaired.errors import ConfigError
from unpaired.storage import shown
from unpaired.study.image_choice import Counts
from unpaired.study.study_key import Kind, Rule
from unpaired.suggestions import unknown

DEFAULTS: Mapping[Kind, tuple[Counts, float]] = {
    "real-or-fake": (Counts(), 1.0),
    "preference": (Counts(practice=0), 0.0),
    "readers": (Counts(practice=0, scored=20, checks=0), 0.0),
}
"""Numbers of trials and display time of each kind; those of real-or-fake are the papers'."""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """The settings of a study.

    kind: the task of the participants.
    direction: that of the translations.
    counts: numbers of trials, None for those of the kind.
    seconds: display time, 0 for unlimited, None for that of the kind.
    size: the side of the images, None for that of training.
    truth: whether files of one name are pairs, None to infer it.
    rank_real: rank the real image too (readers, paired data).
    seed: that of every draw.
    rule: the rule that excludes participants.
    question: the question of a trial, "" for that of the kind.
    consent: the text that participants agree to, "" for the default.
    """

    kind: Kind = "real-or-fake"
    direction: str = "AtoB"
    counts: Counts | None = None
    seconds: float | None = None
    size: int | None = None
    truth: bool | None = None
    rank_real: bool = False
    seed: int = 0
    rule: Rule = field(default_factory=Rule)
    question: str = ""
    consent: str = ""

    def __post_init__(self) -> None:
        require(self.kind in DEFAULTS, unknown(repr(self.kind), DEFAULTS, "kind of study"))
        require(self.seed >= 0, f"--seed must be at least 0, not {self.seed}.")
        require(
            self.display_seconds == 0 or 0.05 <= self.display_seconds <= 60,
            f"--seconds must be 0 or 0.05 to 60, not {self.display_seconds:g}.",
        )
        require(self.kind == "readers" or not self.rank_real, "--rank-real needs --kind readers.")
        if self.kind == "readers":
            require(self.display_seconds == 0, "A readers' study is untimed; leave out --seconds.")
            require(
                self.numbers.practice == self.numbers.checks == 0,
                "A readers' study has neither practice trials nor attention checks; leave out --practice and --checks.",
            )

    @property
    def numbers(self) -> Counts:
        """The numbers of trials."""
        return self.counts or DEFAULTS[self.kind][0]

    @property
    def display_seconds(self) -> float:
        """The display time in seconds, 0 for unlimited."""
        return DEFAULTS[self.kind][1] if self.seconds is None else self.seconds


def consent_text(path: Path) -> str:
    """Return the text of a consent file. Raises ConfigError if it is unreadable, empty or not text in UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ConfigError(f"Cannot read --consent {shown(path)}: {error.strerror}; check the name.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--consent {shown(path)} is not text in UTF-8; save it as such.") from None
    require(bool(text), f"--consent {shown(path)} is empty; write the text that participants agree to.")
    return text
