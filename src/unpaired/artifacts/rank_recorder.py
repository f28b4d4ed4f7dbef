"""One run in several processes: all start from rank 0's state, rank 0 writes, the others wait until it has."""

from __future__ import annotations

import json
from collections.abc import Callable

import safetensors.torch

from unpaired import ranks
from unpaired.training.loop import Recorder
from unpaired.training.progress import Progress
from unpaired.training.state import TrainingState


def share_state(state: TrainingState) -> None:
    """Put every rank's `state` where rank 0's is."""
    mine = state.parts() if ranks.rank() == 0 else {}
    counters, names = json.loads(ranks.broadcast_bytes(json.dumps([state.counters(), list(mine)]).encode()))
    parts = {}
    for name in names:
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in mine.get(name, {}).items()}
        parts[name] = safetensors.torch.load(ranks.broadcast_bytes(safetensors.torch.save(tensors)))
    if ranks.rank():
        state.restore(parts, counters)


class RankRecorder:
    """Passes on to `first`, rank 0's recorder, None elsewhere; an error in it ends the other ranks too.

    Before a checkpoint the ranks compare the hashes of their state, and tell rank 0 which loader processes they lost.
    """

    def __init__(self, first: Recorder | None) -> None:
        self._first = first
        self._lost: list[tuple[int, str, str]] = []

    def progress(self, progress: Progress) -> None:
        """Take note of a logged step."""
        self._by_first(lambda recorder: recorder.progress(progress))

    def sample(self, state: TrainingState) -> None:
        """Draw what the networks make of the preview images now."""
        self._by_first(lambda recorder: recorder.sample(state))

    def event(self, step: int, kind: str, sentence: str) -> None:
        """Take note of something that happened: at once on rank 0, elsewhere before the next checkpoint."""
        if self._first is not None:
            self._first.event(step, kind, sentence)
        elif kind == "loader":  # the other kinds happen on all ranks at once
            self._lost.append((step, kind, f"Rank {ranks.rank()}: {sentence}"))

    def checkpoint(self, state: TrainingState) -> None:
        """Save everything that resuming needs, once it is certain that all ranks hold the same."""
        ranks.require_same(state.sha256(), f"The state after step {state.step}")
        told = ranks.all_gather_bytes(json.dumps(self._lost).encode())
        self._lost.clear()

        def save(recorder: Recorder) -> None:
            for message in told:
                for step, kind, sentence in json.loads(message):
                    recorder.event(step, kind, sentence)
            recorder.checkpoint(state)

        self._by_first(save)

    def _by_first(self, work: Callable[[Recorder], None]) -> None:
        with ranks.on_rank_zero():
            if self._first is not None:
                work(self._first)
