"""The work of `unpaired translate` once inputs and outputs are resolved; several processes may share it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unpaired import ranks
from unpaired.cli.output import say
from unpaired.cli.scores import kept_jobs
from unpaired.storage import shown
from unpaired.translate.jobs import Job, check_existing
from unpaired.translate.lost_metadata import Losses
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
        jobs = planned
        if scorer is not None:
            jobs = kept_jobs(scorer, jobs, folder, wishes.share, wishes.keep_icc)
        reader = Reader(translator)
        precise = choose_precision(
            translator, jobs, direction=wishes.direction, keep_icc=wishes.keep_icc, reader=reader
        )
        share = jobs[ranks.rank() :: ranks.count()]
        record = Record(folder, share, _made_by(translator, planned, wishes, precise.precision))
        with ranks.by_first() as first:
            if first:
                record.start()
        finished = record.finished(share) if wishes.resume else set()
        num_finished = _sum(len(finished))
        if num_finished:
            say(f"{num_finished} of {len(jobs)} were finished before.")

        def done(job: Job, failure: Failure | None) -> None:
            if failure is None:
                record.add(job)
            print(f"failed: {failure}" if failure else f"{shown(job.source)} -> {shown(job.target)}", flush=True)

        rest = [job for job in share if job not in finished]
        reader.keep(rest)
        losses = Losses()
        for job in finished:
            losses.look(job)
            losses.count(job)
        failures = translate_files(
            translator,
            rest,
            direction=wishes.direction,
            batch=wishes.batch,
            keep_icc=wishes.keep_icc,
            on_done=done,
            losses=losses,
            reader=reader,
        )
        num_failed = _sum(len(failures))
        losses = Losses.merged(ranks.told_by_all(losses.to_message()))
    for sentence in losses.sentences():
        say(sentence)
    num_made = len(jobs) - num_finished - num_failed
    say(f"Translated {num_made} of {len(planned)} images into {shown(folder)} in {precise}")
    return num_failed


@contextmanager
def _held(translator: Translator, jobs: Sequence[Job], folder: Path, wishes: Wishes) -> Iterator[None]:
    """Join the processes that share the work, and lock the output folder for them."""
    with ExitStack() as held, ranks.joined(translator.device):
        with ranks.by_first() as first:
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
    return sum(int(each) for each in ranks.told_by_all(str(number).encode()))
