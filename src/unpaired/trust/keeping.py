"""Scoring during translation: each result is scored from its written pixels, and only the best share is kept."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from unpaired import ranks
from unpaired.errors import UnpairedError
from unpaired.images import Image
from unpaired.storage import hold_bytes
from unpaired.translate.jobs import Job
from unpaired.translate.sorting import Fate
from unpaired.trust.score import Scorer, Trust
from unpaired.trust.scored import best, from_messages, num_kept, order_of, to_message


class ScoringSorter:
    """Scores each result and keeps the most trusted share; a `Sorter` for `translate_files`.

    Results that may still be among the best wait on the disk beside their targets, never more than will be kept; the
    others are dropped at once. Results that cannot be scored are written.

    Args:
        scorer: scores a translation.
        jobs: all of them; several processes may share them.
        share: the share to keep, in (0, 1].
        keep_icc: as for `translate_files`.
        finished: jobs whose result is in place: scored, but not written.
        on_scored: called with each job and its score, None if it cannot be scored.
        on_known: called once, with the scores of all processes and the kept jobs, before these are written.
    """

    def __init__(
        self,
        scorer: Scorer,
        jobs: Sequence[Job],
        share: float = 1.0,
        *,
        keep_icc: bool = False,
        finished: Collection[Job] = (),
        on_scored: Callable[[Job, Trust | None], None] = lambda job, trust: None,
        on_known: Callable[[Mapping[Job, Trust], Sequence[Job]], None] = lambda trusts, kept: None,
    ) -> None:
        self._scorer, self._jobs, self._share, self._keep_icc = scorer, jobs, share, keep_icc
        self._finished, self._on_scored, self._on_known = frozenset(finished), on_scored, on_known
        self._numbers = {job: number for number, job in enumerate(jobs)}
        self._trusts: dict[Job, Trust] = {}
        self._best: list[tuple[tuple[float, float], int]] = []  # a heap of (rank, minus the number of the job)
        self._may_be_kept: set[Job] = set()  # the jobs in the heap
        self._held: dict[Job, Path] = {}
        self.left_out: frozenset[Job] = frozenset()
        """The jobs that were scored and not kept; set by `release`."""

    def fate(self, job: Job, given: Sequence[Image], made: Sequence[Image]) -> Fate:
        """Score a result and return its fate; for a stack the symptoms are averaged over its slices."""
        try:
            trust = self._scored(given, made)
        except UnpairedError:
            self._on_scored(job, None)
            return "drop" if job in self._finished else "write"
        self._trusts[job] = trust
        self._on_scored(job, trust)
        if self._share < 1 and not self._may_be_best(job, trust):
            return "drop"
        if job in self._finished:
            return "drop"
        return "hold" if self._share < 1 else "write"

    def hold(self, job: Job, data: bytes) -> None:
        """Write a result beside its target under a temporary name, unless better ones have displaced it."""
        if job in self._may_be_kept:
            self._held[job] = hold_bytes(job.target.parent, data)

    def release(self) -> list[tuple[Job, Path]]:
        """Return the held results that are kept, in order, based on the scores of all processes.

        The others are removed by `close`.
        """
        trusts = from_messages(ranks.all_gather_bytes(to_message(self._trusts, self._jobs)), self._jobs, self._scorer)
        kept = best(trusts, self._share) if trusts else []
        self.left_out = frozenset(trusts).difference(kept)
        self._on_known(trusts, kept)
        return [(job, self._held[job]) for job in kept if job in self._held]

    def close(self) -> None:
        """Remove the results that are still held and not moved into place."""
        for job in list(self._held):
            self._remove(job)

    def _scored(self, given: Sequence[Image], made: Sequence[Image]) -> Trust:
        pairs = zip(given, made, strict=True)
        found = [self._scorer.symptoms(before, after, keep_icc=self._keep_icc) for before, after in pairs]
        return self._scorer.of_symptoms({name: sum(one[name] for one in found) / len(found) for name in found[0]})

    def _may_be_best(self, job: Job, trust: Trust) -> bool:
        """Return whether a result may be kept, given the results so far; removes the result that it displaces.

        Ties are broken like in `best`: the earlier one ranks higher.
        """
        heapq.heappush(self._best, (order_of(trust), -self._numbers[job]))
        self._may_be_kept.add(job)
        if len(self._best) <= num_kept(self._share, len(self._jobs)):
            return True
        worst = self._jobs[-heapq.heappop(self._best)[1]]
        self._may_be_kept.remove(worst)
        self._remove(worst)
        return worst != job

    def _remove(self, job: Job) -> None:
        held = self._held.pop(job, None)
        if held is not None:
            with contextlib.suppress(OSError):
                held.unlink()
