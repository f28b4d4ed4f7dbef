"""Several processes that train as one: what they share, what they agree on, and what happens when one is lost.

Every rank makes its own part of each batch, in rank order, and all of them hold the same state. Gradients are averaged
in one message a player instead of by hooks in the backward pass, so that it works for any method, and a step that is
left out leaves nothing behind. Where nobody has joined, each function is that of a single process, and costs nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from unpaired.errors import ConfigError, EndedElsewhere, Interrupted, NonFiniteError, RankError, UnpairedError
from unpaired.launch import Launch, launched

_PrefixStore = dist.PrefixStore  # type: ignore[attr-defined]  # documented, and not typed

T = TypeVar("T")

PATIENCE = 30
"""Seconds without a sign of life after which a rank counts as lost."""

_START_PATIENCE = timedelta(minutes=10)  # until all ranks are there: machines may start one after another
_MESSAGE_PATIENCE = timedelta(days=1)  # rank 0 may check images or write for long; `_Watch` tells who is lost
_BEAT = 2  # seconds between two signs of life
_OF_ALL = (EndedElsewhere, Interrupted, NonFiniteError)  # what every rank raises at once

_joined = Launch()


def rank() -> int:
    """Return the number of this process, 0 where it is alone."""
    return _joined.rank


def count() -> int:
    """Return how many processes train together."""
    return _joined.count


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the processes that torchrun started for the body; nothing happens where this one is alone.

    device: where this rank computes. An error that this rank alone raises in the body says which rank it was. The
    process ends, with a sentence and RankError's exit code, when another rank gives no sign of life for PATIENCE
    seconds. Raises RankError where the ranks cannot come together or one of them ends.
    """
    global _joined
    launch = launched()
    if launch.count == 1:
        yield
        return
    try:
        with _connected():
            store = _store(launch)
            watch = _Watch(launch, store)
            dist.init_process_group(
                _backend(device, launch),
                store=_PrefixStore("messages", store),
                rank=launch.rank,
                world_size=launch.count,
                timeout=_MESSAGE_PATIENCE,
            )
        _joined = launch
        try:
            yield
            barrier()
        finally:
            _joined = Launch()
            watch.stop()
            with suppress(RuntimeError):
                dist.destroy_process_group()
    except UnpairedError as error:
        if not isinstance(error, _OF_ALL):
            error.args = (f"Rank {launch.rank} of {launch.count}: {error}",)
            error.of_one_rank = True
        raise


def own_part(items: Sequence[T]) -> list[T]:
    """Return this rank's share of what belongs to a whole batch, in rank order."""
    return part_of(items, rank(), count())


def part_of(items: Sequence[T], rank: int, count: int) -> list[T]:
    """Return the share of one rank of `count` in items that can be dealt out evenly."""
    size = len(items) // count
    return list(items[rank * size : (rank + 1) * size])


def dealt(items: Sequence[T], rank: int, count: int, num_parts: int) -> list[T]:
    """Return the share of one rank of `count` where a batch is taken in parts, one after the other.

    Each part is dealt out to all ranks, so that these see the images in the order in which a single process does.
    """
    size = len(items) // num_parts
    parts = [items[number * size : (number + 1) * size] for number in range(num_parts)]
    return [item for part in parts for item in part_of(part, rank, count)]


def require_even(batch_size: int, setting: str) -> None:
    """Raise ConfigError where a batch cannot be dealt out evenly to the processes that were started."""
    many = launched().count
    if batch_size % many:
        raise ConfigError(
            f"{setting} is {batch_size}, the images of a step over all processes, and cannot be shared evenly by "
            f"{many}; give a multiple of {many}, or start another number of processes."
        )


def possible_parts(batch_size: int, least: int = 1) -> list[int]:
    """Return in how many equal parts, at least `least`, the images that each process has of a batch can be taken."""
    own = batch_size // launched().count
    return [number for number in range(least, own + 1) if own % number == 0]


def require_even_parts(batch_size: int, num_parts: int, setting: str) -> None:
    """Raise ConfigError where the images of a batch that each process has cannot be taken in so many equal parts."""
    own = batch_size // launched().count
    if own % num_parts:
        raise ConfigError(
            f"{setting} is {num_parts}, and the {own} image{'s'[: own > 1]} of a batch that each process has cannot be "
            f"taken in as many equal parts; give a divisor of {own}."
        )


def of_own_images(draw: Callable[[int], Tensor], num_images: int) -> Tensor:
    """Return what `draw` gives this rank's images when it is called with the number of images of all ranks.

    All ranks draw the same from generators of one seed, so no two images have the same draw, and it does not
    depend on how many ranks there are.
    """
    return draw(num_images * count())[rank() * num_images : (rank() + 1) * num_images]


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over all ranks, in place, in one message for each type of number."""
    if count() == 1:
        return
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        those = [tensor for tensor in tensors if tensor.dtype == dtype]
        message = _sendable(torch.cat([tensor.reshape(-1) for tensor in those]))
        with _connected():
            dist.all_reduce(message)
        message /= count()
        means = torch.split(message, [tensor.numel() for tensor in those])
        for tensor, mean in zip(those, means, strict=True):
            tensor.copy_(mean.view_as(tensor))


def gathered(images: Tensor) -> Tensor:
    """Return the images of all ranks, detached and in rank order; each rank has as many, of one size."""
    if count() == 1:
        return images
    mine = _sendable(images.detach().contiguous().view(torch.uint8))  # as bytes: not every backend knows every type
    parts = [torch.empty_like(mine) for _ in range(count())]
    with _connected():
        dist.all_gather(parts, mine)
    return torch.cat(parts).view(images.dtype).to(images.device)


def agreed(number: int) -> int:
    """Return the largest of the ranks' numbers."""
    if count() == 1:
        return number
    message = torch.tensor(number)
    with _connected():
        dist.all_reduce(message, dist.ReduceOp.MAX)
    return int(message)


def barrier() -> None:
    """Wait for all ranks."""
    agreed(0)


def told_by_first(message: bytes) -> bytes:
    """Return what rank 0 gives; what others give is ignored."""
    if count() == 1:
        return message
    size = agreed(len(message) if rank() == 0 else 0)
    content = torch.zeros(size, dtype=torch.uint8)
    if rank() == 0 and size:
        content = torch.frombuffer(bytearray(message), dtype=torch.uint8)
    with _connected():
        dist.broadcast(content, 0)
    return content.numpy().tobytes()


def told_by_all(message: bytes) -> list[bytes]:
    """Return what each rank gives, in rank order."""
    if count() == 1:
        return [message]
    sizes = [torch.tensor(0) for _ in range(count())]
    with _connected():
        dist.all_gather(sizes, torch.tensor(len(message)))
        padded = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
        if message:
            padded[: len(message)] = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        contents = [torch.empty_like(padded) for _ in range(count())]
        dist.all_gather(contents, padded)
    return [content[: int(size)].numpy().tobytes() for content, size in zip(contents, sizes, strict=True)]


def shared_out(things: Sequence[T], work: Callable[[T], dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Yield what `work` makes of each thing, in their order and on every rank; each rank does its share of the work.

    In rounds of one thing a rank, so that no more than a round is held at once; every rank must go through all of it.
    """
    if count() == 1:
        yield from map(work, things)
        return
    for start in range(0, len(things), count()):
        mine = start + rank()
        message = _to_message(work(things[mine])) if mine < len(things) else b""
        for told in told_by_all(message)[: len(things) - start]:
            yield _from_message(told)


def _to_message(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors by name as bytes; numbered, as the format has an order of its own."""
    numbered = {f"{number} {name}": tensor for number, (name, tensor) in enumerate(tensors.items())}
    return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in numbered.items()})


def _from_message(message: bytes) -> dict[str, Tensor]:
    """Return what `_to_message` was given, in its order."""
    found = safetensors.torch.load(message)
    names = [name.partition(" ") for name in found]
    return {name: found[f"{number} {name}"] for number, _, name in sorted(names, key=lambda parts: int(parts[0]))}


@contextmanager
def alone() -> Iterator[None]:
    """Have the body compute as a process does that shares nothing: its draws are those of its own images."""
    global _joined
    before, _joined = _joined, Launch()
    try:
        yield
    finally:
        _joined = before


@contextmanager
def by_first() -> Iterator[bool]:
    """Give True to rank 0, whose body does the work, and False to the others, which wait until it is done.

    What it raises ends the others with EndedElsewhere.
    """
    if count() == 1:
        yield True
    elif rank():
        yield False
        code = agreed(0)
        if code:
            raise EndedElsewhere(code)
    else:
        try:
            yield True
        except BaseException as error:
            with suppress(RankError):  # the first error is the one to tell
                agreed(error.exit_code if isinstance(error, UnpairedError) else 1)
            raise
        agreed(0)


def require_same(
    text: str,
    what: str,
    advice: str = "run all on the same kind of processor or GPU with the same versions, and the same command goes on "
    "from the last checkpoint",
) -> None:
    """Raise RankError on every rank where `text` is not the same on all."""
    texts = told_by_all(text.encode(errors="backslashreplace"))
    other = [number for number, each in enumerate(texts) if each != texts[0]]
    if other:
        raise RankError(f"{what} differs between rank 0 and {_ranks(other)}, which must never be; {advice}.")


class _Watch:
    """Tells whether the other ranks are alive, and ends this process when one is not.

    A process that is killed closes its connections, which is noticed at once wherever one waits for its message. This
    is for what is not: a machine that lost its power or its network, a process that was stopped, a GPU library that
    waits for ever.
    """

    def __init__(self, launch: Launch, store: Any) -> None:
        self._launch = launch
        self._names = [f"beat {number}" for number in range(launch.count)]
        store.set(self._names[launch.rank], "0")
        store.wait(self._names, _START_PATIENCE)
        self._store = store.clone()  # a connection of its own: another may be waiting for an answer
        self._store.set_timeout(timedelta(seconds=PATIENCE))
        self._silent = [0] * launch.count
        self._over = threading.Event()
        for target in (self._beat, self._count):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """End the watch."""
        self._over.set()

    def _beat(self) -> None:
        """Give signs of life, and take note of those of the others."""
        seen, number = [b""] * self._launch.count, 0
        while not self._over.wait(_BEAT):
            number += 1
            with suppress(RuntimeError):  # the store is gone with its machine; `_count` tells
                self._store.set(self._names[self._launch.rank], str(number))
                beats = self._store.multi_get(self._names)
                for other, beat in enumerate(beats):
                    if beat != seen[other]:
                        self._silent[other] = 0
                seen = beats

    def _count(self) -> None:
        # In waits of a second, not by a clock, so that a suspended machine is not taken for a lost one.
        while not self._over.wait(1):
            self._silent = [seconds + 1 for seconds in self._silent]
            lost = [number for number, seconds in enumerate(self._silent) if seconds > PATIENCE]
            if lost and lost != [self._launch.rank]:
                others = [number for number in lost if number != self._launch.rank]
                print(
                    f"unpaired: Rank {self._launch.rank} of {self._launch.count}: no sign of life from "
                    f"{_ranks(others)} for {PATIENCE} seconds; {_ADVICE}",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(RankError.exit_code)  # the other thread may be waiting in a library, where nothing reaches it


_ADVICE = "the checkpoints are whole, so the same command goes on from the last one."


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _store(launch: Launch) -> Any:
    """Return the table of names and values that all ranks reach, which torchrun or rank 0 keeps."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise ConfigError(f"{missing[0]} is not in the environment; start several processes with torchrun.")
    store, _, _ = next(rendezvous("env://", launch.rank, launch.count, timeout=_START_PATIENCE))
    return _PrefixStore(f"unpaired {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _backend(device: torch.device, launch: Launch) -> str:
    """Return what carries messages: NCCL between GPUs, else gloo, which goes through the machines' memory."""
    own_gpu = device.type == "cuda" and device.index == launch.local_rank
    return "cpu:gloo,cuda:nccl" if own_gpu and dist.is_nccl_available() else "gloo"


def _sendable(tensor: Tensor) -> Tensor:
    """Return the tensor where the backend can take it."""
    return tensor if tensor.device.type == "cuda" and "nccl" in dist.get_backend_config() else tensor.cpu()


@contextmanager
def _connected() -> Iterator[None]:
    """Turn a failure to reach the other ranks into RankError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split("\n", 1)[0].split(". ", 1)[0].rsplit("] ", 1)[-1][:200]
        raise RankError(f"another process has ended or cannot be reached ({reason}); {_ADVICE}") from None
