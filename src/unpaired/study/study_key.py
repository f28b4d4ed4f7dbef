"""The key of a study: the origin of every image, and the rules of its analysis; it stays with the researcher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from unpaired.config import require
from unpaired.errors import DataError
from unpaired.storage import shown

SCHEMA = 1
"""Schema version of key.json and of the answer files."""

Kind = Literal["real-or-fake", "preference", "readers"]
"""real-or-fake: choose the real image of a pair. preference: choose between two models. readers: rank all models."""

Part = Literal["practice", "scored", "check"]
"""practice: with feedback, not counted. check: an obvious trial that tests attention, not counted."""

Source = Literal["real", "model", "noise", "flat", "input"]
"""Origin of an image: data set, model, or drawn for an attention check; "input" is shown beside and not judged."""


@dataclass(frozen=True)
class Origin:
    """The origin of an image. model: number of the model that made it, -1 without one. name: that of its file."""

    source: Source
    model: int
    name: str


@dataclass(frozen=True)
class Trial:
    """One trial. images: ids of the images to choose between or to rank. given: id of their input, "" if not shown."""

    id: str
    part: Part
    images: tuple[str, ...]
    given: str = ""


@dataclass(frozen=True)
class TrialSet:
    """The trials of one participant. models: numbers of the models in them."""

    models: tuple[int, ...]
    trials: tuple[Trial, ...]

    def of(self, part: Part) -> list[Trial]:
        """Return the trials of a part."""
        return [trial for trial in self.trials if trial.part == part]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The rule that excludes trials and participants, fixed before the first answer.

    max_failed_checks: largest number of failed attention checks of a participant.
    min_answered: smallest share of the scored trials with a valid answer.
    shown_tolerance: largest relative deviation of the display time of a valid trial; ignored if untimed.
    """

    max_failed_checks: int = 1
    min_answered: float = 0.9
    shown_tolerance: float = 0.1

    def __post_init__(self) -> None:
        require(self.max_failed_checks >= 0, f"--max-failed-checks must be at least 0, not {self.max_failed_checks}.")


@dataclass(frozen=True, kw_only=True)
class StudyKey:
    """The content of key.json.

    study: id of the study, which its answer files repeat.
    seconds: display time of the images, 0 if unlimited.
    models: names of the models, by number.
    images: origin of each image by its id.
    sets: a participant has one of them, chosen at random.
    facts: data, models, command and other facts that the images depend on.
    """

    study: str
    kind: Kind
    seconds: float
    question: str
    direction: str
    rule: Rule
    models: tuple[str, ...]
    images: Mapping[str, Origin]
    sets: tuple[TrialSet, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, number: int, trial: str) -> Trial | None:
        """Return a trial of a set by its id, None if there is none."""
        found = (each for each in self.sets[number].trials if each.id == trial)
        return next(found, None)

    def to_json(self) -> str:
        """Return the content of key.json."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def read_key(path: Path) -> StudyKey:
    """Read key.json. Raises DataError if it cannot be read or is not a key."""
    try:
        data = json.loads(path.read_bytes())
        require(data.pop("schema") == SCHEMA, "its schema is unknown")
        rule, images, sets = data.pop("rule"), data.pop("images"), data.pop("sets")
        key = StudyKey(
            rule=Rule(**rule),
            images={name: Origin(**origin) for name, origin in images.items()},
            sets=tuple(TrialSet(tuple(each["models"]), tuple(map(_trial, each["trials"]))) for each in sets),
            models=tuple(data.pop("models")),
            **data,
        )
        _check(key)
    except OSError as error:
        raise DataError(f"Cannot read the key {shown(path)}: {error.strerror}; give it with --key FILE.") from None
    except Exception as error:
        raise DataError(
            f"{shown(path)} is not the key of a study ({shown(error)}); take the key.json that `study make` wrote."
        ) from None
    return key


def _trial(data: Mapping[str, Any]) -> Trial:
    return Trial(data["id"], data["part"], tuple(data["images"]), data["given"])


def _check(key: StudyKey) -> None:
    require(key.kind in get_args(Kind), f"the kind {key.kind!r} is unknown")
    known = {*key.images, ""}
    for each in (trial for one in key.sets for trial in one.trials):
        require({*each.images, each.given} <= known, f"trial {each.id} has an unknown image")
