"""Benchmark cases of the official code, from a user's checkout; none of it is part of this package."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from unpaired.bench.cases import config_at, random_batch
from unpaired.bench.ceilings import synchronise
from unpaired.data.datasets import Batch
from unpaired.errors import DataError
from unpaired.networks import ResNetGenerator
from unpaired.randomness import torch_seeded
from unpaired.storage import shown


@dataclass
class OfficialTraining:
    """One `optimize_parameters` of the official CycleGAN, fp32, on the batch of our case."""

    model: Any
    batch: Batch
    flop: float = 0.0

    @property
    def images(self) -> int:
        """Image pairs per step."""
        return len(self.batch.a)

    def __call__(self) -> None:
        """Take one step."""
        self.model.set_input({"A": self.batch.a, "B": self.batch.b, "A_paths": "", "B_paths": ""})
        self.model.optimize_parameters()
        synchronise(self.batch.a.device)


@dataclass
class OfficialTranslation:
    """One forward pass of the official generator without gradients, fp32."""

    model: Any
    batch: Batch
    flop: float = 0.0

    @property
    def images(self) -> int:
        """Images per call."""
        return len(self.batch.a)

    def __call__(self) -> None:
        """Translate once."""
        with torch.no_grad():
            self.model.netG_A(self.batch.a)
        synchronise(self.batch.a.device)


COMMITS = ("2a7afba (2025)", "c941617 (2020)")
"""Commits that were run: the first takes a device in place of GPU numbers, and initialises weights in `setup`."""


class OfficialCode:
    """A checkout of junyanz/pytorch-CycleGAN-and-pix2pix; its `models` are imported and run."""

    def __init__(self, checkout: Path) -> None:
        """Import the checkout's code; raises DataError if it is missing."""
        if not (checkout / "models" / "cycle_gan_model.py").is_file():
            raise DataError(
                f"{shown(checkout)} contains no models/cycle_gan_model.py; give a clone of the official code."
            )
        self._checkout = checkout
        sys.path.insert(0, os.fspath(checkout.resolve()))
        with self._explained():
            self._models = importlib.import_module("models")

    def training(self, size: int, device: torch.device, batch: int = 1) -> OfficialTraining:
        """Return its training step with the same networks as ours at that size."""
        return OfficialTraining(self._model(size, device), random_batch(config_at(size, batch), device))

    def translation(self, size: int, device: torch.device, batch: int = 1) -> OfficialTranslation:
        """Return its generator at that size."""
        return OfficialTranslation(self._model(size, device), random_batch(config_at(size, batch), device))

    def _model(self, size: int, device: torch.device) -> Any:
        config = config_at(size)
        generator: Any = config.generator
        assert isinstance(generator, ResNetGenerator)
        options = SimpleNamespace(
            isTrain=True, gpu_ids=[device.index or 0] if device.type == "cuda" else [], device=device, name="bench",
            checkpoints_dir=tempfile.gettempdir(), preprocess="none", model="cycle_gan", direction="AtoB", input_nc=3,
            output_nc=3, ngf=generator.base_channels, ndf=generator.base_channels, netD="basic", n_layers_D=3,
            netG=f"resnet_{generator.num_blocks}blocks", norm="instance", no_dropout=True, init_type="normal",
            init_gain=0.02, gan_mode="lsgan", pool_size=50, lr=2e-4, beta1=0.5, lambda_A=10.0, lambda_B=10.0,
            lambda_identity=0.5, lr_policy="linear", epoch_count=1, n_epochs=100, n_epochs_decay=100,
            continue_train=False, verbose=False,
        )  # fmt: skip
        with self._explained(), contextlib.redirect_stdout(io.StringIO()), torch_seeded(0, "bench official"):
            model = self._models.create_model(options)
            model.setup(options)  # since 2025 the weights are initialised and moved to the device here
        return model

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of a version with other interfaces into a DataError."""
        try:
            yield
        except (AttributeError, ImportError, TypeError) as error:
            raise DataError(
                f"The official code in {shown(self._checkout)} cannot be run ({type(error).__name__}: {error}); check "
                f"out one of the commits that bench was run with, {' or '.join(COMMITS)}."
            ) from error
