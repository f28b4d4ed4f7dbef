"""Several processes train as one: they agree with a single process, resume exactly, and end together."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from torch import Tensor

import forked
from conftest import logged_to
from unpaired import ranks
from unpaired.artifacts.checkpoint import list_checkpoints, load_newest
from unpaired.artifacts.history import History
from unpaired.artifacts.run_folder import RunFolder
from unpaired.cli import main
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.devices import resolve_device
from unpaired.errors import ConfigError, EndedElsewhere, Interrupted, NonFiniteError, RankError
from unpaired.evaluation.evaluating import Settings, evaluate
from unpaired.launch import Launch, launched
from unpaired.networks import (
    AttentionGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    PatchGAN,
    ResNetGenerator,
    UNetGenerator,
)
from unpaired.objectives import CUT, GAN, CycleGAN, FeatureGAN, Pix2Pix
from unpaired.objectives.base import Objective, initialised
from unpaired.randomness import torch_seeded
from unpaired.recipes import Config
from unpaired.runs import RunInfo, info, train
from unpaired.scenes.draw import draw_dataset
from unpaired.training.callbacks import StepView
from unpaired.training.progress import Progress
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import gradients_of, train_step
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, Translator, write_model

CPU = torch.device("cpu")
GLOBAL_BATCH = 4


# --- starting several processes --------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def own_server() -> Iterator[None]:
    """Have ranks forked from a server that imported all they need, loader processes later from theirs."""
    forked.end_multiprocessing_server()
    yield
    forked.end_multiprocessing_server()


class Company:
    """`count` processes that run `act(*arguments)`, each with the environment that torchrun would give it."""

    def __init__(self, count: int, act: Callable[..., Any], *arguments: Any) -> None:
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*forked.PRELOADED, "pytest"])  # not this file, which the server does not find
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes, self._pipes = [], []
        for rank in range(count):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(target=perform, args=(writer, place, act, arguments), daemon=True)
            process.start()
            writer.close()
            self.processes.append(process)
            self._pipes.append(reader)

    def results(self) -> list[Any]:
        """Return the result of each process, in rank order."""
        reported = [pipe.recv() for pipe in self._pipes]
        for process in self.processes:
            process.join()
        assert [process.exitcode for process in self.processes] == [0] * len(self.processes)
        return reported


def perform(writer: Any, place: dict[str, Any], act: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    writer.send(act(*arguments))


def together(count: int, act: Callable[..., Any], *arguments: Any) -> list[Any]:
    return Company(count, act, *arguments).results()


# --- one step agrees with one process --------------------------------------------------------------


def double(objective: Objective[Any]) -> TrainingState:
    return TrainingState(objective.double(), OptimizerConfig())


def method(name: str) -> TrainingState:
    generator = ResNetGenerator(base_channels=4, num_blocks=1, dropout=name.endswith("dropout"))
    judge = PatchGAN(base_channels=4, num_layers=1)
    match name.split()[0]:
        case "cyclegan":
            return double(CycleGAN(pool_size=5 if "pool" in name else 0).build(generator, judge, 3, 3, 0))
        case "pix2pix":
            unet = UNetGenerator(base_channels=4, num_downs=5, norm="instance")
            return double(Pix2Pix(conditional=True).build(unet, judge, 3, 3, 0))
        case "cut":
            return double(CUT(num_patches=9, head_channels=8, flip_equivariance=True).build(generator, judge, 3, 3, 0))
        case "attention":
            gated = AttentionGenerator(base_channels=4, num_blocks=1)
            return double(CycleGAN(pool_size=0).build(gated, judge, 3, 3, 0))
        case "feature-gan":
            return double(FeatureGAN(pool_size=5).build(generator, judge, 3, 3, 0))
        case "wgan":
            return double(CycleGAN(pool_size=0, adversarial="wgan_gp").build(generator, judge, 3, 3, 0))
        case _:  # batch norms: what each process normalises with is its own, so only the ranks agree
            small = DCGANGenerator(base_channels=4, size=32), DCGANDiscriminator(base_channels=4, size=32)
            return double(GAN(noise_channels=5).build(*small, 5, 3, 0))


def whole_batch(name: str, step: int) -> Batch:
    draw = torch.Generator().manual_seed(step)
    side = 32 if name.startswith(("pix2pix", "gan")) else 16  # of five halvings, or of two
    shape = (GLOBAL_BATCH, 5, 1, 1) if name == "gan" else (GLOBAL_BATCH, 3, side, side)
    a = torch.rand(*shape, generator=draw, dtype=torch.float64) * 2 - 1
    return Batch(a=a, b=torch.rand(GLOBAL_BATCH, 3, side, side, generator=draw, dtype=torch.float64) * 2 - 1)


def take_steps(name: str, num_steps: int) -> tuple[dict[str, Tensor], str]:
    """The terms, gradients, weights and pools after some steps of this rank's part of each batch, and their hash."""
    state = method(name)
    for step in range(1, num_steps + 1):
        batch = whole_batch(name, step)
        part = Batch(a=batch.a[ranks.own_shard(range(GLOBAL_BATCH))], b=batch.b[ranks.own_shard(range(GLOBAL_BATCH))])
        with torch_seeded(0, "dropout", step):
            terms = train_step(state, part, "fp32")
        state.step = step
    found = {f"term {key}": value for key, value in terms.items()}
    found |= {f"gradient {key}": value.clone() for key, value in gradients_of(state.objective).items()}
    found |= {f"{part} {key}": value for part, tensors in state.parts().items() for key, value in tensors.items()}
    return found, state.sha256()


METHODS = {
    "cyclegan": 1,
    "pix2pix": 1,
    "pix2pix dropout": 1,
    "cut": 1,
    "attention": 1,
    "feature-gan": 4,
    "wgan": 1,
    "cyclegan pool": 4,
    "gan": 2,
}


def all_methods() -> dict[str, tuple[dict[str, Any], str]]:
    with ranks.process_group(CPU):
        found = {name: take_steps(name, num_steps) for name, num_steps in METHODS.items()}
    # As arrays: torch hands tensors to another process through a file that must still be there when they are read.
    return {
        name: ({key: value.numpy() for key, value in tensors.items()}, sha) for name, (tensors, sha) in found.items()
    }


@pytest.fixture(scope="module")
def steps_of() -> dict[int, list[Any]]:
    """What 1, 2 and 4 processes make of the same steps, by their number and rank."""
    companies = {count: Company(count, all_methods) for count in (1, 2, 4)}
    return {count: company.results() for count, company in companies.items()}


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "gan"])
def test_gradients_of_several_processes_are_those_of_one_at_the_same_global_batch(
    steps_of: dict[int, list[Any]], name: str, count: int
) -> None:
    alone, several = steps_of[1][0][name][0], steps_of[count][0][name][0]
    assert alone.keys() == several.keys()
    gradients = [key for key in alone if key.startswith("gradient")]
    assert gradients
    # Adam's first steps magnify differences of gradients near 0, so weights after four steps have a larger tolerance.
    bound = 1e-12 if METHODS[name] == 1 else 1e-7
    for key in [*gradients, *(key for key in alone if key.startswith(("term", "pool")))]:
        assert abs(alone[key] - several[key]).max() <= bound * max(1, abs(alone[key]).max()), key


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", list(METHODS))
def test_all_ranks_hold_the_same_state_bit_for_bit(steps_of: dict[int, list[Any]], name: str, count: int) -> None:
    assert len({reported[name][1] for reported in steps_of[count]}) == 1


def poisoned() -> tuple[str, bool]:
    """One image of rank 1 is NaN: return the message, and whether the state is unchanged."""
    with ranks.process_group(CPU):
        state = method("cyclegan pool")
        state.step = 6
        before = state.sha256()
        batch = whole_batch("cyclegan", 1)
        part = batch.b[ranks.own_shard(range(GLOBAL_BATCH))]
        part[0, 0, 0, 0] *= float("nan") if ranks.rank() == 1 else 1
        try:
            train_step(state, Batch(a=part, b=part), "fp32", lambda: ["a.png", "b.png"])
        except NonFiniteError as error:
            return error.finding, state.sha256() == before
        return "", False


def test_no_rank_keeps_anything_of_a_step_in_which_one_has_met_what_is_no_number() -> None:
    (first, first_same), (second, second_same) = together(2, poisoned)
    assert first == second
    assert first.startswith("At step 7 the loss ")
    assert first.endswith("(images: a.png; b.png)")
    assert first_same
    assert second_same


# --- agreeing --------------------------------------------------------------------------------------


def refuse() -> None:
    raise ConfigError("no")


def conversation() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with ranks.process_group(CPU):
        found["first"] = ranks.broadcast_bytes(b"of 0" if ranks.rank() == 0 else b"something longer")
        found["nothing"] = ranks.broadcast_bytes(b"")
        found["all"] = ranks.all_gather_bytes(b"x" * ranks.rank())
        found["agreed"] = ranks.all_reduce_max(ranks.rank() * 5)
        found["gathered"] = ranks.all_gather(torch.full((1, 2), float(ranks.rank())).bfloat16()).tolist()
        found["part"] = list(ranks.own_shard("abcdef"))
        mixed = [torch.tensor([float(ranks.rank())]), torch.tensor(float(ranks.rank()) * 2).double()]
        ranks.all_reduce_mean(mixed)
        found["averages"] = [float(tensor) for tensor in mixed]
        with ranks.on_rank_zero() as mine:
            found["mine"] = mine
        try:
            with ranks.on_rank_zero() as mine:
                if mine:
                    refuse()
        except EndedElsewhere as error:
            found["elsewhere"] = error.exit_code
        except ConfigError as error:
            found["error"] = str(error)
        ranks.require_same("same", "This")
        try:
            ranks.require_same("same" if ranks.rank() != 1 else "other", "The state")
        except RankError as error:
            found["differs"] = str(error)
    found["after"] = (ranks.rank(), ranks.world_size())
    return found


def test_ranks_tell_and_decide_together() -> None:
    first, second, third = together(3, conversation)
    for number, found in enumerate((first, second, third)):
        assert found["first"] == b"of 0"
        assert found["nothing"] == b""
        assert found["all"] == [b"", b"x", b"xx"]
        assert found["agreed"] == 10
        assert found["gathered"] == [[0, 0], [1, 1], [2, 2]]
        assert found["part"] == [["a", "b"], ["c", "d"], ["e", "f"]][number]
        assert found["averages"] == [1, 2]
        assert found["mine"] == (number == 0)
        assert "The state differs between rank 0 and rank 1" in found["differs"]
        assert found["after"] == (0, 1)
    assert first["error"] == "no"
    assert second["elsewhere"] == third["elsewhere"] == ConfigError.exit_code


def test_a_single_process_is_rank_0_of_1_and_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() == Launch(0, 1, 0, 1)
    with ranks.process_group(CPU):
        assert (ranks.rank(), ranks.world_size(), ranks.all_reduce_max(3)) == (0, 1, 3)
        assert ranks.all_gather_bytes(b"x") == [b"x"]


@pytest.mark.parametrize(("name", "value"), [("RANK", "2"), ("RANK", "one"), ("WORLD_SIZE", "0"), ("LOCAL_RANK", "7")])
def test_an_environment_that_cannot_be_is_one_sentence(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", name: value}
    for key, text in place.items():
        monkeypatch.setenv(key, text)
    with pytest.raises(ConfigError, match="start several processes with torchrun"):
        launched()


def test_each_process_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for key, text in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, text)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cuda:0") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="3 processes and 2 GPUs"):
        resolve_device("auto")


# --- whole runs ------------------------------------------------------------------------------------


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    settings = {"data.root": str(two_folders), "data.batch_size": 4, "optimizer.ema_decay": 0.9}
    return override(toy_config, {**settings, "generator.dropout": True})


def trained(config: Config, run: Path, stop_at: int = 0, **options: Any) -> dict[str, Any]:
    """Train, optionally with SIGTERM to this process at a step; return the outcome and the printed lines."""
    reported: list[str] = []

    def listener(progress: Progress) -> None:
        reported.append(f"step {progress.step}")

    if stop_at and rank_of_environment() == 1:
        kill_self_at(stop_at)
    try:
        with logged_to(reported):
            found = train(config, out=run, listener=listener, **options)
    except Interrupted as error:
        return {"signum": error.signum, "reported": reported}
    except (ConfigError, EndedElsewhere) as error:
        return {"error": str(error), "reported": reported}
    return {"info": found, "reported": reported}


def rank_of_environment() -> int:
    return int(os.environ["RANK"])


def kill_self_at(step: int) -> None:
    """Send SIGTERM to this process as it takes a step, as a cluster may do to one machine only."""
    from unpaired.training import loop

    original = loop.train_step

    def stepping(state: TrainingState, *rest: Any) -> dict[str, Tensor]:
        if state.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(state, *rest)

    loop.train_step = stepping  # type: ignore[assignment]


def test_a_run_of_two_ranks_resumes_exactly_and_another_number_is_a_wish_on_record(
    config: Config, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    uninterrupted = Company(2, trained, config, whole)
    interrupted = Company(2, trained, config, parts, 5)
    first, second = uninterrupted.results()
    found: RunInfo = first["info"]
    assert second["info"] == found
    assert found.finished
    assert found.bit_exact
    assert second["reported"] == []
    assert "step 8" in first["reported"]
    assert (
        json.loads((list_checkpoints(whole / "checkpoints")[0] / "MANIFEST.json").read_text())["made_with"]["ranks"]
        == 2
    )

    assert [reported["signum"] for reported in interrupted.results()] == [signal.SIGTERM] * 2
    assert info(parts).step == 5
    with pytest.raises(ConfigError, match="trained by 2 processes and would continue with 1"):
        train(config, out=parts)
    assert together(2, trained, config, parts)[1]["info"].state_sha256 == found.state_sha256
    records = [[record["losses"] for record in RunFolder(run).records()] for run in (whole, parts)]
    assert records[0] == records[1]


def test_another_number_of_processes_may_go_on_and_the_run_says_so(config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(config, out=run, listener=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    refused = together(2, trained, config, run)
    assert "trained by 1 processes and would continue with 2" in refused[0]["error"]
    assert "Rank 0 ended with an error; see its message" in refused[1]["error"]
    accepted = Company(2, trained_anyway, config, run).results()
    assert accepted[0]["info"].finished
    assert not accepted[0]["info"].bit_exact
    assert [entry["ranks"] for entry in History(run).entries()] == [{"saved": 1, "given": 2}]


def trained_anyway(config: Config, run: Path) -> dict[str, Any]:
    return trained(config, run, allow_rank_change=True)


class StopAt3:
    """A callback that notes the steps it is asked after."""

    every = 1

    def __init__(self) -> None:
        self.steps: list[int] = []

    def after_step(self, view: StepView) -> bool:
        self.steps.append(view.step)
        return view.step == 3


def watched(config: Config, run: Path) -> tuple[list[int], RunInfo]:
    callback = StopAt3()
    found = train(config, out=run, callbacks=[callback])
    return callback.steps, found


def test_callbacks_are_called_on_the_first_rank_and_stop_all_of_them(config: Config, tmp_path: Path) -> None:
    first, second = together(2, watched, config, tmp_path / "run")
    assert (first[0], second[0]) == ([1, 2, 3], [])
    assert first[1] == second[1]
    assert (first[1].step, first[1].finished) == (3, False)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(config: Config, tmp_path: Path) -> None:
    uneven = override(config, {"data.batch_size": 3})
    reported = together(2, trained, uneven, tmp_path / "run")
    assert reported[0]["error"] == reported[1]["error"]
    assert "data.batch_size is 3" in reported[0]["error"]
    assert "give a multiple of 2" in reported[0]["error"]


def test_what_rank_0_finds_out_ends_the_others(tmp_path: Path) -> None:
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainB").mkdir()
    assert together(2, codes, ["train", str(tmp_path), "--out", str(tmp_path / "run"), "--data.batch-size", "2"]) == [
        65,
        65,
    ]


def codes(arguments: list[str]) -> int:
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


# --- losing a rank ---------------------------------------------------------------------------------


def train_for_long(config: Config, run: Path) -> None:
    """Train, and exit as the command line does."""
    ranks.PATIENCE = 5
    try:
        train(config, out=run)
    except RankError as error:
        raise SystemExit(error.exit_code) from None


@pytest.mark.parametrize(("lost", "signum"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_where_a_rank_is_lost_the_other_ends_and_the_run_goes_on_from_a_whole_checkpoint(
    config: Config, tmp_path: Path, lost: int, signum: int
) -> None:
    run = tmp_path / "run"
    long = override(config, {"schedule.num_steps": 4000, "run.checkpoint_every": 2, "run.sample_every": 0})
    company = Company(2, train_for_long, long, run)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (run.exists() and len(list_checkpoints(run / "checkpoints")) >= 2):
        assert all(process.is_alive() for process in company.processes)
        time.sleep(0.01)
    os.kill(company.processes[lost].pid, signum)
    survivor = company.processes[1 - lost]
    survivor.join(60)
    company.processes[lost].kill()
    company.processes[lost].join()
    assert survivor.exitcode == RankError.exit_code
    newest, warnings = load_newest(run / "checkpoints", strict=True)
    assert newest is not None
    assert warnings == []


# --- translating -----------------------------------------------------------------------------------


def test_translating_is_shared_and_one_bad_image_is_everybodys_exit_code(one_step: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        PIL.Image.new("RGB", (32 + number, 40), (40 * number, 9, 9)).save(images / f"{number}.png")
    (images / "5.png").write_bytes(b"no image")
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = ["translate", str(one_step), str(images), "--device", "cpu", "--out"]
    assert codes([*arguments, str(one)]) == 65
    reported = together(2, told_by_main, [*arguments, str(two)])
    assert [code for code, _ in reported] == [65, 65]
    assert "Translated 5 of 6 images" in reported[0][1]
    assert "Translated" not in reported[1][1]
    for rank, (_, text) in enumerate(reported):
        assert [f"{number}.png ->" in text for number in range(5)] == [number % 2 == rank for number in range(5)]
    for number in range(5):
        assert (two / f"{number}.png").read_bytes() == (one / f"{number}.png").read_bytes()


def told_by_main(arguments: list[str]) -> tuple[int, str]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0), text.getvalue()


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen test images a domain under the same names, which is truth."""
    folder = tmp_path_factory.mktemp("matched") / "data"
    draw_dataset(folder, a="summer", b="winter", count=2, size=32, num_test=14)
    return folder


@pytest.fixture(scope="module")
def one_step(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, which tests only read."""
    settings = {"data.root": str(drawn_folders), "schedule.num_steps": 1, "generator.dropout": True}
    return train(override(toy_config, settings), out=tmp_path_factory.mktemp("one_step") / "run").path


def evaluation(run: Path, data: Path, out: Path) -> list[str]:
    return ["evaluate", str(run), str(data), "--device", "cpu", "--batch", "4", "--out", str(out)]


@pytest.fixture(scope="module")
def evaluated(one_step: Path, matched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an evaluation by one process."""
    out = tmp_path_factory.mktemp("evaluated") / "one"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert codes(evaluation(one_step, matched, out)) == 0
    torch.set_num_threads(threads)
    return out


@pytest.mark.parametrize("count", [2, 4])
def test_evaluating_is_shared_and_finds_what_one_process_finds(
    count: int, one_step: Path, evaluated: Path, matched: Path, tmp_path: Path
) -> None:
    reported = together(count, told_by_main, evaluation(one_step, matched, tmp_path / "several"))
    assert [code for code, _ in reported] == [0] * count
    assert "14 images" in reported[0][1]
    assert {text for _, text in reported[1:]} == {""}
    assert len(json.loads((evaluated / "evaluation.json").read_text())["directions"]["AtoB"]["images"]) == 14
    for name in ("evaluation.json", "evaluation.html"):  # the order of the figures, too
        assert (tmp_path / "several" / name).read_text() == (evaluated / name).read_text()


def batches_evaluated(run: Path, data: Path) -> int:
    """Return the number of batches that this rank translates, of 14 images a direction, 4 at a time."""
    seen = []
    whole = Translator.__call__

    def noted(self: Translator, images: Any, **settings: Any) -> Any:
        seen.append(settings["direction"])
        return whole(self, images, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Translator, "__call__", noted)
        evaluate(run, data, settings=Settings(batch=4), device="cpu")
    return len(seen)


def test_each_process_translates_its_share_of_a_test_set(one_step: Path, matched: Path) -> None:
    # There and back, in both directions: 16 calls for 4 batches, which 3 ranks share as 2, 1 and 1.
    assert together(3, batches_evaluated, one_step, matched) == [8, 4, 4]


def refused_to_evaluate(run: Path, datas: list[Path]) -> str:
    try:
        evaluate(run, datas[launched().rank], device="cpu")
    except RankError as error:
        return str(error)
    return "evaluated"


def test_processes_that_see_other_images_do_not_evaluate_together(
    one_step: Path, matched: Path, tmp_path: Path
) -> None:
    draw_dataset(tmp_path / "other", a="summer", b="winter", count=2, size=32, num_test=14, seed=1)
    for reported in together(2, refused_to_evaluate, one_step, [matched, tmp_path / "other"]):
        assert "The test set or the model differs between rank 0 and rank 1" in reported
        assert "give all processes the same images and the same model." in reported


def noise_of_each(model: Path) -> bytes:
    image = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    translator = Translator.load(model, device="cpu")
    with ranks.process_group(CPU):
        return translator(image, direction="AtoB").numpy().tobytes()


def test_the_noise_of_a_translation_is_that_of_one_process(tmp_path: Path) -> None:
    generator = ResNetGenerator(base_channels=4, num_blocks=1, dropout=True)
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=generator, mode="training")},
        domains={"A": "summer", "B": "winter"},
        training=TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="pix2pix"),
    )
    write_model(tmp_path / "model", info, {"AtoB": initialised(generator.build(3, 3), 0, "AtoB")})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = noise_of_each(tmp_path / "model")
    torch.set_num_threads(threads)
    assert together(2, noise_of_each, tmp_path / "model") == [alone, alone]


def test_other_commands_are_for_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, text in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, text)
    assert codes(["info", "run"]) == 78
    assert capsys.readouterr().err == "unpaired: unpaired info runs in one process; start it without torchrun.\n"
