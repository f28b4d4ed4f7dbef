"""Scores in the same pass: each result is scored from the pixels that are written, and the best share is kept."""

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
    """Scores each result as it is made, and keeps the most trusted share; a `Sorter` of `translate_files`.

    Of a share, results that may still be among the best wait on the disk beside their targets, never more than will be
    kept; the others are dropped at once. Results that cannot be scored are written.

    jobs: all of them; several processes may share them. finished: those whose result is in place: scored, not written.
    on_known: called once, with the scores of all processes and the jobs that are kept, before these are written.
    """

    def __init__(
        self,
        scorer: Scorer,
        jobs: Sequence[Job],
        share: float = 1.0,
        *,
        keep_icc: bool = False,
        finished: Collection[Job] = (),
        on_known: Callable[[Mapping[Job, Trust], Sequence[Job]], None] = lambda trusts, kept: None,
    ) -> None:
        self._scorer, self._jobs, self._share, self._keep_icc = scorer, jobs, share, keep_icc
        self._finished, self._on_known = frozenset(finished), on_known
        self._numbers = {job: number for number, job in enumerate(jobs)}
        self._trusts: dict[Job, Trust] = {}
        self._best: list[tuple[tuple[float, float], int]] = []  # a heap of ranks and minus the numbers of their jobs
        self._may_be_kept: set[Job] = set()  # those in the heap
        self._held: dict[Job, Path] = {}
        self.left_out: frozenset[Job] = frozenset()
        """The jobs that were scored and are not kept; known after `release`."""

    def fate(self, job: Job, given: Sequence[Image], made: Sequence[Image]) -> Fate:
        """Score a result and return what becomes of it; of a stack the mean of its slices' symptoms counts."""
        try:
            trust = self._scored(given, made)
        except UnpairedError:
            return "drop" if job in self._finished else "write"
        self._trusts[job] = trust
        if self._share < 1 and not self._enters_the_best(job, trust):
            return "drop"
        if job in self._finished:
            return "drop"
        return "hold" if self._share < 1 else "write"

    def hold(self, job: Job, data: bytes) -> None:
        """Write a result beside its target under a temporary name, unless better ones have come since."""
        if job in self._may_be_kept:
            self._held[job] = hold_bytes(job.target.parent, data)

    def release(self) -> list[tuple[Job, Path]]:
        """Return the held results that are kept, in order, once the scores of all processes are known.

        What is not put into place is removed by `close`.
        """
        trusts = from_messages(ranks.all_gather_bytes(to_message(self._trusts, self._jobs)), self._jobs, self._scorer)
        kept = best(trusts, self._share) if trusts else []
        self.left_out = frozenset(trusts).difference(kept)
        self._on_known(trusts, kept)
        return [(job, self._held[job]) for job in kept if job in self._held]

    def close(self) -> None:
        """Remove what is still held: nothing is left of those that were put into place."""
        for job in list(self._held):
            self._remove(job)

    def _scored(self, given: Sequence[Image], made: Sequence[Image]) -> Trust:
        pairs = zip(given, made, strict=True)
        found = [self._scorer.symptoms(before, after, keep_icc=self._keep_icc) for before, after in pairs]
        return self._scorer.of_symptoms({name: sum(one[name] for one in found) / len(found) for name in found[0]})

    def _enters_the_best(self, job: Job, trust: Trust) -> bool:
        """Return whether a result may be kept, as far as is known; one that it takes the place of is removed.

        As `best` ranks, the earlier one of equals comes first.
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
