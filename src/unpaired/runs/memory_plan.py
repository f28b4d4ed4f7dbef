"""What a run needs of memory, told before it starts, and the settings with which it fits what it may take.

The bytes of its tensors are counted (`unpaired.runs.footprint`), and what a process takes for them was measured:
benchmarks/2026-11-25-memory.md has the cases, those that the constants here were fitted on and the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, product

import numpy as np
import torch

from unpaired import ranks
from unpaired.config import differences, require
from unpaired.data.datasets import WHOLE_IMAGES, DataConfig
from unpaired.data.domains import Domains
from unpaired.data.held_out import held_out_images
from unpaired.devices import has_bf16
from unpaired.errors import ConfigError
from unpaired.recipes import Config, at_size, build_objective
from unpaired.runs.footprint import Footprint, footprint
from unpaired.runs.validation_setup import most_held_out
from unpaired.training.machine import memory_now
from unpaired.training.run_config import memory_bytes

_log = logging.getLogger("unpaired")

STEP_FACTOR = 1.0
"""Bytes that a process takes for a byte of tensors in a step or a sample grid."""

CHECKPOINT_FACTOR = 0.95
"""The same for what a checkpoint makes, on top of all that a step took: memory once freed is not found again for it."""

BEYOND = 60e6
"""Bytes that are taken besides: code that libraries load and compile in the first step."""

THREADS_FACTOR, THREADS_BEYOND = 1.15, 110e6
"""STEP_FACTOR and BEYOND where a step has several threads, each of which works in memory of its own."""

MARGIN = 1.12
"""How much more than expected there must be room for."""

LOADER = 0.25e9
"""Bytes that a loader process is counted as, beside the images it keeps."""

_CROPS = (3 / 4, 1 / 2, 3 / 8, 1 / 4)
_SMALLEST_CROP = 64

Expected = Callable[[Config], float]
"""Tells the bytes that a run takes at most, beside its loaders and the decoded images that are kept."""


@dataclass(frozen=True)
class Plan:
    """Settings that fit what a run may take, and the bytes they are expected to take."""

    config: Config
    expected: float


def planned(config: Config, domains: Domains, before: Config | None, device: torch.device) -> Config:
    """Return the settings with which a run fits `run.memory`, and log what was chosen and is expected.

    before: the settings of a run that goes on, which are taken again. Raises ConfigError where nothing fits, with what
    the smallest plan needs.
    """
    limit = memory_bytes(config.run.memory)
    if not limit:
        return config
    name = config.data.preprocess
    require(
        name not in WHOLE_IMAGES,
        f"run.memory plans for crops of one size, which data.preprocess {name} does not make; leave one of them out.",
    )
    bf16 = has_bf16(device) or (before is not None and before.run.precision == "bf16")
    choices = list(alternatives(config, bf16=bf16))
    if before is not None:
        choices = [same for size in choices if (same := [each for each in size if not differences(before, each)])]
        again = [each for size in choices for each in size if _way_of(each) == _way_of(before)]
        if again and config.run.memory == before.run.memory:
            cache_mb = min(config.data.cache_mb, before.data.cache_mb)
            return replace(again[0], data=replace(again[0].data, cache_mb=cache_mb))
        if not choices:  # the run is another one, which is told where settings are compared
            return config
    on_processor = device.type == "cpu"
    num_images = sum(len(source) for source in (domains.train_a, domains.train_b) if source is not None)
    images = decoded(config.data, num_images) if on_processor else 0.0
    most = max(most_held_out(choice.data) for size in choices for choice in size)
    held_out = held_out_images(domains, config.data, most) if config.run.held_out_every else None
    there = 0 if held_out is None else len(held_out.a)

    @cache
    def expected(candidate: Config) -> float:
        looked_at = 2 * min(there, most_held_out(candidate.data))
        return expected_memory(candidate, footprint(candidate), device, looked_at)

    plan = fitting(config, choices, limit, expected, images, bf16=bf16)
    _log.info(told(config, plan, measured=on_processor))
    return plan.config


def fitting(
    config: Config, choices: list[list[Config]], limit: float, expected: Expected, images: float, *, bf16: bool = True
) -> Plan:
    """Return the first of `choices`, as `alternatives` yields them, that fits in `limit` bytes with a margin.

    images: the bytes of all decoded images; as many are kept as there is room for. bf16: whether that may be advised.
    Raises ConfigError.
    """
    workers = config.data.num_workers
    room = limit / MARGIN - workers * LOADER
    for size in choices:
        chosen = _first_that_fits(size, expected, room)
        if chosen is None:
            continue
        taken = expected(chosen)
        kept = min(images, room - taken, config.data.cache_mb * 2.0**20 * max(workers, 1))
        if kept < images:
            cache_mb = min(config.data.cache_mb, int(kept / max(workers, 1) / 2**20))
            chosen = replace(chosen, data=replace(chosen.data, cache_mb=cache_mb))
        return Plan(chosen, taken + kept + workers * LOADER)
    smallest = min((size[-1] for size in choices), key=expected)
    changed = "; ".join(changes(config, smallest))
    needed = (expected(smallest) + workers * LOADER) * MARGIN
    raise ConfigError(
        f"run.memory {config.run.memory} is too little: the smallest plan ({changed or 'as it is'}) needs "
        f"{needed / 1e9:.2f} GB; {' or '.join(['allow that', *_other_ways(config, bf16)])}."
    )


def _way_of(config: Config) -> tuple[bool, int]:
    """Return the settings that a plan may change in a run that goes on, beside the decoded images that are kept."""
    return config.run.recompute, config.run.accumulate


def _other_ways(config: Config, bf16: bool) -> list[str]:
    """Return what a person may change that no plan changes unasked."""
    unasked = bf16 and config.run.precision == "fp32" and not config.run.memory_bf16
    ways = ["take --run.memory-bf16"] if unasked else []
    smaller_parts = len({parts for _, parts in _same_steps(config)}) > 1
    return ways + (["lower --data.batch-size"] if config.data.batch_size > 1 and not smaller_parts else [])


def _first_that_fits(size: list[Config], expected: Expected, room: float) -> Config | None:
    """Return the first of the settings for one size that fits.

    The last of all takes least, and so does the last of those in a row that differ in parts alone; these are asked
    early.
    """
    if expected(size[0]) <= room:
        return size[0]
    if expected(size[-1]) > room:
        return None
    by_parts = [list(same) for _, same in groupby(size, lambda each: (each.run.precision, each.run.recompute))]
    those = next(same for same in by_parts if expected(same[-1]) <= room)
    return next(each for each in those if expected(each) <= room)


def alternatives(config: Config, *, bf16: bool = True) -> Iterator[list[Config]]:
    """Yield, size by size, the settings that may be taken instead, those that change or cost least first.

    As it is; other ways to the same step (`_same_steps`); in bfloat16, where `run.memory_bf16` allows and the device is
    made for it (`bf16`); then the same with smaller crops. The batch itself is left alone: another one is another way
    of learning.
    """
    allowed = bf16 and config.run.memory_bf16
    precisions = dict.fromkeys((config.run.precision, "bf16" if allowed else config.run.precision))
    ways = list(product(precisions, _same_steps(config)))
    for size in _sizes(config):
        runs = [replace(size.run, precision=each, recompute=again, accumulate=many) for each, (again, many) in ways]
        yield [replace(size, run=run) for run in runs]


def _same_steps(config: Config) -> list[tuple[bool, int]]:
    """Return whether activations are computed again and the number of parts, for one and the same step, cheapest first.

    In more and more parts; computed again; both. The other way round where the discriminator steps first, since there
    a batch in parts is made twice: that takes half as much time again, computing again a third (docs/log.md).
    """
    can = bool(getattr(config.generator, "recomputes", False)) and not config.run.compiles
    recompute, parts = list(dict.fromkeys((config.run.recompute, can))), [config.run.accumulate]
    if config.data.batch_size > 1:
        with torch.device("meta"):  # without content, which takes no time
            objective = build_objective(config)
        if not objective.prevents_accumulation():
            parts = ranks.possible_micro_batches(config.data.batch_size, config.run.accumulate)
        if objective.order[0] == "discriminator" and config.run.accumulate == 1:
            return [*product(recompute, parts[:1]), *product(recompute, parts[1:])]
    return list(product(recompute, parts))


def _sizes(config: Config) -> Iterator[Config]:
    """Yield the settings, then those for smaller crops, by the shares that the generator allows."""
    yield config
    whole = config.data.crop_size
    for share in getattr(config.generator, "crop_shares", _CROPS):
        side = int(whole * share) // 32 * 32
        if side >= _SMALLEST_CROP:
            with suppress(ConfigError):  # of networks that cannot take this size
                yield at_size(config, side)


def expected_memory(config: Config, counted: Footprint, device: torch.device, num_held_out: int = 0) -> float:
    """Return the bytes that a run takes at most beside its loaders and the decoded images that are kept.

    num_held_out: the images of both domains that are looked at; with them the networks of the best step are kept. On a
    processor all of the process counts, on a GPU its tensors there; this was never measured on one.
    """
    data = config.data
    looked_at = 4.0 * num_held_out * data.crop_size**2 * max(data.channels_a, data.channels_b)
    if device.type != "cpu":
        recorded = counted.step if config.run.replays and not config.run.recompute else 0
        return max(counted.step, counted.samples) + recorded + looked_at
    factor, beyond = (STEP_FACTOR, BEYOND) if torch.get_num_threads() == 1 else (THREADS_FACTOR, THREADS_BEYOND)
    working = factor * max(counted.step, counted.samples)
    best = 2 * counted.best if num_held_out else 0
    return memory_now() + beyond + working + CHECKPOINT_FACTOR * counted.checkpoint + looked_at + best


def decoded(data: DataConfig, num_images: int) -> float:
    """Return the bytes of all decoded images of a run that it would keep, in all its loaders; inf where unknown."""
    widest = max(np.dtype(kind or "uint8").itemsize for kind in (data.dtype_a, data.dtype_b))
    if data.preprocess != "resize_and_crop":
        return float("inf")
    return float(num_images * data.load_size**2 * max(data.channels_a, data.channels_b) * widest) * max(
        data.num_workers, 1
    )


def changes(config: Config, chosen: Config) -> list[str]:
    """Return what was changed, in words."""
    found = []
    if chosen.data.cache_mb < config.data.cache_mb:
        found.append(f"at most {chosen.data.cache_mb} MB of decoded images are kept")
    if chosen.run.accumulate != config.run.accumulate:
        found.append(f"the batch is taken in {chosen.run.accumulate} parts, for the same step")
    if chosen.run.recompute and not config.run.recompute:
        found.append("activations are computed again, for the same result in more time")
    if chosen.run.precision != config.run.precision:
        found.append("forwards run in bfloat16, for a slightly different result")
    if chosen.data.crop_size != config.data.crop_size:
        blocks = ""
        if chosen.generator != config.generator:
            depth = differences(config.generator, chosen.generator)
            blocks = "".join(f", and generator.{each.key} is {each.given}" for each in depth)
        found.append(f"crops are {chosen.data.crop_size} pixels wide, not {config.data.crop_size}{blocks}")
    return found


def told(config: Config, plan: Plan, *, measured: bool) -> str:
    """Return in a sentence or two what a plan is and what is expected."""
    room = f"{plan.expected / 1e9:.2f} GB are expected, {config.run.memory} allowed"
    unsure = "" if measured else " This was never measured on a GPU."
    changed = changes(config, plan.config)
    return f"Memory: {'; '.join(changed) or 'nothing has to change'}. {room}.{unsure}"
