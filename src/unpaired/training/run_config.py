"""How a run is carried out, whatever is learnt in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unpaired.config import free, require

Precision = Literal["fp32", "bf16"]

_UNITS = {"MB": 1e6, "GB": 1e9, "MiB": 2.0**20, "GiB": 2.0**30}


def memory_bytes(text: str) -> int:
    """Return the bytes of a size as people write it: 6GB, 1.5 GiB, 800MB; 0 for "". Raises ConfigError."""
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
    """How a run is carried out. The settings marked free cannot change what is learnt.

    precision: fp32; bf16, forwards in bfloat16 with float32 weights; auto, bf16 where the device has instructions for
    it, settled when a run begins. device: auto (a GPU when there is one), cpu, cuda, cuda:1, mps.
    acceleration: experimental, and never measured on a GPU. none; graph, a step is replayed as one CUDA graph, on
    NVIDIA's GPUs and if the method allows; compile, networks are compiled for the steps (torch.compile; minutes at
    every start); graph+compile. layout: the order of weights in memory, channels_last for what is faster with it. The
    bits depend on both, what is learnt does not.
    num_threads: 0 leaves torch's choice; the bits of a CPU run depend on it. recompute: generators keep little of the
    forward pass and compute it again in the backward pass, for less memory and more time. accumulate: in how many
    parts, one after the other, each process takes its images of a batch, for less memory; the step is that of the whole
    batch, but for rounding and the draws of augmentation and the like. memory: what the run may take, e.g. 6GB; other
    settings are changed so that it fits, those without a bearing on the result first, and precision only with
    memory_bf16.
    on_nonfinite: stop, or skip:N to leave out up to N steps of the run in which a loss or gradient is no number; no
    other step is touched by it. keep_checkpoints: the newest ones kept, at least two. A *_every of 0 means never (a
    checkpoint is always taken at the end and when the run is interrupted). guardian: warn tells of what goes wrong,
    rewind also goes back once for each ailment and applies its remedy, on record. trust_images: of each domain,
    measured at the end for `translate --scores`; 0 for none.
    held_out_every: steps between two looks at held-out images, 0 for none. publish: what model/ holds, the best step by
    those looks (the last one where there are none) or the last, as the official code does; auto is best where there
    are validation images, and last where the looks are at test images. stop_when_flat: bring the decay forward, and
    then end, once the looks no longer improve; false also goes on with a run that ended so.
    """

    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    device: str = free("auto")
    acceleration: Literal["none", "graph", "compile", "graph+compile"] = free("none")
    layout: Literal["nchw", "channels_last"] = free("nchw")
    num_threads: int = free(0)
    recompute: bool = free(False)
    accumulate: int = free(1)
    memory: str = free("")
    memory_bf16: bool = free(False)
    on_nonfinite: str = free("stop")
    log_every: int = free(20)
    sample_every: int = free(500)
    num_samples: int = free(4)
    checkpoint_every: int = free(500)
    keep_checkpoints: int = free(2)
    tensorboard: bool = free(False)
    trust_images: int = free(256)
    guardian: Literal["off", "warn", "rewind"] = free("warn")
    guardian_every: int = free(200)
    held_out_every: int = free(500)
    publish: Literal["auto", "best", "last"] = free("auto")
    stop_when_flat: bool | None = free(None)

    def __post_init__(self) -> None:
        every = ("log_every", "sample_every", "checkpoint_every", "guardian_every", "held_out_every")
        for name in ("seed", "num_threads", *every):
            require(getattr(self, name) >= 0, f"run.{name} must not be negative, not {getattr(self, name)}.")
        require(
            not self.stop_when_flat or self.held_out_every > 0,
            "run.stop_when_flat goes by looks at held-out images, and run.held_out_every 0 asks for none; give it a "
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
        """Return settings with those of files of earlier versions, graph and compile, under today's name.

        Graphs were on unless somebody turned them off; they are asked for now.
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
    def max_skipped(self) -> int:
        """How many steps of the run may be left out because a loss or gradient is no number."""
        return 0 if self.on_nonfinite == "stop" else int(self.on_nonfinite.removeprefix("skip:"))
