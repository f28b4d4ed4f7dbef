"""Data-parallel training: the process group, its collectives, and detection of lost ranks.

Every rank processes its own shard of each batch, in rank order, and holds the same state. Gradients are averaged in one
all-reduce per player instead of by hooks in the backward pass. This works for any method, and a skipped step leaves no
partial gradients. Without a process group every function is that of a single process, at no cost.
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
"""Seconds without a heartbeat after which a rank counts as lost."""

_START_TIMEOUT = timedelta(minutes=10)  # for all ranks to join: machines may start one after another
_COLLECTIVE_TIMEOUT = timedelta(days=1)  # rank 0 may check images or write for long; `_Heartbeat` detects lost ranks
_BEAT = 2  # seconds between two heartbeats
_RAISED_BY_ALL = (EndedElsewhere, Interrupted, NonFiniteError)  # errors that every rank raises at the same step

_joined = Launch()


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return _joined.rank


def world_size() -> int:
    """Return the number of processes in the process group, 1 without one."""
    return _joined.world_size


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the process group started by torchrun for the duration of the block; no-op with a single process.

    device: the device of this rank.

    An error raised in the block by this rank alone is prefixed with its rank. If another rank sends no heartbeat for
    PATIENCE seconds, this process prints a sentence and exits with RankError's exit code. Raises RankError if the ranks
    cannot connect or one of them ends.
    """
    global _joined
    launch = launched()
    if launch.world_size == 1:
        yield
        return
    try:
        with _connected():
            store = _store(launch)
            heartbeat = _Heartbeat(launch, store)
            dist.init_process_group(
                _backend(device, launch),
                store=_PrefixStore("messages", store),
                rank=launch.rank,
                world_size=launch.world_size,
                timeout=_COLLECTIVE_TIMEOUT,
            )
        _joined = launch
        try:
            yield
            barrier()
        finally:
            _joined = Launch()
            heartbeat.stop()
            with suppress(RuntimeError):
                dist.destroy_process_group()
    except UnpairedError as error:
        if not isinstance(error, _RAISED_BY_ALL):
            error.args = (f"Rank {launch.rank} of {launch.world_size}: {error}",)
            error.of_one_rank = True
        raise


def own_shard(items: Sequence[T]) -> list[T]:
    """Return this rank's shard of the items of a global batch, in rank order."""
    return shard_of(items, rank(), world_size())


def shard_of(items: Sequence[T], rank: int, count: int) -> list[T]:
    """Return the shard of one rank of `count`; the number of items must be divisible by `count`."""
    size = len(items) // count
    return list(items[rank * size : (rank + 1) * size])


def shard_of_micro_batches(items: Sequence[T], rank: int, count: int, num_micro_batches: int) -> list[T]:
    """Return the shard of one rank of `count` for a batch of `num_micro_batches` micro-batches.

    Each micro-batch is sharded over all ranks, so that they see the images in the order of a single process.
    """
    size = len(items) // num_micro_batches
    parts = [items[number * size : (number + 1) * size] for number in range(num_micro_batches)]
    return [item for part in parts for item in shard_of(part, rank, count)]


def require_divisible(batch_size: int, setting: str) -> None:
    """Raise ConfigError if the global batch size is not divisible by the number of processes."""
    many = launched().world_size
    if batch_size % many:
        raise ConfigError(
            f"{setting} is {batch_size}, the global batch size, and is not divisible by {many} processes; "
            f"give a multiple of {many}, or start another number of processes."
        )


def possible_micro_batches(batch_size: int, least: int = 1) -> list[int]:
    """Return the numbers, at least `least`, of equal micro-batches that the per-process batch can be split into."""
    own = batch_size // launched().world_size
    return [number for number in range(least, own + 1) if own % number == 0]


def require_equal_micro_batches(batch_size: int, number: int, setting: str) -> None:
    """Raise ConfigError if the per-process batch cannot be split into `number` micro-batches of equal size."""
    own = batch_size // launched().world_size
    if own % number:
        raise ConfigError(
            f"{setting} is {number}, and the per-process batch of {own} image{'s'[: own > 1]} cannot be split into "
            f"as many micro-batches of equal size; give a divisor of {own}."
        )


def draw_for_own_images(draw: Callable[[int], Tensor], num_images: int) -> Tensor:
    """Call `draw` with the number of images of all ranks and return this rank's slice of the result.

    All ranks use the same seed, so every image has its own random numbers, independent of the number of ranks.
    """
    return draw(num_images * world_size())[rank() * num_images : (rank() + 1) * num_images]


@torch.no_grad()
def all_reduce_mean(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over all ranks, in place, with one all-reduce per dtype."""
    if world_size() == 1:
        return
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        bucket = [tensor for tensor in tensors if tensor.dtype == dtype]
        message = _sendable(torch.cat([tensor.reshape(-1) for tensor in bucket]))
        with _connected():
            dist.all_reduce(message)
        message /= world_size()
        means = torch.split(message, [tensor.numel() for tensor in bucket])
        for tensor, mean in zip(bucket, means, strict=True):
            tensor.copy_(mean.view_as(tensor))


def all_gather(images: Tensor) -> Tensor:
    """Return the images of all ranks, detached and in rank order; the shape must be the same on every rank."""
    if world_size() == 1:
        return images
    mine = _sendable(images.detach().contiguous().view(torch.uint8))  # as bytes: no backend supports every dtype
    parts = [torch.empty_like(mine) for _ in range(world_size())]
    with _connected():
        dist.all_gather(parts, mine)
    return torch.cat(parts).view(images.dtype).to(images.device)


def all_reduce_max(number: int) -> int:
    """Return the maximum of `number` over all ranks."""
    if world_size() == 1:
        return number
    message = torch.tensor(number)
    with _connected():
        dist.all_reduce(message, dist.ReduceOp.MAX)
    return int(message)


def barrier() -> None:
    """Wait for all ranks."""
    all_reduce_max(0)


def broadcast_bytes(message: bytes) -> bytes:
    """Return the message of rank 0 on every rank; the arguments of other ranks are ignored."""
    if world_size() == 1:
        return message
    size = all_reduce_max(len(message) if rank() == 0 else 0)
    content = torch.zeros(size, dtype=torch.uint8)
    if rank() == 0 and size:
        content = torch.frombuffer(bytearray(message), dtype=torch.uint8)
    with _connected():
        dist.broadcast(content, 0)
    return content.numpy().tobytes()


def all_gather_bytes(message: bytes) -> list[bytes]:
    """Return the messages of all ranks, in rank order."""
    if world_size() == 1:
        return [message]
    sizes = [torch.tensor(0) for _ in range(world_size())]
    with _connected():
        dist.all_gather(sizes, torch.tensor(len(message)))
        padded = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
        if message:
            padded[: len(message)] = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        contents = [torch.empty_like(padded) for _ in range(world_size())]
        dist.all_gather(contents, padded)
    return [content[: int(size)].numpy().tobytes() for content, size in zip(contents, sizes, strict=True)]


def distributed_map(things: Sequence[T], work: Callable[[T], dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Yield `work(thing)` for each thing, in order and on every rank; each rank computes its share.

    Works in rounds of one thing per rank, so that only one round is in memory. Every rank must exhaust the iterator.
    """
    if world_size() == 1:
        yield from map(work, things)
        return
    for start in range(0, len(things), world_size()):
        mine = start + rank()
        message = _to_message(work(things[mine])) if mine < len(things) else b""
        for received in all_gather_bytes(message)[: len(things) - start]:
            yield _from_message(received)


def _to_message(tensors: Mapping[str, Tensor]) -> bytes:
    """Serialise named tensors; the names are numbered because safetensors does not keep the order."""
    numbered = {f"{number} {name}": tensor for number, (name, tensor) in enumerate(tensors.items())}
    return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in numbered.items()})


def _from_message(message: bytes) -> dict[str, Tensor]:
    """Return the named tensors serialised by `_to_message`, in their original order."""
    loaded = safetensors.torch.load(message)
    names = [name.partition(" ") for name in loaded]
    return {name: loaded[f"{number} {name}"] for number, _, name in sorted(names, key=lambda parts: int(parts[0]))}


@contextmanager
def single_process() -> Iterator[None]:
    """Run the block without the process group, such that random numbers are drawn for this process's images only."""
    global _joined
    before, _joined = _joined, Launch()
    try:
        yield
    finally:
        _joined = before


@contextmanager
def on_rank_zero() -> Iterator[bool]:
    """Yield True on rank 0, which does the work, and False on the other ranks, which wait until it is done.

    If rank 0 raises an error, the other ranks raise EndedElsewhere.
    """
    if world_size() == 1:
        yield True
    elif rank():
        yield False
        code = all_reduce_max(0)
        if code:
            raise EndedElsewhere(code)
    else:
        try:
            yield True
        except BaseException as error:
            with suppress(RankError):  # report the first error, not this one
                all_reduce_max(error.exit_code if isinstance(error, UnpairedError) else 1)
            raise
        all_reduce_max(0)


def require_same(
    text: str,
    what: str,
    advice: str = "run all ranks on the same kind of processor or GPU with the same versions; the same command resumes "
    "from the last checkpoint",
) -> None:
    """Raise RankError on every rank if `text` differs between ranks."""
    texts = all_gather_bytes(text.encode(errors="backslashreplace"))
    other = [number for number, each in enumerate(texts) if each != texts[0]]
    if other:
        raise RankError(f"{what} differs between rank 0 and {_ranks(other)}, but must be identical; {advice}.")


class _Heartbeat:
    """Exchanges heartbeats with the other ranks and ends this process if one of them is lost.

    A killed process closes its connections, and collectives notice that at once. Heartbeats detect the other failures:
    a machine without power or network, a stopped process, a GPU library that hangs.
    """

    def __init__(self, launch: Launch, store: Any) -> None:
        self._launch = launch
        self._names = [f"beat {number}" for number in range(launch.world_size)]
        store.set(self._names[launch.rank], "0")
        store.wait(self._names, _START_TIMEOUT)
        self._store = store.clone()  # a separate connection: the first one may be blocked by a request
        self._store.set_timeout(timedelta(seconds=PATIENCE))
        self._silent = [0] * launch.world_size
        self._over = threading.Event()
        for target in (self._beat, self._count):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """Stop sending and checking heartbeats."""
        self._over.set()

    def _beat(self) -> None:
        """Send heartbeats and reset the silence of every rank whose heartbeat changed."""
        latest, number = [b""] * self._launch.world_size, 0
        while not self._over.wait(_BEAT):
            number += 1
            with suppress(RuntimeError):  # the store is lost with its machine; `_count` reports it
                self._store.set(self._names[self._launch.rank], str(number))
                beats = self._store.multi_get(self._names)
                for other, beat in enumerate(beats):
                    if beat != latest[other]:
                        self._silent[other] = 0
                latest = beats

    def _count(self) -> None:
        # Counts waits of a second instead of reading a clock, so that a suspended machine does not count as lost.
        while not self._over.wait(1):
            self._silent = [seconds + 1 for seconds in self._silent]
            lost = [number for number, seconds in enumerate(self._silent) if seconds > PATIENCE]
            if lost and lost != [self._launch.rank]:
                others = [number for number in lost if number != self._launch.rank]
                print(
                    f"unpaired: Rank {self._launch.rank} of {self._launch.world_size}: no sign of life from "
                    f"{_ranks(others)} for {PATIENCE} seconds; {_ADVICE}",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(RankError.exit_code)  # the main thread may be blocked in a library that no signal interrupts


_ADVICE = "the checkpoints are intact, so the same command resumes from the last one."


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _store(launch: Launch) -> Any:
    """Return the key-value store shared by all ranks, which torchrun or rank 0 hosts."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise ConfigError(f"{missing[0]} is not in the environment; start several processes with torchrun.")
    store, _, _ = next(rendezvous("env://", launch.rank, launch.world_size, timeout=_START_TIMEOUT))
    return _PrefixStore(f"unpaired {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _backend(device: torch.device, launch: Launch) -> str:
    """Return the backend of collectives: NCCL if each rank has its own GPU, else gloo, which uses host memory."""
    own_gpu = device.type == "cuda" and device.index == launch.local_rank
    return "cpu:gloo,cuda:nccl" if own_gpu and dist.is_nccl_available() else "gloo"


def _sendable(tensor: Tensor) -> Tensor:
    """Return the tensor on a device that the backend supports."""
    return tensor if tensor.device.type == "cuda" and "nccl" in dist.get_backend_config() else tensor.cpu()


@contextmanager
def _connected() -> Iterator[None]:
    """Turn a failure to reach the other ranks into RankError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split("\n", 1)[0].split(". ", 1)[0].rsplit("] ", 1)[-1][:200]
        raise RankError(f"another process has ended or cannot be reached ({reason}); {_ADVICE}") from None
