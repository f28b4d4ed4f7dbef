"""The part of `unpaired translate` that reports trust scores of the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unpaired.headway import Headway
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence

if TYPE_CHECKING:
    from unpaired.cli.translation import TranslateOptions
    from unpaired.translate.jobs import Job
    from unpaired.trust.keeping import ScoringSorter
    from unpaired.trust.score import Scorer, Trust

_NAMED = 10  # largest number of files in a sentence


def sorter(
    scorer: Scorer,
    jobs: Sequence[Job],
    folder: Path,
    options: TranslateOptions,
    finished: Collection[Job],
    headway: Headway,
) -> ScoringSorter:
    """Return the sorter that scores each result, keeps a share of them, and reports all scores at the end.

    The table of scores grows by a row with each image and is written again at the end, in order. With --keep-best it is
    written at the end only, when the results to keep are known, and so it is with several processes.
    """
    from unpaired import ranks
    from unpaired.trust.keeping import ScoringSorter
    from unpaired.trust.scored import GrowingTable

    table = GrowingTable(folder) if options.share == 1 and ranks.world_size() == 1 else None

    def scored(job: Job, trust: Trust | None) -> None:
        if table is not None and trust is not None:
            table.add(job, trust)
        headway.advance()

    return ScoringSorter(
        scorer,
        jobs,
        options.share,
        keep_icc=options.keep_icc,
        finished=finished,
        on_scored=scored,
        on_known=partial(_report, scorer, folder),
    )


def _report(scorer: Scorer, folder: Path, trusts: Mapping[Job, Trust], kept: Sequence[Job]) -> None:
    """Write the table of scores and print a summary; nothing if no image could be scored.

    With several processes each has the scores of all images.
    """
    from unpaired import ranks
    from unpaired.trust.ood import LEAST
    from unpaired.trust.scored import write_table

    if not trusts:
        return
    with ranks.on_rank_zero() as first:
        if first:
            print_sentence(f"Scores: {shown(write_table(folder, trusts, kept))}")
    unlike = [job for job, trust in trusts.items() if trust.out_of_distribution]
    domain = scorer.translator.info.domains[scorer.direction[0]]
    if unlike:
        print_sentence(f"{len(unlike)} of {len(trusts)} are out of distribution for {shown(domain)}: {_names(unlike)}")
        translator = scorer.translator
        trained = None if translator.resizing.resize == "trained" else translator.info.training.load_size
        if trained is not None and 2 * len(unlike) > len(trusts):
            print_sentence(
                f"Training resized images to {trained} pixels; much larger or smaller ones are out of distribution."
            )
    if all(trust.out_of_distribution is None for trust in trusts.values()):
        print_sentence(
            f"Whether these are out of distribution for {shown(domain)} is unknown: the model describes fewer than "
            f"{LEAST} distinct training images, or they are too small."
        )
    chosen = set(kept)
    left = sorted((job for job in trusts if job not in chosen), key=lambda job: trusts[job].score)
    if left:
        print_sentence(f"Kept the {len(kept)} most trusted of {len(trusts)} and left out {len(left)}: {_names(left)}")


def _names(jobs: Sequence[Job]) -> str:
    more = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    return ", ".join(shown(job.source) for job in jobs[:_NAMED]) + more
