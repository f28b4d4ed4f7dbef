"""What each figure sees: real images with known faults against other real images of the same kind.

    python benchmarks/metrics.py [--count 200] [--size 64] [--seed 0]

Draws `count` summer scenes as the real images and `count` others, puts one fault at a time into the others, and prints
Markdown tables of all figures that need no download with their 95 % intervals. The row "none" is the floor: real images
against real images. Bold: the interval lies beyond the floor's on the worse side; italic: on the better side. A second
table holds the faulty images against themselves without the fault, a third what is kept of an input: of the same scene
in winter, of that with faults, and of another scene. Each ends with processor seconds, of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from unpaired.evaluation import faults
from unpaired.evaluation.describe import Description, describe
from unpaired.evaluation.distances import distances
from unpaired.evaluation.faithful import gradient_correlation, self_similarity_correlation
from unpaired.evaluation.figures import FIGURES
from unpaired.evaluation.intervals import Interval, mean_interval
from unpaired.evaluation.truth import against_truth
from unpaired.scenes.scene import draw_scene, scene_seeds

FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda images: images,
    "blur, sigma .5": lambda images: faults.blur(images, 0.5),
    "blur, sigma 1": lambda images: faults.blur(images, 1),
    "noise, 2 levels": lambda images: faults.noise(images, 2),
    "noise, 5 levels": lambda images: faults.noise(images, 5),
    "noise, 20 levels": lambda images: faults.noise(images, 20),
    "hue, 10 degrees": lambda images: faults.hue_shift(images, 10),
    "hue, 30 degrees": lambda images: faults.hue_shift(images, 30),
    "checkerboard, 3 levels": lambda images: faults.checkerboard(images, 3),
    "checkerboard, 8 levels": lambda images: faults.checkerboard(images, 8),
    "collapse to a half": lambda images: faults.collapse(images, len(images) // 2),
    "collapse to 10": lambda images: faults.collapse(images, 10),
}


def scenes(split: str, style: str, count: int, size: int, seed: int) -> Tensor:
    """Return drawn scenes n 3 h w in [-1, 1]."""
    drawn = [torch.from_numpy(draw_scene(number, style, size)) for number in scene_seeds(split, count, seed)]
    return torch.stack(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def shown(name: str, found: Interval, floor: Interval | None) -> str:
    """Return value [low, high], bold where it is clearly worse than the floor, italic where it is clearly better."""
    figure = FIGURES[name]
    text = "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(found.value, found.low, found.high, d=figure.digits)
    if floor is None:
        return text
    above, below = found.low > floor.high, found.high < floor.low
    worse, better = (above, below) if figure.better == "less" else (below, above)
    return f"**{text}**" if worse else f"*{text}*" if better else text


def table(rows: dict[str, dict[str, Interval]], more: dict[str, str] | None = None) -> None:
    """Print a row for each fault; with `more`, which is a last column, the first row is the floor of the others."""
    first = next(iter(rows.values()))
    columns = [FIGURES[name].label for name in first] + (["p"] if more else [])
    print(f"\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row, figures in rows.items():
        cells = [shown(name, found, first[name] if more else None) for name, found in figures.items()]
        cells += [more[row]] if more else []
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def without_truth(real: Tensor, made: Tensor, seed: int) -> None:
    """Print the table of distances."""
    described = describe(real.split(32), seed=seed)
    rows, p_values, seconds = {}, {}, []
    for name, fault in FAULTS.items():
        start = time.process_time()
        faulty: Description = describe(fault(made).split(32), seed=seed)
        found = distances(faulty, described, seed=seed)
        seconds.append(time.process_time() - start)
        rows[name], p_values[name] = found.figures, f"{found.two_sample_p:.3f}"
    table(rows, p_values)
    print(f"\nProcessor seconds a row, one set described and two compared: {min(seconds):.1f} to {max(seconds):.1f}.")


def with_truth(made: Tensor) -> None:
    """Print the table of figures against truth; its floor is another scene's truth."""
    rows = {"another scene": made.roll(1, 0)} | {name: fault(made) for name, fault in FAULTS.items() if name != "none"}
    start = time.process_time()
    found = {name: against_truth([(images, made)]) for name, images in rows.items() if "collapse" not in name}
    seconds = (time.process_time() - start) / len(found)
    table({name: {key: mean_interval(v) for key, v in values.items()} for name, values in found.items()})
    print(f"\nProcessor seconds a row: {seconds:.1f}.")


def faithful(summer: Tensor, winter: Tensor) -> None:
    """Print what is kept of a summer scene by outputs of decreasing faith."""
    outputs = {
        "another winter scene": winter.roll(1, 0),
        "the same scene in winter": winter,
        "its negative": -winter,
        "blurred, sigma 1": faults.blur(winter, 1),
        "noise, 20 levels": faults.noise(winter, 20),
        "moved by 4 pixels": winter.roll(4, 3),
        "mirrored": winter.flip(3),
        "the input itself": summer,
    }
    start = time.process_time()
    metrics = {
        "gradient_correlation": gradient_correlation,
        "self_similarity_correlation": self_similarity_correlation,
    }
    rows = {
        row: {name: mean_interval(metric(summer, output)) for name, metric in metrics.items()}
        for row, output in outputs.items()
    }
    seconds = (time.process_time() - start) / len(rows)
    table(rows)
    print(f"\nProcessor seconds a row: {seconds:.1f}.")


def main() -> None:
    """Draw, put faults in, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    real, made = (scenes(split, "summer", given.count, given.size, given.seed) for split in ("test", "trainA"))
    without_truth(real, made, given.seed)
    with_truth(made)
    faithful(made, scenes("trainA", "winter", given.count, given.size, given.seed))


if __name__ == "__main__":
    main()
