"""The benchmark: turns, ratios, gradients checked before timing, and a page of the measurements."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from unpaired.bench import gradients
from unpaired.bench.cases import CapturedTrainingCase, Mode, TrainingCase, TranslationCase, Way
from unpaired.bench.ceilings import CONVOLUTION_FLOP, Ceiling, measure_ceilings
from unpaired.bench.gradients import check_gradients, gradient_agreement
from unpaired.bench.official_clone import OfficialCode
from unpaired.bench.peak_memory import peak_memory
from unpaired.bench.suite import Report, Row, bench, to_markdown
from unpaired.bench.timing import Timing, in_turns, ratio, share
from unpaired.cli import main
from unpaired.errors import DataError, UnpairedError
from unpaired.training.graph import Work, capture_call

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two channels in place of the published ones."""
    from unpaired.bench import cases, gradients
    from unpaired.bench import official_clone as official
    from unpaired.config import override

    small = {"generator.base_channels": 2, "generator.num_blocks": 1, "discriminator.base_channels": 2}
    full = cases.config_at
    for module in (cases, gradients, official):
        monkeypatch.setattr(module, "config_at", lambda size, batch=1: override(full(size, batch), small))


def test_every_case_runs_once_a_round_in_turning_order() -> None:
    order: list[str] = []
    timings = in_turns({name: lambda name=name: order.append(name) for name in "abc"}, 3, warm_up=1)
    assert {len(timing.seconds) for timing in timings.values()} == {3}
    assert "".join(order[3:]) == "abcbcacab"
    assert "".join(sorted(order[:3])) == "abc"  # the warm-up, not counted


def test_ratios_are_taken_round_by_round() -> None:
    drifting, steady = Timing((1.0, 2.0, 4.0)), Timing((2.0, 4.0, 8.0))
    assert ratio(drifting, steady).seconds == (0.5, 0.5, 0.5)
    assert ratio(drifting, steady).spread == (0.5, 0.5)


def test_the_share_of_the_ceiling_is_the_same_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which the machine becomes slower and slower; before, the ceiling was measured once, while fast."""
    clock, load = [0.0], [1.0]

    def work(seconds: float) -> Any:
        def call() -> None:
            clock[0] += seconds * load[0]

        return call

    def slower() -> None:
        load[0] += 2.0

    monkeypatch.setattr("unpaired.bench.timing.time.perf_counter", lambda: clock[0])
    timings = in_turns({"case": work(4.0), "ceiling": work(0.5)}, 1, warm_up=0)
    quiet = share(timings["case"], 100.0, timings["ceiling"], 25.0)
    assert quiet.seconds == (0.5,)
    busy = [in_turns({"case": work(4.0), "ceiling": work(0.5)}, 1, warm_up=0) for _ in range(3) if not slower()]
    assert [timings["case"].median for timings in busy] == [12.0, 20.0, 28.0]
    assert {share(timings["case"], 100.0, timings["ceiling"], 25.0).median for timings in busy} == {0.5}


def test_a_long_case_is_compared_with_a_longer_ceiling() -> None:
    short, long = (Ceiling.beside(flop, "fp32", CPU, backward=False) for flop in (1.0, 24 * CONVOLUTION_FLOP))
    assert (short.repeats, long.repeats) == (1, 3)
    calls: list[int] = []
    long.convolve = lambda: calls.append(1)
    long()
    assert len(calls) * CONVOLUTION_FLOP == long.flop


def test_operations_are_those_of_the_convolutions() -> None:
    case = TranslationCase.at(32, "fp32", CPU)
    stem, head = 2 * 49 * 3 * 2 * 32 * 32, 2 * 49 * 2 * 3 * 32 * 32
    downs = 2 * 9 * (2 * 4 * 16 * 16 + 4 * 8 * 8 * 8)
    block = 2 * (2 * 9 * 8 * 8 * 8 * 8)
    ups = 2 * 9 * (8 * 4 * 8 * 8 + 4 * 2 * 16 * 16)
    assert case.flop == stem + head + downs + block + ups
    assert TrainingCase.at(32, "fp32", CPU, batch=2).images == 2


def forgetful(work: Work) -> Work:
    made = work().clone()
    return lambda: made


def test_a_captured_step_is_validated_before_it_is_timed() -> None:
    usual, captured = TrainingCase.at(32, "fp32", CPU), CapturedTrainingCase.at(32, "fp32", CPU, record=capture_call)
    assert (captured.images, captured.flop) == (usual.images, usual.flop)
    for case in (usual, captured):
        case()
    assert captured.usual.state.sha256() == usual.state.sha256()
    with pytest.raises(UnpairedError, match=r"The losses of the captured step .* differ from those of the usual step"):
        CapturedTrainingCase.at(32, "fp32", CPU, record=forgetful)


def test_right_gradients_pass_and_wrong_ones_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gradient_agreement(32, Mode("fp32"), CPU) > 0.9999
    right = gradients.step_gradients
    monkeypatch.setattr(
        gradients,
        "step_gradients",
        lambda objective, batch, precision: {
            name: gradient.flip(0) if batch.a.dtype == torch.float32 else gradient
            for name, gradient in right(objective, batch, precision).items()
        },
    )
    with pytest.raises(UnpairedError, match="are wrong on cpu"):
        check_gradients(32, Mode("fp32"), CPU)


def test_what_a_processor_has_no_instructions_for_is_neither_timed_nor_measured_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A convolution in bfloat16 can take hundreds of times as long there, and bench would not come to an end."""
    timed: list[str] = []

    def noted(cases: Mapping[str, Any], *_: Any, **__: Any) -> dict[str, Timing]:
        timed.extend(cases)
        return {name: Timing([1.0]) for name in cases}

    asked: list[tuple[str, ...]] = []

    def asking(sizes: Any, modes: list[Mode], **_: Any) -> Report:
        asked.append(tuple(mode.name for mode in modes))
        return Report({}, CEILINGS, {}, 1, [])

    monkeypatch.setattr("unpaired.bench.ceilings.in_turns", noted)
    measure_ceilings(CPU, ("fp32",), rounds=1)
    assert timed == ["fp32 forward", "fp32 forward and backward", "copy"]
    measure_ceilings(CPU, ("bf16",), rounds=1)
    assert "bf16 forward" in timed
    monkeypatch.setattr("unpaired.bench.suite.bench", asking)
    for known, given in ((False, []), (True, []), (False, ["--precision", "bf16"])):
        monkeypatch.setattr("unpaired.devices.has_bf16", lambda device, known=known: known)
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["bench", *given])
    assert asked == [("fp32",), ("fp32", "bf16"), ("bf16",)]


def test_the_report_has_every_case_and_reads_as_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[tuple[str, ...]] = []

    def noted(cases: Mapping[str, Any], rounds: int) -> dict[str, Timing]:
        timed.append(tuple(cases))
        return in_turns(cases, rounds)

    monkeypatch.setattr("unpaired.bench.suite.measure_ceilings", lambda device, precisions: CEILINGS)
    monkeypatch.setattr("unpaired.bench.suite.in_turns", noted)
    report = bench((32,), (Mode("fp32"),), device=CPU, rounds=2, memory=False)
    assert timed == [("fp32", "fp32 ceiling")] * 2
    assert [(row.kind, row.size, row.mode) for row in report.rows] == [("train", 32, "fp32"), ("translate", 32, "fp32")]
    assert all(0 < row.of_ceiling < 10 for row in report.rows)
    assert all(row.seconds > 0 and row.gflops > 0 and row.against is None for row in report.rows)
    reported = json.loads(report.to_json())
    assert reported["gradients"]["fp32"] > 0.9999
    assert "| train | 32² | 1 | fp32 |" in to_markdown(report)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which torch hides by itself
def test_other_ways_to_the_step_are_timed_beside_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        made.append(len(inputs))
        return graph.forward

    monkeypatch.setattr("unpaired.training.compiling.BACKEND", backend)
    monkeypatch.setattr("unpaired.bench.suite.measure_ceilings", lambda device, precisions: CEILINGS)
    torch._dynamo.reset()
    modes = [Mode("fp32", way) for way in get_args(Way)]
    report = bench((32,), modes, device=CPU, rounds=1, memory=False)
    timed = ["fp32", "fp32 channels-last", "fp32 compiled"]
    assert [row.mode for row in report.rows] == [*timed, "fp32"]
    assert [row.kind for row in report.rows] == ["train", "train", "train", "translate"]
    assert all(cosine > 0.9999 for cosine in report.gradients.values())
    assert list(report.gradients) == timed
    counted = [row.gflops * row.seconds for row in report.rows if row.kind == "train"]
    assert counted == pytest.approx([counted[0]] * 3)
    assert made
    weights = TrainingCase.at(32, "fp32", CPU, way="channels-last").state.objective.parameters()
    assert any(not weight.is_contiguous() for weight in weights)


def test_what_cannot_be_compiled_is_left_out_with_a_sentence(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("unpaired.training.compiling.BACKEND", backend)
    monkeypatch.setattr("unpaired.bench.suite.measure_ceilings", lambda device, precisions: CEILINGS)
    torch._dynamo.reset()
    said.clear()
    report = bench((32,), [Mode("fp32"), Mode("fp32", "compiled")], device=CPU, rounds=1, memory=False)
    assert [row.mode for row in report.rows] == ["fp32", "fp32"]
    assert any(each.startswith("The networks in fp32 cannot be compiled (") for each in said)
    with pytest.raises(UnpairedError, match="None of these modes can be timed on this machine"):
        bench((32,), [Mode("fp32", "compiled")], device=CPU, rounds=1, memory=False)


def test_an_unknown_way_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="78"):
        main(["bench", "--way", "channels_first"])
    assert "Unknown way channels_first; did you mean channels-last?" in capsys.readouterr().err


def test_the_official_code_stands_beside_with_ratio_and_quartiles() -> None:
    row = Row("train", 64, 1, "fp32", 0.5, (0.4, 0.6), 2.0, 100.0, 10**9, 0.9, (0.88, 0.93), 0.5, (0.48, 0.51))
    page = to_markdown(Report({"device": "x"}, CEILINGS, {"fp32": 1.0}, 3, [row]))
    assert "| 100 | 50% [48%, 51%] | 1.00 GB | 0.90 [0.88, 0.93] |" in page


def test_memory_is_that_of_the_case_and_not_of_whoever_asks() -> None:
    held = torch.zeros(2**26)  # 256 MB that a child must not count as its own
    peak = peak_memory("translate", 64, Mode("fp32"), CPU)
    assert held.numel()
    assert 1e6 < peak < 300e6


OFFICIAL_MODELS = """
import torch

class Model:
    def __init__(self, opt):
        self.device = {device}
        self.netG_A = torch.nn.Conv2d(opt.input_nc, opt.output_nc, 3, padding=1)
        self.options, self.steps, self.ready = opt, 0, {built}

    def setup(self, opt):
        assert opt.isTrain and not opt.continue_train and opt.lr_policy == "linear"
        self.ready = True

    def set_input(self, input):
        self.real = input["A"].to(self.device)

    def optimize_parameters(self):
        assert self.ready and self.netG_A(self.real).shape == self.real.shape
        self.steps += 1

def create_model(opt):
    print("model was created")
    return Model(opt)
"""


@pytest.mark.parametrize(
    ("device", "built"), [("opt.device", False), ("torch.device(opt.gpu_ids or 'cpu')", True)], ids=["2025", "2020"]
)
def test_both_interfaces_of_the_official_code_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], device: str, built: bool
) -> None:
    """The version of 2025 takes a device in its options and initialises weights in `setup`, that of 2020 neither."""
    official = checkout(tmp_path, monkeypatch, OFFICIAL_MODELS.format(device=device, built=built))
    step = official.training(32, CPU)
    step()
    official.translation(32, CPU)()
    assert (step.model.device, step.model.steps, step.model.ready) == (CPU, 1, True)
    assert (step.model.options.ngf, step.model.options.netG) == (2, "resnet_1blocks")
    assert capsys.readouterr().out == ""


def test_another_version_of_the_official_code_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = OFFICIAL_MODELS.format(device="opt.accelerator", built=True)
    with pytest.raises(DataError, match=r"cannot be run \(AttributeError: .*accelerator.*\); check out .*2a7afba"):
        checkout(tmp_path, monkeypatch, other).training(32, CPU)
    with pytest.raises(DataError, match=r"cannot be run \(ModuleNotFoundError: .*nowhere.*\)"):
        checkout(tmp_path / "second", monkeypatch, "import nowhere_installed")


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch, models: str) -> OfficialCode:
    """Return the code of a fabricated checkout; `models` is imported anew, and forgotten after the test."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "__init__.py").write_text(models)
    (folder / "models" / "cycle_gan_model.py").write_text("")
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setitem(sys.modules, "models", None)
    del sys.modules["models"]
    return OfficialCode(folder)


def test_a_folder_without_the_official_code_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clone of the official code"):
        OfficialCode(tmp_path)


CEILINGS = {"fp32 forward": 100.0, "fp32 forward and backward": 200.0, "copy": 10.0}
