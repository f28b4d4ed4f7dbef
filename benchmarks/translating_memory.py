"""Measured against estimated memory of translating, each case in a process of its own.

    python benchmarks/translating_memory.py resnet:512:fp32 resnet:1024:bf16 unet:512:fp32 ...

A case is GENERATOR:SIZE:PRECISION[:IMAGES]. Its process translates one 8-bit image of SIZE x SIZE, or IMAGES of them
one after another, after a small one that loads the libraries, and asks Linux for the largest resident size. A line of
JSON for each case goes to the standard output, with the ratio of the estimate in the refusal of large images to the
measurement.
"""

from __future__ import annotations

import json
import sys
from multiprocessing import get_context
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident(field: str) -> int:
    """Return VmRSS, the bytes of this process now, or VmHWM, the most since Linux was last asked to forget."""
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(field))


def measure(case: str) -> None:
    """Print the estimate and the measurement of a case; for a process that has done nothing else."""
    import numpy as np
    import torch

    from unpaired.images import Image
    from unpaired.networks import GENERATORS
    from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, Translator

    kind, size, precision, *more = case.split(":")
    side, images = int(size), int(more[0]) if more else 1
    direction = DirectionInfo(generator=GENERATORS.get(kind)())
    training = TrainingInfo(step=None, seed=0, load_size=286, crop_size=256, objective="cyclegan")
    info = ModelInfo(directions={"AtoB": direction}, domains={"A": "summer", "B": "winter"}, training=training)
    torch.manual_seed(0)
    network = direction.generator.build(3, 3).eval()
    translator = Translator(info, {"AtoB": network}, device="cpu", precision=precision, max_pixels=2**30)
    rng = np.random.default_rng(0)
    translator(Image(rng.integers(0, 256, (64, 64, 3), np.uint8)))
    image = Image(rng.integers(0, 256, (side, side, 3), np.uint8))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(images):
        translator(image)
    measured = resident("VmHWM") - before
    loaded = translator._loaded["AtoB"]
    estimate = loaded.expected_bytes(side * side, precision)
    facts = {"case": case, "estimated_mb": round(estimate / 1e6), "measured_mb": round(measured / 1e6)}
    cpu = torch.backends.cpu.get_cpu_capability()
    facts |= {"ratio": round(estimate / measured, 2), "bytes_per_pixel": round(measured / side**2), "cpu": cpu}
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        process = get_context("spawn").Process(target=measure, args=(given,))
        process.start()
        process.join()
