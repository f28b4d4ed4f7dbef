"""Steps replayed from a CUDA graph equal eager steps, bit for bit; if a step cannot be captured, the reason is logged.

There is no GPU here. `Emulated` captures like a CUDA graph, one operation after the other with the tensors it read and
wrote, refuses values that the host reads, and replays the same operations on the same memory: Python's decisions,
constants included, are frozen. The tests marked gpu do the same with CUDA graphs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unpaired import ranks
from unpaired.artifacts.history import History
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.errors import NonFiniteError
from unpaired.networks import (
    AttentionGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    PatchGAN,
    ResNetGenerator,
    UNetGenerator,
)
from unpaired.networks.recompute import recomputing_networks
from unpaired.objectives import CUT, GAN, CycleGAN, Pix2Pix, SimGAN
from unpaired.objectives.augmentation import CHANGES
from unpaired.objectives.base import Objective
from unpaired.objectives.pool import ImagePool
from unpaired.randomness import torch_seeded
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.training import loop
from unpaired.training.graph import Capture, Work, capture_call
from unpaired.training.machine import made_with
from unpaired.training.run_config import Precision, RunConfig
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.static_pool import StaticPool
from unpaired.training.step import train_step
from unpaired.training.stepper import capture_on, cautions, obstacle, stepper

NAN = float("nan")
CPU = torch.device("cpu")
aten = torch.ops.aten

READ_BY_HOST = (aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default, aten.lift_fresh.default)
"""Operations that a GPU cannot record: they give values to the host, or take them from there."""


class Emulated(TorchDispatchMode):
    """Records every operation in the block with its inputs and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READ_BY_HOST:
            raise RuntimeError(f"{func} is not permitted when stream is capturing")
        made = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, [place.detach() for place in new_tensors(func, made)]))
        return made

    @torch.no_grad()
    def play(self) -> None:
        for func, args, kwargs, places in self.done:
            made = func(*args, **kwargs)
            for place, value in zip(places, new_tensors(func, made), strict=True):
                place.copy_(value)


def new_tensors(func: Any, made: Any) -> list[Tensor]:
    """Return the outputs of an operation that are not views of its inputs."""
    kinds = func._schema.returns
    values = [made] if len(kinds) == 1 else made if kinds else []
    new = [value for value, kind in zip(values, kinds, strict=True) if kind.alias_info is None]
    return [each for value in new for each in (value if isinstance(value, (tuple, list)) else [value])
            if isinstance(each, Tensor)]  # fmt: skip


def as_emulated(work: Work) -> Work:
    with Emulated() as emulated:
        made = work()

    def play() -> Tensor:
        emulated.play()
        return made

    return play


RECORDERS: dict[str, Capture] = {"called": capture_call, "emulated": as_emulated}

GENERATOR = ResNetGenerator(base_channels=4, num_blocks=1)
JUDGE = PatchGAN(base_channels=4, num_layers=1)
SMALL_GAN = DCGANGenerator(base_channels=4, size=32), DCGANDiscriminator(base_channels=4, size=32)


def built(method: str) -> Objective[Any]:
    """CycleGAN steps the generators first and has pools; the others step the discriminator first."""
    match method:
        case "cyclegan":
            return CycleGAN(pool_size=3).build(GENERATOR, JUDGE, 3, 3, 0)
        case "cyclegan, dropout, batch norm":
            return CycleGAN(pool_size=2).build(replace(GENERATOR, dropout=True, norm="batch"), JUDGE, 3, 3, 0)
        case "cycle alone":
            return CycleGAN(adversarial_weight=0, identity_weight=0).build(GENERATOR, JUDGE, 3, 3, 0)
        case "cyclegan, wgan_gp":
            return CycleGAN(pool_size=2, adversarial="wgan_gp").build(GENERATOR, JUDGE, 3, 3, 0)
        case "cyclegan, augmentation":
            return CycleGAN(pool_size=2, augmentation=tuple(CHANGES)).build(GENERATOR, JUDGE, 3, 3, 0)
        case "cyclegan, attention":
            return CycleGAN(pool_size=2).build(AttentionGenerator(base_channels=4, num_blocks=1), JUDGE, 3, 3, 0)
        case "pix2pix":
            generator = UNetGenerator(base_channels=4, num_downs=5, dropout=True)
            return Pix2Pix().build(generator, replace(JUDGE, norm="batch"), 3, 3, 0)
        case "l1 alone":
            return Pix2Pix(adversarial_weight=0).build(UNetGenerator(base_channels=4, num_downs=5), JUDGE, 3, 3, 0)
        case "cut":
            return CUT(num_patches=16, head_channels=8).build(GENERATOR, JUDGE, 3, 3, 0)
        case "fastcut":
            config = CUT(num_patches=16, head_channels=8, identity_contrast=False, flip_equivariance=True)
            return config.build(GENERATOR, JUDGE, 3, 3, 0)
        case "simgan":
            return SimGAN(pool_size=3).build(GENERATOR, JUDGE, 3, 3, 0)
        case "gan":
            return GAN(noise_channels=5).build(*SMALL_GAN, 5, 3, 0)
    raise AssertionError(method)


METHODS = ("cyclegan", "cyclegan, dropout, batch norm", "cycle alone", "cyclegan, wgan_gp", "cyclegan, augmentation",
           "cyclegan, attention", "pix2pix", "l1 alone", "cut", "simgan", "gan")  # fmt: skip


def state_of(method: str, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> TrainingState:
    return TrainingState(built(method).to(device, dtype), OptimizerConfig(discriminator_learning_rate=3e-4))


def batch_of(method: str, number: int, like: TrainingState, size: int = 0, count: int = 2) -> Batch:
    size = size or (32 if method in ("pix2pix", "l1 alone", "gan") else 16)  # of five halvings, or of two
    draw, weight = torch.Generator().manual_seed(number), next(like.objective.parameters())
    shape = (count, 5, 1, 1) if method == "gan" else (count, 3, size, size)
    a, b = torch.rand(shape, generator=draw) * 2 - 1, torch.rand(count, 3, size, size, generator=draw) * 2 - 1
    return Batch(a=a.to(weight), b=b.to(weight))


Terms = dict[str, float] | str


def taken(
    state: TrainingState,
    method: str,
    steps: Iterator[int] | range,
    record: Capture | None,
    precision: Precision = "fp32",
    broken: tuple[int, ...] = (),
    reported: list[str] | None = None,
) -> list[Terms]:
    """The terms of some steps, with a falling rate and draws by the step; for one that was refused, the finding."""

    def take(batch: Batch, names: Callable[[], list[str]]) -> dict[str, Tensor]:
        return train_step(state, batch, precision, names)

    seen: list[Terms] = []
    notes = [] if reported is None else reported
    with stepper(state, precision, take, notes.append, capture=record) as step:
        for number in steps:
            state.set_learning_rate(1 - number / 40)
            batch = batch_of(method, number, state)
            if number in broken:
                batch.b[0, 0, 3, 3] = NAN
            try:
                with torch_seeded(0, "dropout", number):
                    terms = step(batch, lambda number=number: [f"{number}.png"])
                seen.append({name: value.item() for name, value in terms.items()})
            except NonFiniteError as error:
                seen.append(error.finding)
            state.step = number + 1
    assert reported is not None or not notes
    return seen


# --- the same steps --------------------------------------------------------------------------------

RANGE = range(12)
"""Enough to fill every pool, to capture and to replay several steps."""


@cache
def usual_steps(method: str) -> tuple[list[Terms], str]:
    state = state_of(method)
    return taken(state, method, RANGE, None), state.sha256()


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("method", METHODS)
def test_recorded_steps_are_the_usual_ones_bit_for_bit(method: str, recorder: str) -> None:
    if (method, recorder) == ("cyclegan, wgan_gp", "emulated"):
        pytest.skip("second derivatives of convolutions turn tensors in place, which cannot be done again here")
    expected, sha256 = usual_steps(method)
    recorded = state_of(method)
    assert taken(recorded, method, RANGE, RECORDERS[recorder]) == expected
    assert recorded.sha256() == sha256
    assert all(type(pool) is ImagePool for pool in recorded.objective.pools.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("method", ["cyclegan", "pix2pix"])
def test_so_they_are_in_other_precisions(method: str, dtype: torch.dtype) -> None:
    precision: Precision = "bf16" if dtype == torch.bfloat16 else "fp32"
    kind = torch.float32 if precision == "bf16" else dtype
    usual, recorded = state_of(method, kind), state_of(method, kind)
    expected = taken(usual, method, range(8), None, precision)
    assert taken(recorded, method, range(8), as_emulated, precision) == expected
    assert recorded.sha256() == usual.sha256()


@pytest.mark.parametrize("method", ["cyclegan", "cyclegan, dropout, batch norm", "pix2pix", "gan"])
def test_a_step_with_what_is_no_number_leaves_no_trace_and_is_told_as_usual(method: str) -> None:
    usual, recorded = state_of(method), state_of(method)
    expected = taken(usual, method, range(9), None, broken=(4, 6))
    assert taken(recorded, method, range(9), as_emulated, broken=(4, 6)) == expected
    assert "(images: 4.png)" in str(expected[4])
    assert recorded.sha256() == usual.sha256()


# --- whole runs ------------------------------------------------------------------------------------


def test_a_recorded_run_ends_like_the_usual_one_also_when_interrupted_and_continued(
    toy_config: Config, two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(toy_config, {"data.root": str(two_folders), "optimizer.ema_decay": 0.9})
    usual = train(config, out=tmp_path / "usual")
    monkeypatch.setattr(loop, "capture_on", lambda device, graph: as_emulated)
    recorded = train(config, out=tmp_path / "recorded")
    assert recorded.state_sha256 == usual.state_sha256
    assert recorded.losses == usual.losses
    assert not History(tmp_path / "recorded").entries()

    original, calls = loop.due, []

    def failing(step: int, every: int) -> bool:
        calls.append(step)
        if step == 6:
            raise KeyboardInterrupt
        return original(step, every)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "due", failing)
        with pytest.raises(KeyboardInterrupt):
            train(config, out=tmp_path / "interrupted")
    assert info(tmp_path / "interrupted").step == 4
    assert train(config, out=tmp_path / "interrupted").state_sha256 == usual.state_sha256


# --- where it cannot be ----------------------------------------------------------------------------


def as_one_that_forgets(work: Work) -> Work:
    made = work().clone()
    return lambda: made


def as_one_that_fails(work: Work) -> Work:
    def reading() -> Tensor:
        made = work()
        made.max().item()
        return made

    return as_emulated(reading)


@pytest.mark.parametrize(
    ("method", "record", "why"),
    [
        ("fastcut", as_emulated, "objective.flip_equivariance changes the computation from step to step"),
        ("cyclegan", as_one_that_forgets, "in validation its losses differed by"),
        ("pix2pix", as_one_that_fails, "the capture failed (aten._local_scalar_dense"),
    ],
)
def test_what_cannot_be_recorded_is_told_in_a_sentence_and_goes_on_as_usual(
    method: str, record: Capture, why: str
) -> None:
    reported: list[str] = []
    usual, other = state_of(method), state_of(method)
    expected = taken(usual, method, range(5), None)
    assert taken(other, method, range(5), record, reported=reported) == expected
    assert len(reported) == 1
    assert why in reported[0]
    assert reported[0].startswith("Steps are not captured as a CUDA graph but run eagerly: ")
    assert other.step == usual.step


def test_images_of_another_size_end_the_recording_and_not_the_run() -> None:
    reported: list[str] = []
    states = state_of("cyclegan"), state_of("cyclegan")
    for state, record in zip(states, (None, as_emulated), strict=True):
        with stepper(state, "fp32", lambda batch, names, state=state: train_step(state, batch, "fp32"),
                     reported.append, capture=record) as step:  # fmt: skip
            for number, size in enumerate((32, 32, 40, 40)):
                step(batch_of("cyclegan", number, state, size, count=1), list)
    assert states[0].sha256() == states[1].sha256()
    assert len(reported) == 1
    assert reported[0].endswith("run eagerly: the images differ in size.")


def test_several_processes_and_pools_of_several_sizes_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = built("cyclegan")
    assert obstacle(objective) == ""
    objective.pools["A"].restore([torch.zeros(3, 32, 32), torch.zeros(3, 36, 32)], 2)
    assert "several sizes" in obstacle(objective)
    recomputed = built("pix2pix")
    assert obstacle(recomputed) == ""
    for network in recomputing_networks(recomputed):
        network.recompute = True
    assert "run.recompute" in obstacle(recomputed)
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    assert "several processes" in obstacle(objective)


def test_only_gpus_of_nvidia_record_and_only_where_they_may() -> None:
    for name in ("cpu", "mps"):
        assert capture_on(torch.device(name), True) is None
    assert capture_on(torch.device("cuda"), True) is not None
    assert capture_on(torch.device("cuda"), False) is None


def test_what_is_asked_for_and_experimental_or_not_there_is_warned_of() -> None:
    cuda, mps = torch.device("cuda"), torch.device("mps")
    assert cautions(RunConfig(), cuda) == cautions(RunConfig(), mps) == []
    (experimental,) = cautions(RunConfig(acceleration="graph"), cuda)
    assert experimental == "run.acceleration graph is experimental: it was never measured on a GPU."
    assert cautions(RunConfig(acceleration="graph"), mps) == [
        experimental,
        "Steps are not captured as a CUDA graph but run eagerly: that needs an NVIDIA GPU, not mps.",
    ]
    assert len(cautions(RunConfig(acceleration="compile"), CPU)) == 1


# --- the pool in one place -------------------------------------------------------------------------


@given(size=st.integers(1, 4), before=st.integers(0, 9), batch=st.integers(1, 5), steps=st.integers(1, 6),
       undone=st.integers(0, 5))  # fmt: skip
def test_a_static_pool_is_the_usual_one(size: int, before: int, batch: int, steps: int, undone: int) -> None:
    usual = ImagePool(size, seed=1, name="A")
    numbers = torch.arange(float(before + steps * batch)).view(-1, 1, 1, 1)
    if before:
        usual.query(numbers[:before])
    static = StaticPool(usual, batch, CPU)
    for step, images in enumerate(numbers[before:].split(batch)):
        if step == undone:
            static.draw()
            static.query(images * 0 - 1)
            static.undo()
        static.draw()
        shown = static.query(images)
        static.commit()
        assert torch.equal(shown, usual.query(images))
        assert (static.num_seen, len(static.images)) == (usual.num_seen, len(usual.images))
        assert all(map(torch.equal, static.images, usual.images))


# --- on a GPU --------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_a_cuda_graph_takes_the_usual_steps(method: str, precision: Precision) -> None:
    cuda, reported = torch.device("cuda"), list[str]()
    usual, recorded = state_of(method, device=cuda), state_of(method, device=cuda)
    expected = taken(usual, method, range(9), None, precision, broken=(5,))
    seen = taken(recorded, method, range(9), capture_on(cuda, True), precision, broken=(5,), reported=reported)
    assert not any("run eagerly:" in sentence for sentence in reported), reported
    assert seen[5] == expected[5]
    for one, other in zip(seen[:5], expected[:5], strict=True):
        assert one == pytest.approx(other, rel=1e-3 if precision == "fp32" else 5e-2)


@pytest.mark.gpu
def test_a_cuda_graph_is_faster_than_launching_every_kernel() -> None:
    cuda, seconds = torch.device("cuda"), dict[str, float]()
    for name, graph in (("usual", False), ("recorded", True)):
        state = state_of("cyclegan", device=cuda)
        batch, times = batch_of("cyclegan", 0, state), list[float]()

        def take(batch: Batch, names: Callable[[], list[str]], state: TrainingState = state) -> dict[str, Tensor]:
            return train_step(state, batch, "bf16", names)

        with stepper(state, "bf16", take, print, capture=capture_on(cuda, graph)) as step:
            for _ in range(30):
                before = time.perf_counter()
                step(batch, list)
                torch.cuda.synchronize()
                times.append(time.perf_counter() - before)
        seconds[name] = statistics.median(times[10:])
    assert seconds["recorded"] < seconds["usual"]
    assert made_with(cuda)["graph"] == "off"
    assert made_with(cuda, RunConfig(acceleration="graph"))["graph"] == "auto"
