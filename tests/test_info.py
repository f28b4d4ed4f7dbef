"""`unpaired info` of runs, models and folders of runs; and the commands that do not import torch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unpaired.artifacts.locks import is_locked
from unpaired.artifacts.log_ends import log_ends
from unpaired.artifacts.manifests import FORMAT, MANIFEST, sealed
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.settings_file import recipe_line
from unpaired.cli import main
from unpaired.compat.settings_only import suits
from unpaired.config import override, to_yaml
from unpaired.errors import DataError
from unpaired.networks import ResNetGenerator
from unpaired.recipes import Config
from unpaired.runs import info
from unpaired.runs.catalogue import runs_below
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

MADE_WITH = {"device": "cpu", "processor": "A Fast One", "torch": "2.13.0"}
EVALUATION = {
    "data": "somewhere/scenes",
    "data_sha256": "0123456789abcdef",
    "step": 40,
    "directions": {"AtoB": {"figures": {"l1": {"made": {"value": 0.125, "low": 0.1, "high": 0.15}, "floor": None}}}},
}


def line(step: int, *, speed: float = 8.0, at: str = "2026-12-01T10:00:00+0000") -> dict[str, Any]:
    losses = {"adversarial_a": 0.25, "cycle_a": 1.5}
    return {"step": step, "losses": losses, "images_per_second": speed, "seconds": 600.0, "time": at}


def fabricated(
    folder: Path, config: Config, *, step: int = 40, logged: int = 50, recipe: str = "fast", lines: int = 3
) -> Path:
    """Write the files of a run of 100 steps that `info` reads."""
    run = RunFolder(folder)
    run.create()
    whole = override(config, {"schedule.num_steps": 100, "data.batch_size": 2})
    run.config.write_text(recipe_line(recipe) + to_yaml(whole))
    facts = {"folder": "", "images": 60, "fingerprint": ""}
    run.data.write_text(json.dumps({"A": {"name": "summer", **facts}, "B": {"name": "winter", **facts}}))
    records = [line(logged - 10 * (lines - 1 - number)) for number in range(lines)]
    run.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    if step:
        checkpoint = run.checkpoints / f"step-{step:08d}"
        checkpoint.mkdir()
        manifest = {"format": FORMAT, "step": step, "state_sha256": "ab" * 32, "files": {}, "made_with": MADE_WITH}
        (checkpoint / MANIFEST).write_bytes(sealed(manifest))
    return folder


@contextmanager
def zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in arguments])
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def rows(printed: str) -> dict[str, str]:
    """Return a printed table of two columns as a dictionary."""
    pairs = [row.strip().split("  ", 1) for row in printed.splitlines() if "  " in row.strip()]
    return {key.strip(): value.strip() for key, value in pairs}


# --- a run -----------------------------------------------------------------------------------------


def test_a_stopped_run_has_recipe_device_dates_speed_and_time_left(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fabricated(tmp_path / "run", toy_config)
    with zone("UTC"):
        found = info(folder)
        code, printed, _ = run(capsys, "info", folder)
    assert (found.state, found.recipe, found.device) == ("stopped", "fast", "cpu (A Fast One)")
    assert (found.started, found.updated) == ("2026-12-01 09:50", "2026-12-01 10:00")
    assert (found.step, found.logged_step, found.num_steps, found.epoch) == (40, 50, 100, 2)
    assert (found.images_per_second, found.steps_per_second, found.seconds_left) == (8.0, 4.0, 15.0)
    table = rows(printed)
    assert code == 0
    assert table["state"] == "stopped"
    assert table["checkpoint"] == "step 40 of 100, epoch 2"
    assert table["time left"] == "15 s when continued"
    assert table["speed"] == "4 steps/s, 8 images/s"
    assert (table["recipe"], table["started"]) == ("fast", "2026-12-01 09:50")


def test_json_has_every_field(toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fabricated(tmp_path / "run", toy_config)
    facts = json.loads(run(capsys, "info", folder, "--json")[1])
    assert facts["state"] == "stopped"
    assert facts["finished"] is False
    assert facts["losses"] == {"adversarial_a": 0.25, "cycle_a": 1.5}


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system lists no locks")
def test_a_run_is_training_while_a_process_holds_its_lock(toy_config: Config, tmp_path: Path) -> None:
    folder = RunFolder(fabricated(tmp_path / "run", toy_config))
    assert not is_locked(folder.lock_file)
    with folder.lock():
        if not is_locked(folder.lock_file):
            pytest.skip("this file system is listed under another device")
        found = info(folder.path)
        assert found.state == "training"
        assert found.seconds_left == 12.5  # from the last logged step, not from the checkpoint
    assert info(folder.path).state == "stopped"


@pytest.mark.parametrize("written", ["nothing", "settings"])
def test_a_run_that_scans_its_images_is_starting(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str
) -> None:
    folder = RunFolder(fabricated(tmp_path / "run", toy_config, step=0, lines=0))
    folder.data.unlink()
    if written == "nothing":
        folder.config.unlink()
    with folder.lock():
        if not is_locked(folder.lock_file):
            pytest.skip("this file system is listed under another device")
        code, _, err = run(capsys, "info", folder.path)
    assert (code, err) == (
        65,
        f"unpaired: The run in {folder.path} is starting and scans its images; try again in a while.\n",
    )


def test_a_new_run_and_a_finished_one_need_no_log(toy_config: Config, tmp_path: Path) -> None:
    new = info(fabricated(tmp_path / "new", toy_config, step=0, lines=0, recipe=""))
    assert (new.state, new.recipe, new.device, new.started, new.seconds_left) == ("new", "", "", "", None)
    killed = info(fabricated(tmp_path / "killed", toy_config, step=7, lines=0))  # before the first logged step
    assert (killed.state, killed.step) == ("stopped", 7)
    done = info(fabricated(tmp_path / "done", toy_config, step=100, lines=0))
    assert (done.state, done.seconds_left, done.finished) == ("finished", 0.0, True)


def test_a_damaged_newest_manifest_is_named_and_the_one_before_is_used(
    tmp_path: Path, toy_config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fabricated(tmp_path / "run", toy_config)
    newest = folder / "checkpoints" / "step-00000060"
    newest.mkdir()
    (newest / MANIFEST).write_text("{")
    code, printed, err = run(capsys, "info", folder, "--json")
    assert code == 0
    assert json.loads(printed)["step"] == 40
    assert f"{newest / MANIFEST} cannot be read" in err
    assert "Continuing the run sets this checkpoint aside." in err
    assert run(capsys, "info", tmp_path)[0] == 0


@pytest.mark.parametrize("damage", ["[1, 2]", "data: 3", "schema: 99", "schedule: {num_steps: -1}", "{", "data: [1"])
def test_damaged_settings_are_one_sentence(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder = fabricated(tmp_path / "run", toy_config)
    (folder / "config.yaml").write_text(damage)
    code, _, err = run(capsys, "info", folder)
    assert code == 78
    assert err.startswith("unpaired: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("damage", [b"\xff\xfe{}", b"[]", b"3", b'{"step": 1}', b'{"step": 1, "ki', b"[" * 100_000])
def test_a_damaged_history_is_one_sentence_and_hides_no_other_run(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    folder = fabricated(tmp_path / "run", toy_config)
    fabricated(tmp_path / "sound", toy_config)
    (folder / "history.jsonl").write_bytes(b'{"step": 1, "kind": "data", "sentence": "Changed."}\n' + damage + b"\n")
    code, _, err = run(capsys, "info", folder)
    assert code == 65
    assert "history.jsonl is damaged (line 2" in err
    assert err.count("\n") == 1
    code, printed, _ = run(capsys, "info", tmp_path)
    assert (code, printed.splitlines()[2].split()[:3]) == (0, ["sound", "fast", "stopped"])


# --- the log ---------------------------------------------------------------------------------------


def test_the_ends_of_a_log_are_read_without_the_middle(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert log_ends(log) == ([], [])
    log.write_text('{"step": 1}\nbroken\n{"step": 2}\n{"step": 3')
    assert log_ends(log) == ([{"step": 1}, {"step": 2}], [{"step": 1}, {"step": 2}])
    log.write_bytes(b'{"step": 1}\n' + b"x" * 200_000 + b'\n{"step": 7}\n')
    first, last = log_ends(log)
    assert (first, last) == ([{"step": 1}], [{"step": 7}])


# --- several runs ----------------------------------------------------------------------------------


def test_a_folder_of_runs_is_a_table_of_all_runs_below(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricated(tmp_path / "first", toy_config)
    fabricated(tmp_path / "more" / "second[bold]", toy_config, step=100, recipe="demo")
    (fabricated(tmp_path / "third", toy_config) / "data.json").write_text("{")
    (tmp_path / "notes").mkdir()
    code, printed, _ = run(capsys, "info", tmp_path)
    assert code == 0
    lines = printed.splitlines()
    assert [row.split()[0] for row in lines[1:4]] == ["first", "more/second[bold]", "third"]
    assert lines[1].split()[1:3] == ["fast", "stopped"]
    assert lines[2].split()[1:3] == ["demo", "finished"]
    assert "damaged" in lines[3]
    assert "data.json is damaged" in lines[4]
    listed = json.loads(run(capsys, "info", tmp_path, "--json")[1])
    assert [entry.get("state") for entry in listed] == ["stopped", "finished", None]


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no folder of runs"):
        runs_below(tmp_path)
    assert run(capsys, "info", tmp_path)[0] == 65


def test_two_runs_are_compared_by_settings_and_figures(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = fabricated(tmp_path / "one", toy_config)
    other = fabricated(tmp_path / "other", override(toy_config, {"optimizer.learning_rate": 1e-4}), recipe="demo")
    (one / "evaluation").mkdir()
    (one / "evaluation" / "evaluation.json").write_text(json.dumps(EVALUATION))
    (other / "held_out.jsonl").write_text('{"step": 30, "kernel_AtoB": 0.5}\n')
    code, printed, _ = run(capsys, "info", one, other)
    assert code == 0
    table = {key: value.split() for key, value in rows(printed).items()}
    assert table["recipe"] == ["fast", "demo"]
    assert table["optimizer.learning_rate"] == ["0.0002", "0.0001"]
    assert table["loss cycle_a"] == ["1.5", "1.5"]
    assert table["scenes 01234567 AtoB l1"] == ["0.125", "(0.1", "to", "0.15)", "-"]
    assert table["validation kernel_AtoB"] == ["-", "0.5"]
    assert "data.crop_size" not in table
    found = json.loads(run(capsys, "info", one, other, "--json")[1])
    assert found["settings"] == {"optimizer.learning_rate": [0.0002, 0.0001]}


def test_two_equal_runs_have_no_setting_that_differs(
    toy_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [fabricated(tmp_path / name, toy_config) for name in "ab"]
    assert "settings that differ: none" in run(capsys, "info", *folders)[1]
    assert run(capsys, "info", *folders, folders[0])[0] == 78


# --- a model ---------------------------------------------------------------------------------------


def test_a_model_folder_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ResNetGenerator(base_channels=4, num_blocks=1)
    model = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=network)},
        domains={"A": "summer", "B": "winter"},
        training=TrainingInfo(step=7, seed=1, load_size=72, crop_size=64, objective="cyclegan"),
    )
    write_model(tmp_path / "model", model, {"AtoB": network.build(3, 3)})
    code, printed, _ = run(capsys, "info", tmp_path / "model")
    table = rows(printed)
    assert code == 0
    assert table["directions"] == "AtoB resnet, 3 to 3 channels"
    assert (table["step"], table["load size"], table["domains"]) == ("7", "72", "A summer, B winter")
    assert json.loads(run(capsys, "info", tmp_path / "model", "--json")[1])["seed"] == 1


# --- help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [[], ["info"], ["data", "check"]])
def test_help_is_the_same_as_the_option(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "help", *verb)[1] == run(capsys, *verb, "--help")[1]


def test_an_unknown_verb_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "help", "trian")
    assert (code, "did you mean train" in err) == (64, True)


# --- without torch ---------------------------------------------------------------------------------

ALONE = """
import os, resource, sys, time
from unpaired.cli import main

def again(*_):
    print("started again", file=sys.stderr)
    os._exit(99)

os.execve = again
sys.argv = ["unpaired", *sys.argv[1:]]
try:
    main()
finally:
    heavy = [name for name in ("torch", "numpy", "PIL") if getattr(sys.modules.get(name), "__file__", None)]
    peak = [row for row in open("/proc/self/status") if row.startswith("VmHWM")] if os.path.exists("/proc") else []
    print("loaded", *heavy, "peak", *(peak[0].split()[1] if peak else "0").split(), file=sys.stderr)
"""


def alone(*arguments: object) -> tuple[str, list[str], int]:
    """Run a command in a process of its own; return its output, the heavy modules it imported and its peak in kB."""
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    _, _, facts = done.stderr.strip().splitlines()[-1].partition("loaded")
    heavy, _, peak = facts.partition("peak")
    return done.stdout, heavy.split(), int(peak)


def test_info_of_a_log_of_a_million_lines_imports_no_torch_and_takes_no_memory(
    toy_config: Config, tmp_path: Path
) -> None:
    folder = fabricated(tmp_path / "run", toy_config)
    block = (json.dumps({"step": 1, "images_per_second": 8.0}) + "\n").encode() * 10_000
    with (folder / "log.jsonl").open("wb") as file:
        for _ in range(100):
            file.write(block)
        file.write((json.dumps(line(1_000_001)) + "\n").encode())
    printed, heavy, peak = alone("info", folder, "--json")
    assert json.loads(printed)["logged_step"] == 1_000_001
    assert heavy == []
    assert peak < 60_000


def test_a_dry_run_imports_no_torch_and_prints_the_same_as_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for recipe in ("pix2pix", "fast"):
        command = ["train", tmp_path, "--dry-run", "--recipe", recipe, "--out", tmp_path / "run", "--steps", 9]
        printed, heavy, peak = alone(*command)
        assert heavy == []
        assert peak < 60_000
        _, again, said = run(capsys, *command)
        assert printed == again
        assert f"`unpaired data check {tmp_path}` reads them" in said
        assert ("precision: auto" in printed) == ("The precision auto becomes bf16 if" in said) == (recipe == "fast")


def test_a_dry_run_names_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "train", tmp_path / "nowhere", "--dry-run")
    assert code == 0
    assert said == f"There is no folder {tmp_path / 'nowhere'}.\n"


def test_a_dry_run_that_needs_torch_starts_again_with_it(tmp_path: Path) -> None:
    tokens = ["train", str(tmp_path), "--dry-run", "--recipe", "cyclegan", "--config", str(tmp_path / "mine.yaml")]
    (tmp_path / "mine.yaml").write_text("schema: 1\nrun:\n  memory: 6GB\n")
    done = subprocess.run([sys.executable, "-c", ALONE, *tokens], capture_output=True, text=True, check=False)
    assert "started again" in done.stderr
    assert done.returncode == 99
    assert done.stdout == ""


def test_only_dry_runs_of_built_in_recipes_are_tried_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not suits(["train", "x", "--dry-run"])  # torch is imported here
    for name in ("torch", "safetensors", "numpy", "PIL"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert suits(["train", "x", "--dry-run"]) == (sys.platform != "win32")
    for tokens in (["train", "x"], ["train", "x", "--dry-run", "--memory", "6GB"], ["info", "--dry-run"]):
        assert not suits(tokens)
    assert not suits(["train", "x", "--dry-run", "--recipe", "mine.py:wide"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not suits(["train", "x", "--dry-run"])


def test_the_seal_of_a_manifest_is_the_hash_of_the_rest() -> None:
    content = json.loads(sealed({"step": 1}))
    assert content["manifest_sha256"] == hashlib.sha256(b'{\n "step": 1\n}\n').hexdigest()
