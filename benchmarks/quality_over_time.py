"""Draws quality over time, one panel a figure, as SVG: `python benchmarks/quality_over_time.py PLOT.svg SCORES...`.

SCORES are files that `time_to_quality.py score` or `official_quality.py` wrote, in folders TASK-RECIPE-SEED. Of each
run the averaged weights are drawn, the trained ones where no others were scored: the line of a recipe has one colour,
and every seed is a line of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

PANELS = (
    ("scenes", "AtoB", "psnr", "scenes, summer to winter, PSNR in dB"),
    ("scenes", "BtoA", "psnr", "scenes, winter to summer, PSNR in dB"),
    ("maps", "AtoB", "class_iou", "maps, aerial to map, class IoU"),
    ("maps", "AtoB", "ssim", "maps, aerial to map, SSIM"),
)
COLOURS = {"paper": "#b03a2e", "fast": "#1f618d", "official": "#b7950b"}
WIDTH, HEIGHT, MARGIN = 420, 260, 46

Line = list[tuple[float, float]]


def lines_of(files: list[Path], task: str, direction: str, figure: str) -> Iterator[tuple[str, Line]]:
    """Yield the recipe and the points (seconds, value) of each run of a task."""
    for file in files:
        name, recipe, _ = file.parent.name.split("-")
        if name == task:
            told = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            kind = "averaged" if any(line["weights"] == "averaged" for line in told) else "trained"
            drawn = sorted((line for line in told if line["weights"] == kind), key=lambda line: line["step"])
            yield recipe, [(line["seconds"], line[direction][figure]["value"]) for line in drawn]


def panel(number: int, title: str, lines: list[tuple[str, Line]]) -> Iterator[str]:
    """Yield the SVG of one panel: axes with the ends of their ranges, and the lines."""
    left, top = (number % 2) * WIDTH, (number // 2) * HEIGHT
    points = [point for _, line in lines for point in line]
    end, low, high = max(x for x, _ in points), min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> str:
        across = left + MARGIN + x / end * (WIDTH - 2 * MARGIN)
        down = top + HEIGHT - MARGIN - (y - low) / (high - low) * (HEIGHT - 2 * MARGIN)
        return f"{across:.1f},{down:.1f}"

    yield f'<text x="{left + MARGIN}" y="{top + MARGIN - 14}" font-weight="bold">{title}</text>'
    corners = " ".join(place(x, y) for x, y in ((0, high), (0, low), (end, low)))
    yield f'<polyline points="{corners}" fill="none" stroke="#888"/>'
    for value in (low, high):
        x, y = place(0, value).split(",")
        yield f'<text x="{float(x) - 4}" y="{float(y) + 4}" text-anchor="end">{value:.3g}</text>'
    x, y = place(end, low).split(",")
    yield f'<text x="{x}" y="{float(y) + 16}" text-anchor="end">{end:.0f} s of processor time</text>'
    for recipe, line in lines:
        path = " ".join(place(*point) for point in line)
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[recipe]}" stroke-width="1.5"/>'


def main() -> None:
    """Write the plot that the arguments name."""
    out, *files = (Path(name) for name in sys.argv[1:])
    found = [(title, list(lines_of(files, task, direction, figure))) for task, direction, figure, title in PANELS]
    panels = [(title, lines) for title, lines in found if lines]
    bottom = (len(panels) + 1) // 2 * HEIGHT
    size = f'width="{2 * WIDTH}" height="{bottom + 24}"'
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    svg.append('<rect width="100%" height="100%" fill="white"/>')
    for number, (title, lines) in enumerate(panels):
        svg += panel(number, title, lines)
    named = {recipe for _, lines in panels for recipe, _ in lines}
    for number, recipe in enumerate(name for name in COLOURS if name in named):
        colour = COLOURS[recipe]
        svg.append(f'<text x="{MARGIN + 90 * number}" y="{bottom + 12}" fill="{colour}">{recipe}</text>')
    out.write_text("\n".join([*svg, "</svg>", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
