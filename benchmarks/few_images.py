"""Few training images: augmentation, adaptive or not, and a start from weights, at 64 x 64 with thin networks.

    python benchmarks/few_images.py run OUT --source RUN --data DATA [--counts 10 30 100] [--seeds 0] [--steps 400]
    python benchmarks/few_images.py table OUT
    python benchmarks/few_images.py draw OUT --svg FILE

The first COUNT images of trainA and of trainB in DATA are trained on, and all of its test images score, as in
start_from.py, which trains the source. `plain` is the demo's recipe with thin networks, `augmented` changes all images
of the discriminators by translation and cutout, `adaptive` adapts the probability (target 0.6), `weights` starts from
all networks of the source, `both` does that with adaptive augmentation. OUT/few.jsonl has the scores. draw writes the
curves, means over seeds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path

from start_from import Scores, config_of, records

from unpaired.config import override
from unpaired.recipes import Config
from unpaired.runs import train

COLOURS = {
    "plain": "#777777",
    "augmented": "#d97706",
    "adaptive": "#2563eb",
    "weights": "#059669",
    "both": "#9333ea",
}
"""The ways, with the colours of their curves."""

PANEL, GAP, HEIGHT = 230, 30, 240


def configured(way: str, source: Path, data: Path, seed: int, steps: int) -> Config:
    """Return the settings of a way to train."""
    config = config_of("run" if way in ("weights", "both") else "new", source, data, seed, steps)
    settings: dict[str, object] = {}
    if way in ("augmented", "adaptive", "both"):
        settings["objective.augmentation"] = ("translation", "cutout")
    if way in ("adaptive", "both"):
        settings["objective.augmentation_target"] = 0.6
    return override(config, settings)


def first_images(data: Path, count: int, out: Path) -> Path:
    """Return a folder with the first images of each training folder."""
    folder = out / f"images-{count}"
    for name in ("trainA", "trainB"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((data / name).iterdir())[:count]:
            shutil.copy(path, folder / name)
    return folder


def run(out: Path, source: Path, data: Path, counts: list[int], seeds: list[int], steps: int) -> None:
    """Train every way with every number of images, one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "few.jsonl"
    for seed in seeds:
        for count in counts:
            folder = first_images(data, count, out)
            for way in COLOURS:
                facts = {"way": way, "count": count, "seed": seed}
                if any({**facts, "step": steps}.items() <= each.items() for each in records(file)):
                    continue
                scores = Scores(file, data, facts, 40)
                config = configured(way, source, folder, seed, steps)
                train(config, out=out / f"few-{way}-{count}-{seed}", callbacks=[scores], quiet=True)


def curves(file: Path) -> dict[tuple[int, str], dict[int, float]]:
    """Return the mean PSNR of both directions and all seeds, by count and way and by step."""
    found: dict[tuple[int, str], dict[int, list[float]]] = {}
    for each in records(file):
        steps = found.setdefault((each["count"], each["way"]), {})
        steps.setdefault(each["step"], []).append((each["AtoB"] + each["BtoA"]) / 2)
    return {key: {step: statistics.mean(values) for step, values in steps.items()} for key, steps in found.items()}


def table(file: Path) -> None:
    """Print the last and the best score of each way."""
    for (count, way), curve in curves(file).items():
        print(f"{count:4} {way:10} last {curve[max(curve)]:.2f} best {max(curve.values()):.2f}")


def draw(file: Path, svg: Path) -> None:
    """Write the curves as an SVG, a panel for each number of images, all on one scale."""
    found = curves(file)
    counts = sorted({count for count, _ in found})
    values = [value for curve in found.values() for step, value in curve.items() if step > 0]
    low, high = min(values), max(values)
    last = max(step for curve in found.values() for step in curve)
    width = GAP + len(counts) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 80}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{HEIGHT + 80}" fill="white"/>',
    ]
    for panel, count in enumerate(counts):
        left = GAP + panel * (PANEL + GAP)
        parts.append(f'<text x="{left}" y="18" font-weight="bold">{count} images a domain</text>')
        parts.append(f'<rect x="{left}" y="26" width="{PANEL}" height="{HEIGHT}" fill="none" stroke="#ccc"/>')
        for way, colour in COLOURS.items():
            curve = {step: value for step, value in found.get((count, way), {}).items() if step > 0}
            points = " ".join(
                f"{left + PANEL * step / last:.1f},{26 + HEIGHT * (1 - (value - low) / (high - low)):.1f}"
                for step, value in sorted(curve.items())
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for place, way in enumerate(COLOURS):
        left = GAP + place * 110
        parts.append(f'<text x="{left}" y="{HEIGHT + 50}" fill="{COLOURS[way]}">{way}</text>')
    axis = f"PSNR from {low:.1f} dB (bottom) to {high:.1f} dB (top) over {last} steps, on test images"
    parts.append(f'<text x="{GAP}" y="{HEIGHT + 70}" fill="#444">{axis}</text></svg>')
    svg.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "table", "draw"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", type=Path, default=Path())
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--svg", type=Path, default=Path("few.svg"))
    given = parser.parse_args()
    if given.verb == "run":
        run(given.out, given.source, given.data, given.counts, given.seeds, given.steps)
    elif given.verb == "table":
        table(given.out / "few.jsonl")
    else:
        draw(given.out / "few.jsonl", given.svg)
