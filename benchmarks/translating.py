"""How fast files become files beside the official code, and how long one image takes from the shell.

python benchmarks/translating.py rates WORK --official CHECKOUT [--model MODEL] [--count 6] [--rounds 6]
python benchmarks/translating.py shell WORK [--model MODEL] [--rounds 7] [--count 40]
python benchmarks/translating.py agreement WORK [--model MODEL] [--count 20]

WORK receives drawn scenes of 256 x 256 as PNG and a model of the published architecture with random weights as they
are published; `--model` takes another. rates: everything in turns in one process. The official generator and the
official functions that make and write a picture are those of CHECKOUT, in fp32, one image at a time; torchvision's part
in reading (to RGB, to [-1, 1]) is done here, and neither the real picture nor a page is written, as its test script
would. shell: processes from start to end. agreement: how near bf16 comes to fp32 on each image.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import torch

from unpaired.bench.suite import machine
from unpaired.bench.timing import in_turns, ratio
from unpaired.images import read_image, to_tensor
from unpaired.networks import ResNetGenerator
from unpaired.networks.layers import initialise
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, Translator, plan_outputs, write_model
from unpaired.translate.precision import agreement
from unpaired.translate.translating import choose_precision, translate_files

SIZE = 256
CPU = torch.device("cpu")


def write_random(folder: Path) -> Path:
    """Write a model of the published architecture with the published initial weights."""
    direction = DirectionInfo(generator=ResNetGenerator())
    training = TrainingInfo(step=None, seed=0, load_size=286, crop_size=SIZE, objective="cyclegan")
    info = ModelInfo(directions={"AtoB": direction}, domains={"A": "summer", "B": "winter"}, training=training)
    torch.manual_seed(0)
    network = direction.generator.build(3, 3)
    initialise(network)
    write_model(folder, info, {"AtoB": network})
    return folder


def drawn(folder: Path, count: int) -> list[Path]:
    """Draw scenes that are not there yet and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:03d}.png" for number in range(count)]
    for file, seed in zip(files, scene_seeds("testA", count, seed=0), strict=True):
        if not file.exists():
            PIL.Image.fromarray(draw_scene(seed, "summer", SIZE)).save(file)
    return files


def official_file(checkout: Path, name: str) -> ModuleType:
    """Import one file of the official code, without what stands around it."""
    path = checkout / name
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def official_way(checkout: Path, files: list[Path], out: Path) -> Callable[[], None]:
    """Return what translates files as the official test script does."""
    network = official_file(checkout, "models/networks.py").define_G(3, 3, 64, "resnet_9blocks", "instance", False)
    util = official_file(checkout, "util/util.py")
    out.mkdir(parents=True, exist_ok=True)

    def translate() -> None:
        for file in files:
            pixels = np.asarray(PIL.Image.open(file).convert("RGB"))
            tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(255).sub(0.5).div(0.5)[None]
            with torch.no_grad():
                made = network(tensor)
            util.save_image(util.tensor2im(made), str(out / file.name))

    return translate


def rates(given: argparse.Namespace, model: Path) -> None:
    """Print images a second of each way, in turns, and times as fast as the official one, round by round."""
    files = drawn(given.work / "images", given.count)
    jobs = plan_outputs(files, given.work / "out", overwrite=True).jobs
    ways = {name: Translator.load(model, device="cpu", precision=name) for name in ("fp32", "auto")}
    chosen = choose_precision(ways["auto"], jobs)
    cases: dict[str, Callable[[], object]] = {
        "official, fp32": official_way(given.official, files, given.work / "official"),
        "unpaired, fp32": lambda: translate_files(ways["fp32"], jobs),
        f"unpaired, auto: {chosen}": lambda: translate_files(ways["auto"], jobs),
    }
    timings = in_turns(cases, given.rounds)
    base = timings["official, fp32"]
    print("| | images/s | times as fast: median, quartiles, each round |\n|---|---|---|")
    for name, timing in timings.items():
        against = ratio(base, timing)
        low, high = against.spread
        each = " ".join(f"{value:.2f}" for value in against.seconds)
        print(f"| {name} | {len(files) / timing.median:.2f} | {against.median:.2f} [{low:.2f}, {high:.2f}], {each} |")


def shell(given: argparse.Namespace, model: Path) -> None:
    """Print the seconds of whole processes: one image, Python with torch alone, and a folder."""
    files, numbers = drawn(given.work / "images", given.count), itertools.count()

    def translate(images: list[Path]) -> float:
        out = given.work / "shell" / f"{time.time_ns()}-{next(numbers)}"
        before = time.perf_counter()
        command = [sys.executable, "-m", "unpaired", "translate", str(model), *map(str, images), "--out", str(out)]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - before
        print(told.stdout.strip().splitlines()[-1])
        return seconds

    def alone() -> None:
        subprocess.run([sys.executable, "-c", "import torch"], check=True)

    timings = in_turns({"one image": lambda: translate(files[:1]), "import torch": alone}, given.rounds)
    for name, timing in timings.items():
        seconds = ", ".join(f"{value:.2f}" for value in timing.seconds)
        print(f"{name}: median {timing.median:.2f} s of {seconds}")
    if given.count > 1:
        print(f"a folder of {given.count}: {translate(files):.1f} s")


def agreements(given: argparse.Namespace, model: Path) -> None:
    """Print how near bf16 comes to fp32 on every image."""
    exact, near = (Translator.load(model, device="cpu", precision=name) for name in ("fp32", "bf16"))
    found = []
    for file in drawn(given.work / "images", given.count):
        image = to_tensor(read_image(file), 3)
        found.append(agreement(exact(image), near(image)))
    print(f"bf16 to fp32: {min(found):.1f} to {max(found):.1f} dB, median {statistics.median(found):.1f}.")
    print(f"The first image: {found[0]:.1f} dB.")


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("rates", "shell", "agreement"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    print(machine(CPU))
    model = given.model or write_random(given.work / "model")
    {"rates": rates, "shell": shell, "agreement": agreements}[given.part](given, model)


if __name__ == "__main__":
    main()
