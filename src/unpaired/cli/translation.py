"""The work of `unpaired translate` once inputs and outputs are resolved; several processes may share it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unpaired import ranks
from unpaired.cli import scores
from unpaired.cli.advice import advice_of
from unpaired.cli.output import say
from unpaired.storage import shown
from unpaired.translate.jobs import Job, check_existing
from unpaired.translate.lost_metadata import LostMetadata
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.reading import Reader
from unpaired.translate.record import Record, alone_in, sweep
from unpaired.translate.translating import QUALITY, Failure, choose_precision, translate_files
from unpaired.version import __version__

if TYPE_CHECKING:
    from unpaired.translate.translator import Translator
    from unpaired.trust.score import Scorer


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The options beside inputs and model. share: the part of the results that is kept, the most trusted ones."""

    direction: str
    batch: int | None
    keep_icc: bool
    overwrite: bool
    resume: bool
    share: float


def translate_all(
    translator: Translator, scorer: Scorer | None, planned: tuple[Job, ...], folder: Path, wishes: Wishes
) -> int:
    """Translate what is planned into `folder`, report each result and what results lack, return how many failed."""
    with _held(translator, planned, folder, wishes):
        reader = Reader(translator)
        precise = choose_precision(
            translator, planned, direction=wishes.direction, keep_icc=wishes.keep_icc, reader=reader
        )
        own = planned[ranks.rank() :: ranks.world_size()]
        record = Record(folder, own, _made_by(translator, planned, wishes, precise.precision))
        with ranks.on_rank_zero() as first:
            if first:
                record.start()
        report = _Report(record, record.finished(own) if wishes.resume else set())
        sorter = None
        if scorer is not None:
            sorter = scores.sorter(scorer, planned, folder, wishes.share, wishes.keep_icc, report.finished)
        chosen = sorter is None or wishes.share == 1  # whether it is known by now which results are kept
        if chosen:
            report.count_finished(report.finished, len(planned))
        rest = [job for job in own if job not in report.finished or sorter is not None]
        reader.keep(rest)
        translate_files(
            translator,
            rest,
            direction=wishes.direction,
            batch=wishes.batch,
            keep_icc=wishes.keep_icc,
            on_done=report.done,
            lost=report.lost,
            reader=reader,
            sorter=sorter,
        )
        if sorter is not None and not chosen:
            report.count_finished(report.finished - sorter.left_out, len(planned) - len(sorter.left_out))
        num_made, num_failed = _sum(report.num_made), _sum(report.num_failed)
        lost = LostMetadata.merged(ranks.all_gather_bytes(report.lost.to_message()))
    for sentence in lost.sentences():
        say(sentence)
    say(f"Translated {num_made} of {len(planned)} images into {shown(folder)} in {precise}")
    return num_failed


class _Report:
    """Notes and prints what becomes of each job of this process. finished: those that were finished before."""

    def __init__(self, record: Record, finished: set[Job]) -> None:
        self.finished, self.lost = finished, LostMetadata()
        self.num_made = self.num_failed = 0
        self._record = record

    def count_finished(self, kept: Collection[Job], num_all: int) -> None:
        """Count what results lack that were finished before and are kept, and print how many there are."""
        for job in kept:
            self.lost.scan(job)
            self.lost.count(job)
        number = _sum(len(kept))
        if number:
            say(f"{number} of {num_all} were finished before.")

    def done(self, job: Job, failure: Failure | None) -> None:
        """Note and print a result that is in place, or a failure."""
        if failure is None:
            self.num_made += 1
            self._record.add(job)
        elif job in self.finished:  # it was to be scored alone
            return
        else:
            self.num_failed += 1
        line = f"{shown(job.source)} -> {shown(job.target)}"
        print(f"failed: {failure.sentence(advice_of(failure.error))}" if failure else line, flush=True)


@contextmanager
def _held(translator: Translator, jobs: Sequence[Job], folder: Path, wishes: Wishes) -> Iterator[None]:
    """Join the processes that share the work, and lock the output folder for them."""
    with ExitStack() as held, ranks.process_group(translator.device):
        with ranks.on_rank_zero() as first:
            if first:
                OutputFolders([folder])
                held.enter_context(alone_in(folder))
                # Once more: another process may have written while this one waited for its turn to look.
                check_existing(jobs, folder, overwrite=wishes.overwrite, resume=wishes.resume)
                sweep(jobs)
        yield


def _made_by(
    translator: Translator, jobs: Sequence[Job], wishes: Wishes, precision: str
) -> dict[str, str | int | bool]:
    """Return everything that can change a result beside its input by more than rounding."""
    return {
        "model": translator.fingerprint(wishes.direction),
        "direction": wishes.direction,
        "half": " ".join(sorted({job.half for job in jobs})),
        "precision": precision,
        "quality": QUALITY,
        "keep_icc": wishes.keep_icc,
        "unpaired": __version__,
    }


def _sum(number: int) -> int:
    """Return the sum of the processes' numbers."""
    return sum(int(each) for each in ranks.all_gather_bytes(str(number).encode()))
