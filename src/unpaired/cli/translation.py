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
from unpaired.headway import Headway
from unpaired.live_line import rewrite
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence
from unpaired.translate.jobs import Job, check_existing, variants_of
from unpaired.translate.lost_metadata import LostMetadata
from unpaired.translate.mask_files import MaskFiles
from unpaired.translate.masking import plan_masks, write_masks
from unpaired.translate.outputs import OutputFolders
from unpaired.translate.reading import Reader
from unpaired.translate.record import Record, alone_in, sweep
from unpaired.translate.translating import QUALITY, Failure, choose_precision, translate_files
from unpaired.version import __version__
from unpaired.words import counted

if TYPE_CHECKING:
    from unpaired.translate.translator import Translator
    from unpaired.trust.score import Scorer


@dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """The options besides inputs and model.

    share: fraction of the results to keep, the most trusted ones.
    masks: the folder for masks, None for none.
    mask_files: the masks of the images, None for none.
    """

    direction: str
    batch: int | None
    keep_icc: bool
    overwrite: bool
    resume: bool
    share: float
    masks: Path | None = None
    mask_files: MaskFiles | None = None


def translate_all(
    translator: Translator, scorer: Scorer | None, planned: tuple[Job, ...], folder: Path, options: TranslateOptions
) -> int:
    """Translate the planned jobs into `folder`, report each result and lost metadata; return the number of failures."""
    variants = variants_of(planned)
    images = tuple(variants)
    masks = _planned_masks(translator, images, folder, options)
    with _held(translator, planned, folder, options):
        rewrite(f"Translating {options.direction}: preparing {counted(len(images), 'image')}")
        reader = Reader(translator, options.direction)
        precise = choose_precision(
            translator, images, direction=options.direction, keep_icc=options.keep_icc, reader=reader
        )
        own = [job for image in images[ranks.rank() :: ranks.world_size()] for job in variants[image]]
        record = Record(folder, own, _made_by(translator, planned, options, precise.precision))
        with ranks.on_rank_zero() as first:
            if first:
                record.start()
        finished = record.finished(own) if options.resume else set()
        headway = Headway(f"Translating {options.direction}", len(own) - len(finished if scorer is None else ()))
        report = _Report(record, finished, headway if scorer is None else None)
        sorter = None
        if scorer is not None:
            sorter = scores.sorter(scorer, planned, folder, options, finished, headway)
        chosen = sorter is None or options.share == 1  # whether the results to keep are already known
        if chosen:
            report.count_finished(report.finished, len(planned))
        rest = [job for job in own if job not in report.finished or sorter is not None]
        reader.keep(rest)
        translate_files(
            translator,
            rest,
            direction=options.direction,
            batch=options.batch,
            keep_icc=options.keep_icc,
            on_done=report.done,
            lost=report.lost,
            reader=reader,
            sorter=sorter,
            masks=options.mask_files,
        )
        if sorter is not None and not chosen:
            report.count_finished(report.finished - sorter.left_out, len(planned) - len(sorter.left_out))
        write_masks(translator, masks[ranks.rank() :: ranks.world_size()], direction=options.direction)
        num_made, num_failed = _sum(report.num_made), _sum(report.num_failed)
        lost = LostMetadata.merged(ranks.all_gather_bytes(report.lost.to_message()))
    kind = "image" if len(planned) == len(images) else "result"
    for sentence in lost.sentences():
        print_sentence(sentence)
    print_sentence(f"Translated {num_made} of {counted(len(planned), kind)} into {shown(folder)} in {precise}")
    if options.masks is not None:
        print_sentence(f"Masks: {shown(options.masks)}")
    return num_failed


def _planned_masks(
    translator: Translator, planned: Sequence[Job], folder: Path, options: TranslateOptions
) -> tuple[Job, ...]:
    """Return the masks to write, none without `options.masks`. Raises as `require_masks` and `plan_masks` do."""
    if options.masks is None:
        return ()
    translator.require_masks(options.direction)
    return plan_masks(planned, folder, options.masks, overwrite=options.overwrite or options.resume)


class _Report:
    """Records and prints the result of each job of this process.

    finished: the jobs finished earlier. headway: counts the jobs; None if they are counted elsewhere.
    """

    def __init__(self, record: Record, finished: set[Job], headway: Headway | None) -> None:
        self.finished, self.lost = finished, LostMetadata()
        self.num_made = self.num_failed = 0
        self._failed = ""  # the last failure, which other strengths of the image share
        self._record, self._headway = record, headway

    def count_finished(self, kept: Collection[Job], num_all: int) -> None:
        """Count the lost metadata of the earlier results that are kept, and print their number."""
        for job in kept:
            self.lost.scan(job)
            self.lost.count(job)
        number = _sum(len(kept))
        if number:
            print_sentence(f"{number} of {num_all} were finished before.")

    def done(self, job: Job, failure: Failure | None) -> None:
        """Record and print a finished result, or a failure."""
        if failure is None:
            self.num_made += 1
            self._record.add(job)
            print(f"{shown(job.source)} -> {shown(job.target)}", flush=True)
        elif job not in self.finished:  # else only its score was needed
            self.num_failed += 1
            sentence = f"failed: {failure.sentence(advice_of(failure.error))}"
            if sentence != self._failed:
                print(sentence, flush=True)
            self._failed = sentence
        if self._headway is not None:
            self._headway.advance()


@contextmanager
def _held(translator: Translator, jobs: Sequence[Job], folder: Path, options: TranslateOptions) -> Iterator[None]:
    """Join the process group, and lock the output folder for it."""
    with ExitStack() as held, ranks.process_group(translator.device):
        with ranks.on_rank_zero() as first:
            if first:
                OutputFolders([folder])
                held.enter_context(alone_in(folder))
                # Again: another process may have written while this one waited for the lock.
                check_existing(jobs, folder, overwrite=options.overwrite, resume=options.resume)
                sweep(jobs)
        yield


def _made_by(
    translator: Translator, jobs: Sequence[Job], options: TranslateOptions, precision: str
) -> dict[str, str | int | bool | float]:
    """Return everything besides the input that can change a result by more than rounding."""
    strengths = {job.strength for job in jobs}
    blending: dict[str, str | float] = {}
    if len(strengths) == 1 and strengths != {1.0}:  # of several, the name of a result has its own
        blending["strength"] = next(iter(strengths))
    if options.mask_files is not None:
        blending["masks"] = options.mask_files.fingerprint()
    return {
        "model": translator.fingerprint(options.direction),
        "direction": options.direction,
        "half": " ".join(sorted({job.half for job in jobs})),
        "precision": precision,
        "quality": QUALITY,
        "keep_icc": options.keep_icc,
        "unpaired": __version__,
        **blending,
    }


def _sum(number: int) -> int:
    """Return the sum of a number over all ranks."""
    return sum(int(each) for each in ranks.all_gather_bytes(str(number).encode()))
