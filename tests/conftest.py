"""What several test files share: a configuration and folders small enough for whole runs to take a second."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image
import pytest
import torch
from hypothesis import settings

import spare_server
from unpaired.data.datasets import DataConfig
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN
from unpaired.recipes import Config
from unpaired.registering import registries
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import ScheduleConfig

# A busy machine is no failure: speed has tests of its own.
settings.register_profile("unpaired", deadline=None)
settings.load_profile("unpaired")

# A shell without job control starts background processes that ignore Ctrl-C, and their children inherit this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The promise of equal bits names the number of threads.
torch.set_num_threads(1)

# Every save waits for the disk several times (fsync), and the suite makes thousands. Its folders, under 1 GB in all and
# removed as the tests pass, are kept in memory where there is plenty.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

COUNTS = {"trainA": 6, "trainB": 5, "testA": 2, "testB": 2}
STYLES = {"A": "summer", "B": "winter"}


def pytest_configure() -> None:
    """Have the servers of loader processes and ranks at hand."""
    spare_server.prepare(4)


@pytest.fixture
def clean_registries() -> Iterator[None]:
    """Undo the registrations of a test after it."""
    before = [(registry, dict(registry._parts)) for registry in registries()]
    yield
    for registry, parts in before:
        registry._parts.clear()
        registry._parts.update(parts)


@pytest.fixture(scope="session")
def toy_config() -> Config:
    """The published method in miniature: 8 steps at 32 x 32 on the processor; it names no data."""
    return Config(
        data=DataConfig(load_size=36, crop_size=32, cache_mb=16),
        objective=CycleGAN(pool_size=3),
        generator=ResNetGenerator(base_channels=4, num_blocks=1, num_downs=1),
        discriminator=PatchGAN(base_channels=4, num_layers=1),
        schedule=ScheduleConfig(num_steps=8),
        run=RunConfig(
            device="cpu", num_threads=1, log_every=1, sample_every=4, num_samples=2, checkpoint_every=4, seed=3
        ),
    )


@pytest.fixture(scope="session")
def drawn_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn once a session and never changed; tests take a copy of it from `two_folders`."""
    root = tmp_path_factory.mktemp("drawn") / "summer2winter"
    for name, count in COUNTS.items():
        folder = root / name
        folder.mkdir(parents=True)
        for number, seed in enumerate(scene_seeds(name, count, seed=1)):
            PIL.Image.fromarray(draw_scene(seed, STYLES[name[-1]], 40)).save(folder / f"{number:03d}.png")
    return root


@pytest.fixture
def two_folders(drawn_folders: Path, tmp_path: Path) -> Path:
    """A folder of one's own: trainA and trainB with 6 and 5 images, testA and testB with 2, 40 x 40 PNG."""
    return shutil.copytree(drawn_folders, tmp_path / drawn_folders.name)


class _Kept(logging.Handler):
    """Keeps the messages of records."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.INFO)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record.getMessage())


@contextmanager
def logged_to(kept: list[str]) -> Iterator[None]:
    """Add the log messages of the block to a list."""
    logger, handler = logging.getLogger("unpaired"), _Kept(kept)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The sentences that the package logs from now on."""
    kept: list[str] = []
    with logged_to(kept):
        yield kept
