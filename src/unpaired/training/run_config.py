"""Settings of a run that do not belong to data, networks or method."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unpaired.config import free, require

Precision = Literal["fp32", "bf16"]

_UNITS = {"MB": 1e6, "GB": 1e9, "MiB": 2.0**20, "GiB": 2.0**30}


def memory_bytes(text: str) -> int:
    """Return the bytes of a size such as 6GB, 1.5 GiB or 800MB; 0 for "". Raises ConfigError."""
    if not text:
        return 0
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", text)
    unit = {name.lower(): size for name, size in _UNITS.items()}.get(found[2].lower()) if found else None
    require(
        bool(found and unit and float(found[1]) > 0),
        f"run.memory is a number above 0 with MB, GB, MiB or GiB behind it, e.g. 6GB, not {text!r}.",
    )
    assert found is not None
    assert unit is not None
    return int(float(found[1]) * unit)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run is carried out. The settings marked free cannot change the result of training.

    A *_every of 0 means never; a checkpoint is always saved at the end and on interruption.
    """

    seed: int = 0
    """Seed of every draw: initial weights, order, partners, crops, flips, pools, dropout. Not negative."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Number format of the forward pass. fp32; bf16: bfloat16 with float32 weights; auto: bf16 if the device has
    instructions for it, resolved when a run starts.
    """
    device: str = free("auto")
    """Device of the run: auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""
    acceleration: Literal["none", "graph", "compile", "graph+compile"] = free("none")
    """Experimental, never measured on a GPU. graph: replay each training step as one CUDA graph, on NVIDIA's GPUs and
    if the method allows it; compile: compile the networks for training steps with torch.compile, which takes minutes at
    every start; graph+compile: both; none. Results differ in rounding.
    """
    layout: Literal["nchw", "channels_last"] = free("nchw")
    """Memory layout of the convolutions' weights: nchw, or channels_last for hardware that is faster with it. Results
    differ in rounding.
    """
    num_threads: int = free(0)
    """Threads of each process on a CPU; 0 leaves torch's choice. The bits of a CPU run depend on it."""
    recompute: bool = free(False)
    """Activation checkpointing in ResNet and U-Net generators: less memory, more time, the same result."""
    accumulate: int = free(1)
    """Micro-batches that each process splits its images of a batch into (gradient accumulation): less memory, the same
    step but for rounding and random draws.
    """
    memory: str = free("")
    """Memory that the run may take, e.g. 6GB: settings are changed to fit, those without effect on the result first."""
    memory_bf16: bool = free(False)
    """Allow run.memory to choose bfloat16, which changes the result."""
    on_nonfinite: str = free("stop")
    """Reaction to a NaN or infinite loss or gradient. stop: end the run; skip:N: leave out up to N such steps of the
    run.
    """
    log_every: int = free(20)
    """Steps between two lines of log.jsonl; 0 for none."""
    sample_every: int = free(500)
    """Steps between two sample grids, with which report.html is refreshed; 0 for none."""
    num_samples: int = free(4)
    """Images of each domain in a sample grid, at least 1."""
    checkpoint_every: int = free(500)
    """Steps between two checkpoints; 0 saves one at the end and on interruption only."""
    keep_checkpoints: int = free(2)
    """Number of newest checkpoints that are kept, at least 2; older ones are deleted."""
    tensorboard: bool = free(False)
    """Also write TensorBoard event files (needs unpaired[tensorboard])."""
    trust_images: int = free(256)
    """Images of each domain that are measured at the end of training for translate --scores; 0 for no scores."""
    guardian: Literal["off", "warn", "rewind"] = free("warn")
    """Monitoring for collapse, colour inversion and other failures. warn: reports them; rewind: also goes back, once
    for each failure, and applies its remedy; off.
    """
    guardian_every: int = free(200)
    """Steps between two checks of the guardian; 0 for none."""
    held_out_every: int | None = free(None)
    """Steps between two validations on held-out images; 0 for none. By default 1500, and 500 with early stopping."""
    publish: Literal["auto", "best", "last"] = free("auto")
    """Checkpoint that becomes model/. best: chosen by validation; last: the last step, as in the official code; auto:
    best if there are validation images (valA, valB), else last.
    """
    stop_when_flat: bool | None = free(None)
    """Early stopping. On a plateau of the validations the learning-rate decay starts early; on a second plateau
    training ends. --no-stop-when-flat also continues a run that ended so.
    """

    def __post_init__(self) -> None:
        every = ("log_every", "sample_every", "checkpoint_every", "guardian_every", "held_out_every")
        for name in ("seed", "num_threads", *every):
            value = getattr(self, name)
            require(value is None or value >= 0, f"run.{name} must not be negative, not {value}.")
        require(
            not self.stop_when_flat or self.validation_every > 0,
            "run.stop_when_flat needs validation, which run.held_out_every 0 turns off; set run.held_out_every to a "
            "number of steps.",
        )
        require(
            not (self.compiles and self.recompute),
            "run.acceleration compile and run.recompute exclude one another; leave one of them out.",
        )
        require(self.accumulate >= 1, f"run.accumulate must be at least 1, not {self.accumulate}.")
        require(self.num_samples >= 1, f"run.num_samples must be at least 1, not {self.num_samples}.")
        memory_bytes(self.memory)
        known = re.fullmatch("stop|skip:[0-9]+", self.on_nonfinite)
        require(bool(known), f"run.on_nonfinite must be stop or skip:N with a number N, not {self.on_nonfinite!r}.")

    @staticmethod
    def upgraded(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings with graph and compile, from files of earlier versions, under their present name.

        graph was on by default then and is ignored; it is off by default now.
        """
        known = {key: value for key, value in settings.items() if key not in ("graph", "compile")}
        if settings.get("compile") is True and known.get("acceleration", "none") == "none":
            known["acceleration"] = "compile"
        return known

    @property
    def replays(self) -> bool:
        """Whether steps are replayed as CUDA graphs if the device and the method allow."""
        return "graph" in self.acceleration

    @property
    def compiles(self) -> bool:
        """Whether networks are compiled for the steps."""
        return "compile" in self.acceleration

    @property
    def validation_every(self) -> int:
        """Number of steps between two validations, 0 for none.

        The default keeps all callbacks together below 1 % of a run of the paper's networks at 128 x 128. Early stopping
        judges by the number of validations, so it needs them more often.
        """
        if self.held_out_every is not None:
            return self.held_out_every
        return 500 if self.stop_when_flat else 1500

    @property
    def max_skipped(self) -> int:
        """Number of steps of the run that may be skipped because a loss or gradient is NaN or infinite."""
        return 0 if self.on_nonfinite == "stop" else int(self.on_nonfinite.removeprefix("skip:"))
