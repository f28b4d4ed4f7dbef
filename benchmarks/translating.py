"""How fast files become files, beside the official generator, and how long one image takes from the shell.

python benchmarks/translating.py MODEL IMAGES --official CHECKOUT [--count 12] [--rounds 4]

MODEL: a model folder of the published architecture; `--random` writes one with random weights there first. IMAGES: a
folder of images of 256 x 256. The official code translates tensors that are in memory, one at a time, without reading
or writing a file; ours reads and writes. All is timed in turns in one process, the shell in processes of its own.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from unpaired.bench.official import OfficialCode
from unpaired.bench.run import machine
from unpaired.bench.timing import in_turns, ratio
from unpaired.images import read_image, to_tensor
from unpaired.networks import ResNetGenerator
from unpaired.networks.layers import initialise
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, Translator, plan_outputs, write_model
from unpaired.translate.precision import agreement
from unpaired.translate.translating import choose_precision, translate_files

SIZE = 256
CPU = torch.device("cpu")


def write_random(folder: Path) -> None:
    """Write a model of the published architecture with the published initial weights."""
    direction = DirectionInfo(generator=ResNetGenerator())
    training = TrainingInfo(step=None, seed=0, load_size=286, crop_size=SIZE, objective="cyclegan")
    info = ModelInfo(directions={"AtoB": direction}, domains={"A": "horse", "B": "zebra"}, training=training)
    torch.manual_seed(0)
    network = direction.generator.build(3, 3)
    initialise(network)
    write_model(folder, info, {"AtoB": network})


def rates(given: argparse.Namespace, files: list[Path]) -> None:
    """Print images a second of each way, in turns, and how far bf16 is from fp32 on every image."""
    inputs = torch.stack([to_tensor(read_image(file), 3) for file in files])
    with tempfile.TemporaryDirectory() as folder:
        jobs = plan_outputs(files, Path(folder)).jobs
        ways = {name: Translator.load(given.model, device="cpu", precision=name) for name in ("fp32", "auto")}
        print("Chosen:", choose_precision(ways["auto"], jobs))
        cases = {f"ours {name}, files": lambda way=way: translate_files(way, jobs) for name, way in ways.items()}
        if given.official:
            official = OfficialCode(given.official).translation(SIZE, CPU).model.netG_A

            def one_by_one() -> None:
                with torch.no_grad():
                    for image in inputs:
                        official(image[None])

            cases["official fp32, tensors"] = one_by_one
        timings = in_turns(cases, given.rounds)
    base = timings.get("official fp32, tensors", timings["ours fp32, files"])
    print("| | images/s | times as fast |\n|---|---|---|")
    for name, timing in timings.items():
        against = ratio(base, timing)
        low, high = against.spread
        print(f"| {name} | {len(files) / timing.median:.2f} | {against.median:.2f} [{low:.2f}, {high:.2f}] |")
    found = []
    near = Translator.load(given.model, device="cpu", precision="bf16")
    for image in inputs:
        found.append(agreement(ways["fp32"](image), near(image)))
    print(f"bf16 against fp32: {min(found):.1f} to {max(found):.1f} dB, mean {sum(found) / len(found):.1f}.")


def shell(given: argparse.Namespace, files: list[Path]) -> None:
    """Print the seconds of whole commands: one image, a folder, and `import torch` alone."""
    command = [sys.executable, "-m", "unpaired", "translate", str(given.model)]
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()

        def translate(images: list[Path]) -> None:
            out = Path(folder) / str(next(numbers))
            subprocess.run([*command, *map(str, images), "--out", str(out)], check=True, capture_output=True)

        def alone() -> None:
            subprocess.run([sys.executable, "-c", "import torch"], check=True)

        timings = in_turns({"one image": lambda: translate(files[:1]), "import torch": alone}, 5)
        for name, timing in timings.items():
            seconds = ", ".join(f"{value:.2f}" for value in timing.seconds)
            print(f"{name}: median {timing.median:.2f} s of {seconds}")
        if given.folder:
            images = sorted(given.images.iterdir())
            before = time.perf_counter()
            translate(images)
            print(f"a folder of {len(images)}: {time.perf_counter() - before:.1f} s, start included")


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--random", action="store_true", help="write MODEL first, with random weights")
    parser.add_argument("--folder", action="store_true", help="time a whole folder from the shell too")
    parser.add_argument("--part", choices=("rates", "shell"), default="rates")
    given = parser.parse_args()
    if given.random:
        write_random(given.model)
    print(machine(CPU))
    files = sorted(given.images.iterdir())[: given.count]
    (rates if given.part == "rates" else shell)(given, files)


if __name__ == "__main__":
    main()
