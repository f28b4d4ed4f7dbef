"""The run that the faults are tried on: tiny networks on images of noise, every kind of state switched on."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from unpaired.cli import main
from unpaired.config import to_yaml
from unpaired.data.datasets import DataConfig
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN, Pix2Pix
from unpaired.recipes import Config
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig

METHODS = ("cyclegan", "pix2pix")
COUNTS = {"trainA": 24, "trainB": 20, "testA": 2, "testB": 2}


def draw_data(folder: Path, method: str) -> Path:
    """Write images of noise, two folders of them or, for pix2pix, pairs; return the folder."""
    rng = np.random.default_rng(0)
    paired = method == "pix2pix"
    for name, count in {"train": 24, "test": 2}.items() if paired else COUNTS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 80 if paired else 40, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")
    return folder


def toy_config(data: Path, method: str, *, steps: int, workers: int = 0, every: int = 4) -> Config:
    """Return a method in miniature: pools of 5, dropout, an averaged copy of the weights, samples and reports."""
    return Config(
        data=DataConfig(
            root=str(data),
            load_size=36,
            crop_size=32,
            cache_mb=16,
            num_workers=workers,
            pairing="paired" if method == "pix2pix" else "unpaired",
        ),
        objective=Pix2Pix() if method == "pix2pix" else CycleGAN(pool_size=5),
        generator=ResNetGenerator(base_channels=4, num_blocks=1, num_downs=1, dropout=True),
        discriminator=PatchGAN(base_channels=4, num_layers=1),
        optimizer=OptimizerConfig(ema_decay=0.9),
        schedule=ScheduleConfig(num_steps=steps),
        run=RunConfig(
            device="cpu",
            num_threads=1,
            log_every=1,
            sample_every=2 * every,
            num_samples=1,
            trust_images=20,
            checkpoint_every=every,
            seed=3,
        ),
    )


def command(config: Config, run: Path, beside: Path | None = None) -> list[str]:
    """Return the arguments of `unpaired` that train `config` in `run`; they name a file written beside it."""
    file = (beside or run.parent) / f"{run.name}.yaml"
    file.write_text(to_yaml(config))
    return ["train", "--config", str(file), "--out", str(run)]


class Trainer:
    """`unpaired train` in a process of its own, forked from this one, so that nothing has to be imported again.

    The process leads a session of its own. before: run in it first, e.g. to wait at some place of the training.
    """

    def __init__(self, arguments: list[str], output: Path, before: Callable[[], Any] = lambda: None) -> None:
        self.output = output
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(arguments, before))
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def _run(self, arguments: list[str], before: Callable[[], Any]) -> None:
        os.setsid()
        descriptor = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        # A test runner may have put other things in their places.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = 70
        try:
            before()
            main(arguments)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 70
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        os._exit(code)

    def wait(self, seconds: float = 120.0) -> int:
        """Return the exit code, the negative of the signal's number where one ended it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the trainer hangs"
        return self.process.exitcode

    def printed(self) -> str:
        """Return its output on stdout and stderr."""
        return self.output.read_text(errors="replace")
