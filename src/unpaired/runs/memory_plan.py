"""Predicts the memory of a run before it starts, and finds the settings with which it fits `run.memory`.

The bytes of its tensors are counted (`unpaired.runs.footprint`); the memory of a process for them was measured:
benchmarks/2026-11-25-memory.md has the cases that the constants here were fitted on, and others.
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
from unpaired.runs.validation_setup import max_validation_images
from unpaired.training.machine import memory_now
from unpaired.training.run_config import memory_bytes

_log = logging.getLogger("unpaired")

STEP_FACTOR = 1.0
"""Bytes of a process for each byte of tensors in a step or a sample grid."""

CHECKPOINT_FACTOR = 0.95
"""The same for the bytes of a checkpoint, on top of those of a step: freed memory is not reused for them."""

BEYOND = 60e6
"""Bytes besides tensors: code that libraries load and compile in the first step."""

THREADS_FACTOR, THREADS_BEYOND = 1.15, 110e6
"""STEP_FACTOR and BEYOND for a step with several threads, each of which has a workspace."""

LAYOUT = 261e3
"""Bytes of a validation image's self-similarity, which is kept on the CPU."""

MARGIN = 1.12
"""Safety factor on the expected bytes."""

LOADER = 0.25e9
"""Bytes of a loader process, besides its cached images."""

_CROPS = (3 / 4, 1 / 2, 3 / 8, 1 / 4)
_SMALLEST_CROP = 64

Expected = Callable[[Config], float]
"""Returns the expected peak bytes of a run, besides its loaders and the cached images."""


@dataclass(frozen=True)
class Plan:
    """Settings that fit the memory limit, and the bytes that are expected with them."""

    config: Config
    expected: float


def planned(config: Config, domains: Domains, before: Config | None, device: torch.device) -> Config:
    """Return the settings with which a run fits `run.memory`, and log the changes and the expected bytes.

    before: the settings of a run that continues, which are used again. Raises ConfigError if nothing fits, with the
    bytes of the smallest plan.
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
        if not choices:  # the settings differ, which `agreement` reports
            return config
    on_processor = device.type == "cpu"
    num_images = sum(len(source) for source in (domains.train_a, domains.train_b) if source is not None)
    images = decoded(config.data, num_images) if on_processor else 0.0
    most = max(max_validation_images(choice.data) for size in choices for choice in size)
    held_out = held_out_images(domains, config.data, most) if config.run.validation_every else None
    there = 0 if held_out is None else len(held_out.a)

    @cache
    def expected(candidate: Config) -> float:
        num_validation = 2 * min(there, max_validation_images(candidate.data))
        return expected_memory(candidate, footprint(candidate), device, num_validation)

    plan = fitting(config, choices, limit, expected, images, bf16=bf16)
    _log.info(plan_sentence(config, plan, measured=on_processor))
    return plan.config


def fitting(
    config: Config, choices: list[list[Config]], limit: float, expected: Expected, images: float, *, bf16: bool = True
) -> Plan:
    """Return the first of `choices`, as `alternatives` yields them, that fits in `limit` bytes with a margin.

    images: bytes of all decoded images, of which as many are cached as there is room for. bf16: whether the error may
    suggest it. Raises ConfigError.
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
    """Return the settings that a plan may change in a run that continues, besides the cache of decoded images."""
    return config.run.recompute, config.run.accumulate


def _other_ways(config: Config, bf16: bool) -> list[str]:
    """Return the changes to suggest that no plan makes by itself."""
    unasked = bf16 and config.run.precision == "fp32" and not config.run.memory_bf16
    ways = ["take --run.memory-bf16"] if unasked else []
    smaller_parts = len({parts for _, parts in _same_steps(config)}) > 1
    return ways + (["lower --data.batch-size"] if config.data.batch_size > 1 and not smaller_parts else [])


def _first_that_fits(size: list[Config], expected: Expected, room: float) -> Config | None:
    """Return the first of the settings for one size that fits.

    The last of all takes the least memory, and so does the last in each group that differs in micro-batches alone;
    they are computed first.
    """
    if expected(size[0]) <= room:
        return size[0]
    if expected(size[-1]) > room:
        return None
    by_parts = [list(same) for _, same in groupby(size, lambda each: (each.run.precision, each.run.recompute))]
    those = next(same for same in by_parts if expected(same[-1]) <= room)
    return next(each for each in those if expected(each) <= room)


def alternatives(config: Config, *, bf16: bool = True) -> Iterator[list[Config]]:
    """Yield, size by size, the alternative settings, those with the least change or cost first.

    The settings themselves; other ways to compute the same step (`_same_steps`); bfloat16, if `run.memory_bf16` allows
    it and the device has instructions for it (`bf16`); then the same with smaller crops. The batch size stays, since
    another one trains differently.
    """
    allowed = bf16 and config.run.memory_bf16
    precisions = dict.fromkeys((config.run.precision, "bf16" if allowed else config.run.precision))
    ways = list(product(precisions, _same_steps(config)))
    for size in _sizes(config):
        runs = [replace(size.run, precision=each, recompute=again, accumulate=many) for each, (again, many) in ways]
        yield [replace(size, run=run) for run in runs]


def _same_steps(config: Config) -> list[tuple[bool, int]]:
    """Return pairs of activation checkpointing and number of micro-batches for the same step, cheapest first.

    More and more micro-batches; activation checkpointing; both. Activation checkpointing comes first if the
    discriminator steps first, since the images of micro-batches are then generated twice: that takes half as much time
    again, activation checkpointing a third (docs/log.md).
    """
    can = bool(getattr(config.generator, "recomputes", False)) and not config.run.compiles
    recompute, parts = list(dict.fromkeys((config.run.recompute, can))), [config.run.accumulate]
    if config.data.batch_size > 1:
        with torch.device("meta"):  # without content, which is fast
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
    """Return the expected peak bytes of a run, besides its loaders and the cached images.

    num_held_out: number of validation images of both domains; with them the networks of the best step are kept. On a
    CPU the whole process counts, on a GPU its tensors there. Never measured on a GPU.
    """
    data = config.data
    validation = 4.0 * num_held_out * data.crop_size**2 * max(data.channels_a, data.channels_b)
    if device.type != "cpu":
        captured = counted.step if config.run.replays and not config.run.recompute else 0
        return max(counted.step, counted.samples) + captured + validation
    validation += LAYOUT * num_held_out
    factor, beyond = (STEP_FACTOR, BEYOND) if torch.get_num_threads() == 1 else (THREADS_FACTOR, THREADS_BEYOND)
    working = factor * max(counted.step, counted.samples)
    best = 2 * counted.best if num_held_out else 0
    return memory_now() + beyond + working + CHECKPOINT_FACTOR * counted.checkpoint + validation + best


def decoded(data: DataConfig, num_images: int) -> float:
    """Return the bytes of all decoded images that a run would cache, over all its loaders; inf if unknown."""
    widest = max(np.dtype(kind or "uint8").itemsize for kind in (data.dtype_a, data.dtype_b))
    if data.preprocess != "resize_and_crop":
        return float("inf")
    return float(num_images * data.load_size**2 * max(data.channels_a, data.channels_b) * widest) * max(
        data.num_workers, 1
    )


def changes(config: Config, chosen: Config) -> list[str]:
    """Return the changes of settings in words."""
    found = []
    if chosen.data.cache_mb < config.data.cache_mb:
        found.append(f"at most {chosen.data.cache_mb} MB of decoded images are cached")
    if chosen.run.accumulate != config.run.accumulate:
        found.append(f"{chosen.run.accumulate} micro-batches (gradient accumulation), for the same step")
    if chosen.run.recompute and not config.run.recompute:
        found.append("activation checkpointing, for the same result in more time")
    if chosen.run.precision != config.run.precision:
        found.append("forward passes in bfloat16, for a slightly different result")
    if chosen.data.crop_size != config.data.crop_size:
        blocks = ""
        if chosen.generator != config.generator:
            depth = differences(config.generator, chosen.generator)
            blocks = "".join(f", and generator.{each.key} is {each.given}" for each in depth)
        found.append(f"crops are {chosen.data.crop_size} pixels wide, not {config.data.crop_size}{blocks}")
    return found


def plan_sentence(config: Config, plan: Plan, *, measured: bool) -> str:
    """Return a sentence or two about the changes of a plan and the expected bytes."""
    room = f"{plan.expected / 1e9:.2f} GB are expected, {config.run.memory} allowed"
    unsure = "" if measured else " This was never measured on a GPU."
    changed = changes(config, plan.config)
    return f"Memory: {'; '.join(changed) or 'no setting has to change'}. {room}.{unsure}"
