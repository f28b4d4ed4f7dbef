"""The scripts for Ray Data and Dask on a cluster of two workers of this machine, one of which is killed.

They need the optional group `clusters` of pyproject.toml and are skipped without it.
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from test_columns import contents, make_images, make_model
from unpaired.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
COUNT = 300  # images, so that there is work left when a worker is killed

pytestmark = [
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers by /proc"),
    pytest.mark.filterwarnings("ignore"),  # those of the libraries
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, images, and in `command` the results of `unpaired translate`."""
    folder = tmp_path_factory.mktemp("clusters")
    model, images = make_model(folder / "model"), make_images(folder / "images", COUNT)
    with pytest.raises(SystemExit, match="65"):
        main(["translate", str(model), str(images), "--out", str(folder / "command")])
    return folder


def test_dask_gives_the_same_files_though_a_worker_is_killed(folder: Path) -> None:
    distributed = pytest.importorskip("distributed")
    import unpaired
    from unpaired.translate.columns import plan_rows

    run = runpy.run_path(str(EXAMPLES / "dask_cluster.py"))["run"]
    translator = unpaired.load(folder / "model", precision="auto")
    rows = plan_rows(translator, [folder / "images"], folder / "dask")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        results = run(client, translator, rows, "AtoB")
        finished = [next(results)]
        workers = client.run(os.getpid)
        assert len(workers) == 2
        killed = next(iter(workers.values()))
        os.kill(killed, signal.SIGKILL)
        finished += results
        client.wait_for_workers(2)
        assert killed not in client.run(os.getpid).values()
        assert set(client.run(translators_here).values()) <= {0, 1}  # 0 in one that was started when all was done
    errors = [error for result in finished for error in result["error"] if error]
    assert len(errors) == 1
    assert "broken.png" in errors[0]
    assert contents(folder / "dask") == contents(folder / "command")


def test_ray_gives_the_same_files_though_a_worker_is_killed(folder: Path) -> None:
    pytest.importorskip("ray.data")
    out = folder / "ray"
    command = [sys.executable, str(EXAMPLES / "ray_data.py"), str(folder / "model"), str(folder / "images")]
    script = subprocess.Popen(
        [*command, "--out", str(out), "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first = wait_for(lambda: contents(out), script)
    workers = [pid for pid in below(script.pid) if "Translate" in command_line(pid)]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    printed, logged = script.communicate(timeout=300)
    assert script.returncode == 65, logged
    assert f"Translated {len(contents(out))} of {len(contents(out)) + 1} images" in printed
    assert "broken.png is damaged" in logged
    assert len(first) < len(contents(out))
    assert contents(out) == contents(folder / "command")


def translators_here() -> int:
    """Return how many translators the process has; runs in workers."""
    from unpaired.translate.translator import Translator

    return sum(isinstance(each, Translator) for each in gc.get_objects())


def wait_for(look: Any, script: subprocess.Popen[str]) -> Any:
    """Return what `look` returns, as soon as it is not empty."""
    while script.poll() is None:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(script.communicate())


def below(pid: int) -> list[int]:
    """Return the processes below a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *below(child)]
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # has ended
        return ""
