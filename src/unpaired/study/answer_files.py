"""Reads the answer files of participants, and refuses those that are damaged, edited or of another study."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unpaired.errors import DataError
from unpaired.storage import shown
from unpaired.study.study_key import SCHEMA, StudyKey, Trial
from unpaired.words import counted

_CHECK = re.compile(rb',"check":"([0-9a-f]{8})"}$')
_MOST_BYTES = 20_000_000
_PARTICIPANT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Answer:
    """The choice of a trial. Times in milliseconds; interrupted: the page was hidden while the images were shown."""

    trial: Trial
    left: str
    right: str
    chosen: str
    shown_ms: float
    response_ms: float
    interrupted: bool

    @property
    def chose_left(self) -> bool:
        """Whether the left image was chosen."""
        return self.chosen == self.left


@dataclass(frozen=True)
class Ranking:
    """The ranks of a case by image, 1 the best, and the comment of the reader."""

    trial: Trial
    ranks: Mapping[str, int]
    comment: str


@dataclass(frozen=True)
class Session:
    """The answers of one participant, in order.

    set: number of the set of trials. lost: trials that a reload interrupted. ended: whether the last trial is done.
    """

    participant: str
    path: Path
    set: int
    answers: tuple[Answer, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    lost: tuple[str, ...] = ()
    ended: bool = False


def chained(check: str, body: bytes) -> str:
    """Return the checksum of a line, from that of the line before ("" for the first): FNV-1a, 32 bits, in hexadecimal.

    The same as on the page. It reveals damage and editing; someone who knows it can forge a file.
    """
    value = 0x811C9DC5
    for byte in check.encode() + body:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:08x}"


def read_session(path: Path, key: StudyKey) -> tuple[Session, list[str]]:
    """Return the session of an answer file, and remarks on lines that were left out.

    An incomplete last line, as of an interrupted copy, is left out. Raises DataError for a file that cannot be read, is
    not of this study, contradicts its key, or was edited.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{shown(path)} is larger than any answer file; leave it out.")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {shown(path)}: {error.strerror}; check its permissions.") from None
    raw = [line.rstrip(b"\r") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    lines, remarks = _verified(path, [line for line in raw if line.strip()])
    session = _Reader(path, key).session(lines)
    if not session.ended:
        remarks.append(f"{shown(path)} ends before the last trial; its participant has stopped or saved too early.")
    if session.lost:
        lost = counted(len(session.lost), "trial")
        remarks.append(f"{shown(path)}: a reload interrupted {lost}, without an answer.")
    return session, remarks


def _verified(path: Path, raw: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the lines whose checksums are right; raises DataError if a line but the last one is not."""
    lines: list[dict[str, Any]] = []
    check = ""
    for number, line in enumerate(raw, 1):
        found = _CHECK.search(line)
        body = line[: found.start()] + b"}" if found else b""
        if not found or chained(check, body) != found[1].decode():
            if number == 1:
                raise DataError(f"{shown(path)} is not an answer file of a study page; leave it out.")
            if number == len(raw) and not found:
                return lines, [f"{shown(path)}: the last line is incomplete and left out; ask for the file again."]
            raise DataError(
                f"{shown(path)} was edited or damaged at line {number}, so none of its answers are used; ask for the "
                "file again."
            )
        check = found[1].decode()
        lines.append(_parsed(path, number, body))
    if not lines:
        raise DataError(f"{shown(path)} is empty; ask for the file again.")
    return lines, []


def _parsed(path: Path, number: int, body: bytes) -> dict[str, Any]:
    try:
        line = json.loads(body)
        if isinstance(line, dict):
            return line
    except (ValueError, RecursionError):
        pass
    raise _invalid(path, number, "is not an object of JSON")


def _invalid(path: Path, number: int, reason: str) -> DataError:
    return DataError(f"{shown(path)}: line {number} {reason}, so none of its answers are used; ask for the file again.")


class _Reader:
    """Turns the verified lines of a file into a session of the study."""

    def __init__(self, path: Path, key: StudyKey) -> None:
        self._path, self._key = path, key
        self._trials: dict[str, Trial] = {}
        self._seen: set[str] = set()

    def session(self, lines: Sequence[Mapping[str, Any]]) -> Session:
        """Return the session. Raises DataError for a line that the page cannot have written."""
        participant, chosen_set = self._started(lines[0])
        answers: list[Answer] = []
        rankings: list[Ranking] = []
        lost: list[str] = []
        ended = False
        for number, line in enumerate(lines[1:], 2):
            kind = line.get("line")
            if kind == "end":
                ended = True
                continue
            trial = self._trial(number, line)
            if kind == "answer" and self._key.kind != "readers":
                answers.append(self._answer(number, line, trial))
            elif kind == "ranking" and self._key.kind == "readers":
                rankings.append(self._ranking(number, line, trial))
            elif kind == "lost":
                lost.append(trial.id)
            else:
                raise _invalid(self._path, number, "is of an unknown kind")
        return Session(participant, self._path, chosen_set, tuple(answers), tuple(rankings), tuple(lost), ended)

    def _started(self, line: Mapping[str, Any]) -> tuple[str, int]:
        key, name = self._key, shown(self._path)
        if line.get("line") != "start" or line.get("schema") != SCHEMA:
            raise DataError(f"{name} is not an answer file of a study page of this version; leave it out.")
        if line.get("study") != key.study:
            raise DataError(
                f"{name} is of study {shown(line.get('study'))}, not of {key.study}; analyse it with the key of its "
                "own study."
            )
        participant, number = line.get("participant"), line.get("set")
        if not isinstance(participant, str) or not _PARTICIPANT.fullmatch(participant):
            raise _invalid(self._path, 1, "has no participant")
        if type(number) is not int or not 0 <= number < len(key.sets):
            raise _invalid(self._path, 1, "names an unknown set of trials")
        self._trials = {trial.id: trial for trial in key.sets[number].trials}
        return participant, number

    def _trial(self, number: int, line: Mapping[str, Any]) -> Trial:
        trial = self._trials.get(str(line.get("trial")))
        if trial is None:
            raise _invalid(self._path, number, f"names the unknown trial {shown(line.get('trial'))}")
        if trial.id in self._seen:
            raise _invalid(self._path, number, f"repeats trial {trial.id}")
        self._seen.add(trial.id)
        return trial

    def _answer(self, number: int, line: Mapping[str, Any], trial: Trial) -> Answer:
        left, right, choice = (line.get(name) for name in ("left", "right", "choice"))
        if sorted(map(str, (left, right))) != sorted(trial.images):
            raise _invalid(self._path, number, "names images that are not those of its trial")
        times = [_time(line.get(name)) for name in ("shown_ms", "response_ms")]
        if choice not in ("left", "right") or any(map(math.isnan, times)) or type(line.get("interrupted")) is not bool:
            raise _invalid(self._path, number, "has an invalid choice or time")
        chosen = str(left if choice == "left" else right)
        return Answer(trial, str(left), str(right), chosen, times[0], times[1], line["interrupted"])

    def _ranking(self, number: int, line: Mapping[str, Any], trial: Trial) -> Ranking:
        images, ranks, comment = line.get("images"), line.get("ranks"), line.get("comment")
        if not isinstance(images, list) or sorted(map(str, images)) != sorted(trial.images):
            raise _invalid(self._path, number, "names images that are not those of its trial")
        if not isinstance(ranks, list) or sorted(map(str, ranks)) != [str(n) for n in range(1, len(images) + 1)]:
            raise _invalid(self._path, number, f"has no ranks from 1 to {len(images)}")
        if not isinstance(comment, str):
            raise _invalid(self._path, number, "has no comment")
        return Ranking(trial, {image: int(rank) for image, rank in zip(images, ranks, strict=True)}, comment)


def _time(value: Any) -> float:
    """Return a time in milliseconds, NaN if it is not one."""
    sound = type(value) in (int, float) and 0 <= value < 1e12
    return float(value) if sound else math.nan


def read_sessions(paths: Sequence[Path], key: StudyKey) -> tuple[list[Session], list[str]]:
    """Return the sessions of answer files, one a participant, and a remark on everything that was left out.

    Of two files of one participant, of which one is the beginning of the other, the longer one is used. Files of one
    participant that contradict each other are all left out. Raises DataError if no file can be used.
    """
    by_participant: dict[str, list[Session]] = {}
    remarks: list[str] = []
    for path in paths:
        try:
            session, more = read_session(path, key)
        except DataError as error:
            remarks.append(str(error))
            continue
        remarks += more
        by_participant.setdefault(session.participant, []).append(session)
    sessions = []
    for found in by_participant.values():
        longest = max(found, key=_length)
        names = ", ".join(shown(each.path) for each in found)
        if not all(_begins(each, longest) for each in found):
            remarks.append(f"{names} have one participant and different answers, so none of them are used.")
            continue
        if len(found) > 1:
            remarks.append(f"{names} are of one participant, counted once; {shown(longest.path)} is used.")
        sessions.append(longest)
    if not sessions:
        listed = " ".join(remarks[:3])
        raise DataError(f"No answer file can be used. {listed}" if remarks else "There are no answer files (*.jsonl).")
    return sessions, remarks


def _length(session: Session) -> int:
    return len(session.answers) + len(session.rankings) + len(session.lost) + session.ended


def _begins(session: Session, longest: Session) -> bool:
    """Return whether a session is the beginning of another one."""
    pairs = ((session.answers, longest.answers), (session.rankings, longest.rankings), (session.lost, longest.lost))
    return session.set == longest.set and all(one == other[: len(one)] for one, other in pairs)
