"""Which trials and participants count, by the rule that the key fixed before the first answer."""

from __future__ import annotations

from dataclasses import dataclass

from unpaired.study.answer_files import Answer, Session
from unpaired.study.study_key import StudyKey
from unpaired.words import counted


@dataclass(frozen=True)
class Verdict:
    """Whether a participant counts.

    answers: the valid answers of scored trials. failed_checks, num_checks: attention checks. num_mistimed: scored
    trials that do not count as their images were shown for another time. reason: of the exclusion, "" if included.
    """

    session: Session
    answers: tuple[Answer, ...]
    failed_checks: int
    num_checks: int
    num_mistimed: int
    reason: str

    @property
    def included(self) -> bool:
        """Whether the participant counts."""
        return not self.reason


def verdict(session: Session, key: StudyKey) -> Verdict:
    """Apply the rule of the key to a session with choices."""
    scored = [answer for answer in session.answers if answer.trial.part == "scored"]
    checks = [answer for answer in session.answers if answer.trial.part == "check"]
    valid = tuple(answer for answer in scored if well_timed(answer, key))
    failed = sum(key.images[answer.chosen].source in ("noise", "flat") for answer in checks)
    total = len(key.sets[session.set].of("scored"))
    reason = ""
    if failed > key.rule.max_failed_checks:
        reason = f"failed {failed} of {counted(len(checks), 'attention check')}"
    elif len(valid) < key.rule.min_answered * total:
        reason = f"has valid answers in {len(valid)} of {counted(total, 'scored trial')}"
    return Verdict(session, valid, failed, len(checks), len(scored) - len(valid), reason)


def well_timed(answer: Answer, key: StudyKey) -> bool:
    """Return whether the images were shown for the time of the study; always if it is unlimited."""
    if not key.seconds:
        return True
    wanted = 1000 * key.seconds
    return not answer.interrupted and abs(answer.shown_ms - wanted) <= key.rule.shown_tolerance * wanted
