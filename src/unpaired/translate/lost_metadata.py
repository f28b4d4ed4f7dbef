"""What results cannot carry of what their inputs hold: counted while files are translated, told once a kind."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from unpaired.images import Carried, suffix_of
from unpaired.images.carried import WORDS, lost_from
from unpaired.storage import shown
from unpaired.translate.jobs import Job

_REASONS: dict[Carried, str] = {
    "pages": "the picture alone is translated",
    "frames": "only the first frame is translated",
    "no-data": "their format or their type has no place for it",
}


@dataclass
class Losses:
    """What is lost, by kind: how many results lack it, and the name of the first input that had it.

    num_results counts all results. Kinds that a result of the input's own format would keep are in `kept_by_format`.
    """

    num_results: int = 0
    by_kind: dict[Carried, tuple[int, str]] = field(default_factory=dict)
    kept_by_format: set[Carried] = field(default_factory=set)
    _looked: dict[Job, tuple[frozenset[Carried], frozenset[Carried]]] = field(default_factory=dict)

    def look(self, job: Job) -> None:
        """Read what the input of a job carries; safe to call from several threads, each with jobs of its own."""
        suffix, own = suffix_of(job.target), suffix_of(job.source)
        here = lost_from(job.source, suffix)
        if here:
            self._looked[job] = here, here - lost_from(job.source, own) if own != suffix else frozenset()

    def lacks(self, job: Job, kind: Carried) -> None:
        """Note that the result of a job lacks what its format would keep, as its type cannot hold it."""
        lost, kept = self._looked.get(job, (frozenset(), frozenset()))
        self._looked[job] = lost | {kind}, kept

    def count(self, job: Job) -> None:
        """Count a job whose result is written."""
        self.num_results += 1
        lost, kept = self._looked.pop(job, (frozenset(), frozenset()))
        self.kept_by_format |= kept
        for kind in lost:
            number, first = self.by_kind.get(kind, (0, shown(job.source)))
            self.by_kind[kind] = number + 1, first

    def sentences(self) -> list[str]:
        """Return a sentence for each kind that is lost, with the count and the name of the first input."""
        return [self._sentence(kind) for kind in WORDS if kind in self.by_kind]

    def _sentence(self, kind: Carried) -> str:
        number, first = self.by_kind[kind]
        one = number == 1
        count = f"{number:,} of {self.num_results:,} result{'' if self.num_results == 1 else 's'}"
        verb, whose = ("does", "its input") if one else ("do", "their inputs")
        name = first if one else f"first: {first}"
        reason = _REASONS.get(kind, "")
        if kind in self.kept_by_format:
            reason = "without --format it is kept"
        return f"{count} {verb} not carry {WORDS[kind]} of {whose} ({name}){'; ' * bool(reason)}{reason}."

    def to_message(self) -> bytes:
        """Return the counts as bytes, for `merged` in another process."""
        kinds = {kind: [*found, kind in self.kept_by_format] for kind, found in self.by_kind.items()}
        return json.dumps({"results": self.num_results, "kinds": kinds}).encode()

    @classmethod
    def merged(cls, messages: Iterable[bytes]) -> Losses:
        """Return the sum of what several processes counted, in the order of their ranks."""
        made = cls()
        for message in map(json.loads, messages):
            made.num_results += message["results"]
            for kind in WORDS:
                if kind in message["kinds"]:
                    number, first, kept = message["kinds"][kind]
                    before, name = made.by_kind.get(kind, (0, first))
                    made.by_kind[kind] = before + number, name
                    made.kept_by_format |= {kind} if kept else set()
        return made
