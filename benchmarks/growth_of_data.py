"""Processor time and peak memory of `data check`, of the start and of the resumption of a run, as folders grow.

    python benchmarks/growth_of_data.py make FOLDER --count 10000            distinct photographs, drawn
    python benchmarks/growth_of_data.py make FOLDER --count 10000 --alike    frames of a still camera
    python benchmarks/growth_of_data.py make FOLDER --count 1200000 --links 12000
    python benchmarks/growth_of_data.py check FOLDER [--findings FILE.json]
    python benchmarks/growth_of_data.py start FOLDER RUN                      to the end of step one
    python benchmarks/growth_of_data.py resume FOLDER RUN

`make` draws JPEG files with the spectrum of photographs, half of them into trainA and half into trainB; with `--links`
N distinct ones, and hard links to them. Every other command measures one case in a process of its own and prints a line
of JSON: user and system seconds, wall seconds, and the largest resident size in MB. PYTHONPATH decides which build is
measured, so that two builds are compared by running the same command with each of them in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np
import PIL.Image


def main() -> None:
    """Carry out one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "check", "start", "resume"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--links", type=int, default=0, help="number of distinct files among them")
    parser.add_argument("--alike", action="store_true")
    parser.add_argument("--findings", type=Path)
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    if given.command == "make":
        make(given.folder, given.count, given.links or given.count, given.alike)
        return
    import torch

    torch.set_num_threads(1)
    if given.profile:
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
    before, began = spent(), time.monotonic()
    if given.command == "check":
        from unpaired.data.datasets import DataConfig
        from unpaired.doctor.checkup import check_data

        found = check_data(DataConfig(root=str(given.folder)))
    else:
        train(given.folder, given.run)
    seconds, wall = spent() - before, time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if given.profile:
        profile.disable()
        profile.dump_stats(given.profile)
    if given.findings:
        given.findings.write_text(json.dumps(found.as_json(), indent=1))
    facts = {"command": given.command, "folder": given.folder.name, "cpu_s": seconds, "wall_s": wall, "peak_mb": peak}
    print(json.dumps({name: round(fact, 2) if isinstance(fact, float) else fact for name, fact in facts.items()}))


def spent() -> float:
    """Return the processor seconds of this process, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def train(folder: Path, run: Path) -> None:
    """Take one step with the smallest networks, or continue the finished run."""
    import unpaired

    unpaired.train(
        folder,
        recipe="paper",
        size=32,
        steps=1,
        out=run,
        quiet=True,
        settings={
            "generator.base_channels": 4,
            "generator.num_blocks": 1,
            "discriminator.base_channels": 4,
            "run.num_samples": 1,
            "run.guardian": "off",
            "run.trust_images": 0,
        },
    )


def make(folder: Path, count: int, distinct: int, alike: bool) -> None:
    """Write the files of both domains, in folders of at most 10,000."""
    rng = np.random.default_rng(0)
    still = scene(rng) if alike else None
    originals: list[Path] = []
    for number in range(count):
        domain = folder / ("trainA" if number % 2 else "trainB") / f"{number // 10000:04}"
        if number % 10000 < 2:
            domain.mkdir(parents=True, exist_ok=True)
        path = domain / f"photograph-{number:07}.jpg"
        if number < distinct:
            pixels = scene(rng) if still is None else still + rng.normal(0, 2, still.shape)
            PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85)
            originals.append(path)
        else:
            os.link(originals[number % distinct], path)


def scene(rng: np.random.Generator, side: int = 64) -> np.ndarray:
    """Return noise h w 3 whose amplitude falls with the frequency, as that of photographs."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    falling = 1 / np.maximum(frequency, 1 / side) ** 1.3
    spectrum = (rng.normal(size=(2, side, side // 2 + 1))) * falling
    grey = np.fft.irfft2(spectrum[0] + 1j * spectrum[1], s=(side, side))
    grey = (grey - grey.mean()) / grey.std()
    tint = rng.normal(0, 20, 3)
    return 120 + 50 * grey[:, :, None] + tint


if __name__ == "__main__":
    main()
