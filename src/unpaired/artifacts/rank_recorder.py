"""One run in several processes: all start from rank 0's state; rank 0 writes while the others wait."""

from __future__ import annotations

import json
from collections.abc import Callable

import safetensors.torch

from unpaired import ranks
from unpaired.tensor_files import serialised
from unpaired.training.loop import Recorder
from unpaired.training.progress import Progress
from unpaired.training.state import TrainingState


def share_state(state: TrainingState) -> None:
    """Broadcast rank 0's `state` to every rank."""
    mine = state.parts() if ranks.rank() == 0 else {}
    counters, names = json.loads(ranks.broadcast_bytes(json.dumps([state.counters(), list(mine)]).encode()))
    parts = {}
    for name in names:
        parts[name] = safetensors.torch.load(ranks.broadcast_bytes(serialised(mine.get(name, {}))))
    if ranks.rank():
        state.restore(parts, counters)


class RankRecorder:
    """Calls `first`, the recorder of rank 0 (None on other ranks); an error in it ends all ranks.

    Before a checkpoint the ranks compare the hashes of their states, and report lost loader processes to rank 0.
    """

    def __init__(self, first: Recorder | None) -> None:
        self._first = first
        self._lost: list[tuple[int, str, str]] = []

    def progress(self, progress: Progress) -> None:
        """Record a logged step."""
        self._by_first(lambda recorder: recorder.progress(progress))

    def sample(self, state: TrainingState) -> None:
        """Draw the sample grid with the present weights."""
        self._by_first(lambda recorder: recorder.sample(state))

    def event(self, step: int, kind: str, sentence: str) -> None:
        """Record an event: at once on rank 0, on other ranks before the next checkpoint."""
        if self._first is not None:
            self._first.event(step, kind, sentence)
        elif kind == "loader":  # the other kinds happen on all ranks at once
            self._lost.append((step, kind, f"Rank {ranks.rank()}: {sentence}"))

    def checkpoint(self, state: TrainingState) -> None:
        """Save everything that resuming needs, after checking that all ranks have the same state."""
        ranks.require_same(state.sha256(), f"The state after step {state.step}")
        messages = ranks.all_gather_bytes(json.dumps(self._lost).encode())
        self._lost.clear()

        def save(recorder: Recorder) -> None:
            for message in messages:
                for step, kind, sentence in json.loads(message):
                    recorder.event(step, kind, sentence)
            recorder.checkpoint(state)

        self._by_first(save)

    def finish(self) -> None:
        """Wait until rank 0 has written everything."""
        self._by_first(lambda recorder: recorder.finish())

    def _by_first(self, work: Callable[[Recorder], None]) -> None:
        with ranks.on_rank_zero():
            if self._first is not None:
                work(self._first)
