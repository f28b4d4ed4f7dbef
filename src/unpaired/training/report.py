"""The report of a run: one self-contained page with samples, curves, data, configuration and machine.

It needs no network, no other file and no script to be read; the layout is report.html, the figures are made here.
"""

from __future__ import annotations

import html
import importlib.resources
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unpaired.storage import write_bytes
from unpaired.training.samples import data_uri

Floats = npt.NDArray[np.float64]
Record = Mapping[str, object]

MAX_GRIDS = 9
"""How many sample grids a page holds: eight over the run's time, and the newest."""

_NEWEST_BYTES, _EARLIER_BYTES = 900_000, 220_000  # together below 4 MB in base64
_TITLES = {
    "adversarial": "Adversarial, generators",
    "cycle": "Cycle consistency",
    "identity": "Identity mapping",
    "discriminator": "Adversarial, discriminators",
}
_RATES = {"learning_rate": "Learning rate", "images_per_second": "Images per second"}
# A panel, in units of its view box.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 380, 210, 46, 10, 8, 24
_NUM_BUCKETS = 240
_SMOOTHING = 5.0  # standard deviation, in buckets


def write_report(
    path: Path,
    *,
    title: str,
    status: Mapping[str, str],
    log: Sequence[Record],
    samples: Sequence[Path],
    config_yaml: str,
    data: Mapping[str, object],
    machine: Mapping[str, object],
    notes: Sequence[str] = (),
) -> None:
    """Write the page, whole or not at all, over the one before it.

    status: what stands under the title, by its label. log: the lines of log.jsonl, oldest first; empty before the
    first one. samples: the sample grids there are, oldest first, named step-00000500.png; the page holds at most
    `MAX_GRIDS` of them, the larger ones as JPEG. data, machine: facts by name; a value that is a mapping becomes a
    group of its own. notes: sentences that a reader must not miss.

    Losses that are no number leave a gap in their curve, which is stated; a grid that cannot be read is named in
    the notes. Raises OutputError where the place refuses the file, StorageError where the disk is full or failing.
    """
    grids, unread = _sample_section(samples)
    template = importlib.resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = string.Template(template).substitute(
        title=_text(title),
        status=_status(status),
        notes=_note_list([*notes, *unread]),
        samples=grids,
        curves=_curve_section(log),
        data=_facts(data),
        config=_text(config_yaml),
        machine=_facts(machine),
        footer=_footer(log),
    )
    write_bytes(path, page.encode("utf-8", errors="replace"))


# ---- text ----


def _text(value: object) -> str:
    """Return a fact as escaped text: thousands set apart, lists with commas."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return html.escape(str(value), quote=True)


def _note_list(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<aside class="notes" aria-label="Notes"><ul>{items}</ul></aside>' if notes else ""


def _status(facts: Mapping[str, str]) -> str:
    items = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in facts.items())
    return f'<dl class="status">{items}</dl>' if facts else ""


def _facts(facts: Mapping[str, object]) -> str:
    """Return facts as definition lists: what is single in one, what is a mapping in one each."""
    single = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    groups = [f"<div class=wide>{_definitions(single)}</div>"] if single else []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            groups.append(f"<div><h3>{_text(key)}</h3>{_definitions(value)}</div>")
    return f'<div class="facts">{"".join(groups)}</div>' if groups else '<p class="dim">Nothing is recorded.</p>'


def _definitions(facts: Mapping[str, object]) -> str:
    return f"<dl>{''.join(f'<dt>{_text(key)}</dt><dd>{_text(value)}</dd>' for key, value in facts.items())}</dl>"


def _footer(log: Sequence[Record]) -> str:
    if not log:
        return "Nothing was logged yet."
    when = f" at {_text(log[-1]['time'])}" if "time" in log[-1] else ""
    return f"{len(log):,} logged steps, the last one {_text(log[-1].get('step', 'unnumbered'))}{when}."


# ---- samples ----


def _sample_section(paths: Sequence[Path]) -> tuple[str, list[str]]:
    """Return the newest grid, the earlier ones folded away, and a sentence for each that cannot be read."""
    figures: list[str] = []
    unread: list[str] = []
    for index in reversed(_spread(len(paths), MAX_GRIDS)):
        budget = _EARLIER_BYTES if figures else _NEWEST_BYTES
        try:
            figures.append(_sample_figure(paths[index], budget))
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a broken file
            unread.append(f"{paths[index].name} is left out, as it cannot be read: {error}.")
    if not figures:
        return '<p class="dim">No sample grid yet.</p>', unread
    newest, earlier = figures[0], "".join(figures[1:])
    if not earlier:
        return newest, unread
    return (
        f'<div id="stage">{newest}</div><div class="time" hidden>'
        f'<input type="range" min="0" max="0" step="1" aria-label="Sample grid over time"><output></output></div>'
        f'<details id="earlier"><summary>{len(figures) - 1} earlier</summary>{earlier}</details>',
        unread,
    )


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices below `count`, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]


def _sample_figure(path: Path, budget: int) -> str:
    uri, width, height = data_uri(path, budget)
    step = path.stem.rpartition("-")[2]
    name = f"Step {int(step):,}" if step.isdecimal() else path.stem
    return (
        f'<figure class="shot" data-name="{_text(name)}" style="--width:{width}px"><div class="sheet">'
        f'<img width="{width}" height="{height}" alt="Sample grid, {_text(name.lower())}: a column for each kind of '
        f'image, a row for each image" src="{uri}">'
        f"</div><figcaption>{_text(name)}</figcaption></figure>"
    )


# ---- curves ----


@dataclass(frozen=True)
class _Curve:
    """One series in at most `_NUM_BUCKETS` points, each for the records that share a stretch of steps.

    steps: their mean step. low, high, smooth: of their values, NaN where none is a number. bad: whether any is not;
    num_bad counts those of the whole series, first_bad is the step of the first.
    """

    name: str
    steps: Floats
    low: Floats
    high: Floats
    smooth: Floats
    bad: npt.NDArray[np.bool_]
    num_bad: int
    first_bad: float


def _curve(name: str, steps: Floats, values: Floats, last: float, smoothing: float) -> _Curve:
    """Thin `values` at `steps` (0 to `last`), smoothed by a Gaussian of `smoothing` buckets."""
    bucket = np.clip(steps / last * _NUM_BUCKETS, 0, _NUM_BUCKETS - 1).astype(np.intp)
    finite = np.abs(values) < 1e30  # false for NaN, and for what would overflow a sum
    good, numbers = bucket[finite], values[finite]
    low, high = np.full(_NUM_BUCKETS, np.inf), np.full(_NUM_BUCKETS, -np.inf)
    np.minimum.at(low, good, numbers)
    np.maximum.at(high, good, numbers)
    total, count, sums, where = (
        np.bincount(at, weights=weights, minlength=_NUM_BUCKETS).astype(float)
        for at, weights in ((bucket, None), (good, None), (good, numbers), (bucket, steps))
    )
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / smoothing) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):  # a bucket without numbers has no mean: NaN says so
        smooth = np.convolve(sums, kernel, "same") / np.convolve(count, kernel, "same")
        where /= total
    low[count == 0] = high[count == 0] = smooth[count == 0] = np.nan
    used, num_bad = total > 0, int((~finite).sum())
    points = [array[used] for array in (where, low, high, smooth)]
    return _Curve(name, *points, (total > count)[used], num_bad, float(steps[~finite].min(initial=np.inf)))


def _curve_section(log: Sequence[Record]) -> str:
    """Return one SVG panel a family of losses, one for the learning rate, one for the speed."""
    series: dict[str, dict[str, tuple[list[float], list[float]]]] = {title: {} for title in _TITLES.values()}
    for record in log:
        step, losses = _number(record.get("step")), record.get("losses")
        terms = losses.items() if isinstance(losses, Mapping) else ()
        rates = [(title, name, record[name]) for name, title in _RATES.items() if name in record]
        for title, name, value in [*((_family(name), name, value) for name, value in terms), *rates]:
            steps, values = series.setdefault(title, {}).setdefault(name, ([], []))
            steps.append(step)
            values.append(_number(value))
    last = max((_number(record.get("step")) for record in log), default=0.0) or 1.0
    panels = []
    for title in sorted(filter(series.get, series), key=list(_RATES.values()).__contains__):
        smoothing = 0.01 if title == _RATES["learning_rate"] else _SMOOTHING
        curves = [_curve(n, np.array(s), np.array(v), last, smoothing) for n, (s, v) in series[title].items()]
        panels.append(_panel(title, sorted(curves, key=lambda curve: curve.name), last))
    if not panels:
        return '<p class="dim">Nothing logged yet.</p>'
    return (
        f'<div class="plots">{"".join(panels)}</div><p class="dim">Faint: what was logged, lowest and highest where '
        "several steps share a pixel. Strong: its mean under a Gaussian with a standard deviation of "
        f"{_figure(last * _SMOOTHING / _NUM_BUCKETS)} steps. Losses carry their weights, as in log.jsonl.</p>"
    )


def _panel(title: str, curves: Sequence[_Curve], last: float) -> str:
    """Return a figure of curves over the steps 0 to `last`, with axes, a legend and what it leaves out."""
    smooth = np.nan_to_num(np.concatenate([curve.smooth for curve in curves]))
    seen = np.concatenate([smooth, *(array for curve in curves for array in (curve.low, curve.high))])
    bottom, top = np.nanpercentile(seen, (1, 99))
    # The axis holds every smoothed value and nearly all others: one early peak must not flatten the rest.
    ticks = _ticks(min(0.0, bottom, smooth.min()), max(top, smooth.max()))
    axes = _Axes(last, ticks[0], ticks[-1])
    colours = [{"a": 0, "b": 1}.get(curve.name.rpartition("_")[2], i % 4) for i, curve in enumerate(curves)]
    drawn, legend, notes = [axes.frame(ticks)], [], []
    for colour, curve in zip(colours, curves, strict=True):
        numbers = curve.smooth[np.isfinite(curve.smooth)]
        latest = _figure(numbers[-1]) if numbers.size else "none"
        legend.append(f'<li><i class="s{colour}"></i>{_text(curve.name)} <b>{latest}</b></li>')
        drawn.append(f'<g class="s{colour}">{axes.lines(curve)}</g>')
        if curve.num_bad:
            first = f"{curve.first_bad:,.0f}"
            notes.append(f"{curve.name} is no number at {curve.num_bad:,} logged steps, first at step {first}.")
    peak = np.nanmax(seen)
    above = f"<p>Cut off above {_figure(axes.high)}; the highest value is {_figure(peak)}.</p>"
    summary = _text(f"{title} over {_figure(last)} steps: {', '.join(curve.name for curve in curves)}")
    return (
        f'<figure><h3>{_text(title)}</h3><ul class="legend">{"".join(legend)}</ul>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{summary}">{"".join(drawn)}</svg>'
        f"{above if peak > axes.high else ''}{''.join(f'<p class=warn>{_text(note)}</p>' for note in notes)}</figure>"
    )


@dataclass(frozen=True)
class _Axes:
    """A panel's scales: steps 0 to `last`, values `low` to `high`; values beyond are drawn at the edge."""

    last: float
    low: float
    high: float

    def x(self, steps: Floats) -> Floats:
        return _LEFT + steps / self.last * (_WIDTH - _LEFT - _RIGHT)

    def y(self, values: Floats) -> Floats:
        share = (np.clip(values, self.low, self.high) - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def frame(self, ticks: Sequence[float]) -> str:
        """Return the grid with the values at its left and the steps below."""
        parts = []
        for tick, y in zip(ticks, self.y(np.array(ticks)), strict=True):
            parts.append(f'<path class="{"lines" if tick else "axis"}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
            parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_figure(tick)}</text>')
        steps = [tick for tick in _ticks(0, self.last) if tick <= self.last and tick == int(tick)]
        for tick, x in zip(steps, self.x(np.array(steps)), strict=True):
            parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{_figure(tick)}</text>')
        return "".join(parts)

    def lines(self, curve: _Curve) -> str:
        """Return the spread of the values, their smoothed course, and a mark at the top where one is no number."""
        x = self.x(curve.steps)
        spread = _path(np.repeat(x, 2), self.y(np.stack([curve.low, curve.high], axis=1).ravel()))
        gaps = "".join(f"M{step:.1f} {_TOP}v7" for step in x[curve.bad])
        return f'<path class="raw" d="{spread}"/><path class="smooth" d="{_path(x, self.y(curve.smooth))}"/>' + (
            f'<path class="gap" d="{gaps}"/>' if gaps else ""
        )


def _path(x: Floats, y: Floats) -> str:
    """Return SVG path data through the points, lifted where y is NaN; a point between two gaps becomes a dot."""
    finite = np.isfinite(y)
    before = np.concatenate([[False], finite[:-1]])
    return "".join(
        f"{'L' if joined else 'M'}{px:.1f} {py:.1f}{'' if joined else 'h0'}"
        for px, py, joined in zip(x[finite], y[finite], before[finite], strict=True)
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about four apart, from at most `low` to at least `high`."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / 4.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def _family(name: str) -> str:
    """Return the title of the panel that a loss is drawn in: cycle_a and cycle_b share one."""
    family = name[:-2] if name.endswith(("_a", "_b")) else name
    return _TITLES.get(family, family.replace("_", " ").capitalize())


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _figure(value: float) -> str:
    """Return a number in four digits, with k and M for thousands and millions."""
    for unit, sign in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= 10 * unit or (abs(value) >= unit and unit == 1e6):
            return f"{value / unit:.4g}{sign}"
    return f"{value:.4g}".replace("e-0", "e-")
