"""Metadata of inputs that results cannot carry: counted during translation, reported once for each kind."""

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
class LostMetadata:
    """Lost metadata by kind: the number of results without it and the name of the first input that has it.

    num_results: the number of all results. kept_by_format: kinds that a result in the format of its input would keep.
    """

    num_results: int = 0
    by_kind: dict[Carried, tuple[int, str]] = field(default_factory=dict)
    kept_by_format: set[Carried] = field(default_factory=set)
    _found: dict[Job, tuple[frozenset[Carried], frozenset[Carried]]] = field(default_factory=dict)

    def scan(self, job: Job) -> None:
        """Scan the metadata of the input of a job. Thread-safe for distinct jobs."""
        suffix, own = suffix_of(job.target), suffix_of(job.source)
        here = lost_from(job.source, suffix)
        if here:
            self._found[job] = here, here - lost_from(job.source, own) if own != suffix else frozenset()

    def add(self, job: Job, kind: Carried) -> None:
        """Record metadata that the format of a result could keep but its dtype cannot."""
        lost, kept = self._found.get(job, (frozenset(), frozenset()))
        self._found[job] = lost | {kind}, kept

    def count(self, job: Job) -> None:
        """Count a job whose result has been written."""
        self.num_results += 1
        lost, kept = self._found.pop(job, (frozenset(), frozenset()))
        self.kept_by_format |= kept
        for kind in lost:
            number, first = self.by_kind.get(kind, (0, shown(job.source)))
            self.by_kind[kind] = number + 1, first

    def sentences(self) -> list[str]:
        """Return a sentence for each kind of lost metadata, with the count and the name of the first input."""
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
    def merged(cls, messages: Iterable[bytes]) -> LostMetadata:
        """Return the sum of the counts of several processes, in the order of their ranks."""
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
