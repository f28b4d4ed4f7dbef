"""The report of a run: one self-contained page with samples, curves, data, configuration and machine.

It needs no network, no other file and no script; the layout is report.html, the figures are drawn here.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unpaired.artifacts.samples import data_uri
from unpaired.pages.html_pages import escaped_lines, html_page, status_terms, terms, write_page
from unpaired.selection.rule import RULE
from unpaired.selection.validation import StepEvaluation

Floats = npt.NDArray[np.float64]
Record = Mapping[str, object]

MAX_GRIDS = 9
"""Largest number of sample grids of a page: eight spread over the run, and the newest."""

_NEWEST_BYTES, _EARLIER_BYTES = 900_000, 220_000  # together below 4 MB in base64
_TITLES = {
    "adversarial": "Adversarial, generators",
    "cycle": "Cycle consistency",
    "identity": "Identity mapping",
    "discriminator": "Adversarial, discriminators",
}
_CHECKED = {
    "correlation": "Colours kept, correlation of input and translation",
    "spread": "Spread of translations, 1 as real images",
    "flat": "Activations on a constant image, 1 as on real ones",
    "gradient": "Gradient, root mean square",
}
_HELD_OUT = {
    "kernel_distance": "Kernel distance to real images, 0 is best",
    "l1": "L1 to the truth, 0 is best",
    "cycle_error": "Cycle error, 0 is best",
    "self_similarity_correlation": "Layout kept, 1 is best",
    "gradient_correlation": "Edges kept, 1 is best",
}
_HASH = re.compile("[0-9a-f]{40,}")
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
    warnings: Sequence[str] = (),
    live: bool = False,
    checks: Sequence[StepEvaluation] = (),
    held_out: Sequence[StepEvaluation] = (),
    best_step: int | None = None,
    publishes_best: bool = True,
) -> None:
    """Write the page, whole or not at all, over the one before it.

    status: the facts under the title, by label.
    log: the lines of log.jsonl, oldest first; empty before the first one.
    samples: the sample grids, oldest first, named step-00000500.png; the page shows at most `MAX_GRIDS` of them, the
    larger ones as JPEG.
    data, machine: facts by name; a value that is a mapping becomes a group of its own.
    notes: sentences that a reader must not miss. warnings: those about failures.
    live: whether the run goes on, so that the page reloads itself.
    checks: those of the guardian.
    held_out: the validations. best_step: the best of them. publishes_best: whether model/ holds that step.

    NaN or infinite losses leave a gap in their curve, which is stated; a grid that cannot be read is named in a
    warning. Raises OutputError if the file cannot be written there, StorageError if the disk is full or failing.
    """
    grids, unread = _sample_figures(samples)
    text = html_page(
        "unpaired.artifacts",
        "report.html",
        title,
        status=status_terms(status, _text),
        warnings=_items([*warnings, *unread]),
        notes=_items(notes),
        live=str(round(1000 * time.time())) if live else "",
        newest=grids[0] if grids else '<p class="dim">No sample grid yet.</p>',
        earlier="".join(grids[1:]),
        held_out="".join(_held_out(held_out, best_step)),
        best=_text(_best_sentence(held_out, best_step, publishes_best)),
        curves="".join([*_panels(log), *_checked(checks)]) or '<p class="dim">Nothing logged yet.</p>',
        smoothing=f"{100 * _SMOOTHING / _NUM_BUCKETS:.0f}",
        data=_facts(data),
        config=_text(config_yaml),
        machine=_facts(machine),
        num_logged=_text(len(log)),
        written=_text(log[-1].get("time", "")) if log else "",
    )
    write_page(path, text)


# ---- facts and samples ----


def _items(sentences: Sequence[str]) -> str:
    return "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)


def _text(value: object) -> str:
    """Return a fact as escaped text: thousands separated, lists with commas, hashes in a monospaced font."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    text = escaped_lines(value)
    return f"<code>{text}</code>" if _HASH.fullmatch(text) else text


def _facts(facts: Mapping[str, object]) -> str:
    """Return facts as definition lists: one for all single values, one for each mapping."""
    single = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    groups = [f'<div class="wide"><dl>{terms(single, _text)}</dl></div>'] if single else []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            groups.append(f"<div><h3>{_text(key)}</h3><dl>{terms(value, _text)}</dl></div>")
    return "".join(groups) or '<p class="dim">Nothing is recorded.</p>'


def _sample_figures(paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return figures of at most `MAX_GRIDS` grids, the newest first, and a sentence for each that cannot be read."""
    last = len(paths) - 1
    spread = {round(last * index / (MAX_GRIDS - 1)) for index in range(MAX_GRIDS)} if paths else set()
    figures, unread = list[str](), list[str]()
    for index in sorted(spread, reverse=True):
        try:
            figures.append(_sample_figure(paths[index], _EARLIER_BYTES if figures else _NEWEST_BYTES))
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a broken file
            unread.append(f"{paths[index].name} is left out, as it cannot be read: {error}.")
    return figures, unread


def _sample_figure(path: Path, max_bytes: int) -> str:
    uri, width, height = data_uri(path, max_bytes)
    step = path.stem.rpartition("-")[2]
    name = _text(f"Step {int(step):,}" if step.isdecimal() else path.stem)
    return (
        f'<figure class="shot" data-name="{name}" style="--width:{width}px"><div class="sheet"><img src="{uri}" '
        f'width="{width}" height="{height}" alt="{name}: a column for each kind of image, a row for each image">'
        f"</div><figcaption>{name}</figcaption></figure>"
    )


# ---- curves ----


@dataclass(frozen=True)
class _Curve:
    """One series in at most `_NUM_BUCKETS` points, each for the records of one interval of steps.

    steps: the mean step of each interval. low, high, smooth: extremes and smoothed mean of its finite values, NaN
    without any. bad: whether the interval has non-finite values. num_bad: their number in the whole series. first_bad:
    step of the first.
    """

    name: str
    steps: Floats
    low: Floats
    high: Floats
    smooth: Floats
    bad: npt.NDArray[np.bool_]
    num_bad: int
    first_bad: float


def _panels(log: Sequence[Record]) -> list[str]:
    """Return a figure for each family of losses, for the learning rate and for the speed."""
    terms = [losses if isinstance(losses := record.get("losses"), Mapping) else {} for record in log]
    steps = _numbers([record["step"] for record in log])
    last = float(steps.max(initial=0)) or 1.0
    families: dict[str, list[_Curve]] = {title: [] for title in _TITLES.values()}
    for name in sorted({name for row in terms for name in row}):
        families.setdefault(_family(name), []).append(_curve(name, terms, steps, last))
    for name, title in _RATES.items():
        families[title] = [_curve(name, log, steps, last)] if any(name in record for record in log) else []
    return [_panel(title, curves, last) for title, curves in families.items() if curves]


def _checked(checks: Sequence[StepEvaluation]) -> list[str]:
    """Return a figure for each kind of measurement of the guardian that is not in the log."""
    return _evaluation_panels(checks, _CHECKED, _SMOOTHING)


def _held_out(evaluations: Sequence[StepEvaluation], best_step: int | None) -> list[str]:
    """Return a figure for each validation metric, with the best step marked; few points, so not smoothed."""
    return _evaluation_panels(evaluations, _HELD_OUT, 0.01, best_step)


def _best_sentence(evaluations: Sequence[StepEvaluation], best_step: int | None, publishes_best: bool) -> str:
    if best_step is None:
        return ""
    model = "which model/ holds" if publishes_best else "while model/ is of the last step (--run.publish)"
    return f"The best of {len(evaluations)} validations is step {best_step:,} (dashed line), {model}. It is {RULE}."


def _evaluation_panels(
    evaluations: Sequence[StepEvaluation], titles: Mapping[str, str], width: float, mark: int | None = None
) -> list[str]:
    rows = [evaluation.figures for evaluation in evaluations]
    steps, last = (
        _numbers([evaluation.step for evaluation in evaluations]),
        float(max((evaluation.step for evaluation in evaluations), default=1)),
    )
    names = sorted({name for row in rows for name in row})
    families = {title: [n for n in names if n.startswith(f"{family}_")] for family, title in titles.items()}
    return [
        _panel(title, [_curve(name, rows, steps, last, width) for name in those], last, mark)
        for title, those in families.items()
        if those
    ]


def _curve(name: str, rows: Sequence[Record], all_steps: Floats, last: float, width: float = _SMOOTHING) -> _Curve:
    """Return the values under `name`, smoothed by a Gaussian; the rows' steps go from 0 to `last`.

    width: the standard deviation, in buckets.
    """
    steps = all_steps[[name in row for row in rows]]
    values = _numbers([row[name] for row in rows if name in row])
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
    width = 0.01 if name == "learning_rate" else width  # the schedule has corners and no noise
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / width) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):  # the mean of an empty bucket is NaN
        smooth = np.convolve(sums, kernel, "same") / np.convolve(count, kernel, "same")
        where /= total
    low[count == 0] = high[count == 0] = smooth[count == 0] = np.nan
    num_bad, first_bad, used = int((~finite).sum()), float(steps[~finite].min(initial=np.inf)), total > 0
    return _Curve(name, where[used], low[used], high[used], smooth[used], (total > count)[used], num_bad, first_bad)


def _panel(title: str, curves: Sequence[_Curve], last: float, mark: int | None = None) -> str:
    """Return a figure of curves over the steps 0 to `last`, with axes, a legend and notes on values it leaves out.

    mark: a step to draw a line at.
    """
    smooth = np.nan_to_num(np.concatenate([curve.smooth for curve in curves]))
    seen = np.concatenate([smooth, *(array for curve in curves for array in (curve.low, curve.high))])
    bottom, top = np.nanpercentile(seen, (1, 99))
    # The axis holds every smoothed value and nearly all others: one early peak must not flatten the rest.
    ticks = _ticks(min(0.0, bottom, smooth.min()), max(top, smooth.max()))
    axes = _Axes(last, ticks[0], ticks[-1])
    colours = [{"a": 0, "b": 1}.get(curve.name.rpartition("_")[2], i % 4) for i, curve in enumerate(curves)]
    drawn, legend, notes = [axes.frame(ticks)], [], []
    if mark is not None:
        drawn.append(axes.mark(mark))
    for colour, curve in zip(colours, curves, strict=True):
        numbers = curve.smooth[np.isfinite(curve.smooth)]
        latest = _figure(numbers[-1]) if numbers.size else "none"
        legend.append(f'<li><i class="s{colour}"></i>{_text(curve.name)} <b>{latest}</b></li>')
        drawn.append(f'<g class="s{colour}">{axes.lines(curve)}</g>')
        if curve.num_bad:
            places = f"at {curve.num_bad:,} of the logged steps, first at step {curve.first_bad:,.0f}."
            notes.append(f'<p class="warn">{_text(curve.name)} is NaN or infinite {places}</p>')
    if (peak := np.nanmax(seen)) > axes.high + 1e-6 * abs(axes.high):
        notes.insert(0, f"<p>Cut off above {_figure(axes.high)}; the highest value is {_figure(peak)}.</p>")
    summary = _text(f"{title} over {_figure(last)} steps: {', '.join(curve.name for curve in curves)}")
    return (
        f'<figure><h3>{_text(title)}</h3><ul class="legend">{"".join(legend)}</ul><svg viewBox="0 0 {_WIDTH} '
        f'{_HEIGHT}" role="img" aria-label="{summary}">{"".join(drawn)}</svg><div>{"".join(notes)}</div></figure>'
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
            anchor = "end" if x > _WIDTH - 2 * _RIGHT else "middle"
            parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{_figure(tick)}</text>')
        return "".join(parts)

    def mark(self, step: int) -> str:
        """Return a dashed line at a step."""
        return f'<path class="mark" d="M{float(self.x(np.array(step))):.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'

    def lines(self, curve: _Curve) -> str:
        """Return the spread of the values, their smoothed curve, and marks at the top for non-finite values."""
        x = self.x(curve.steps)
        spread = _path(np.repeat(x, 2), self.y(np.stack([curve.low, curve.high], axis=1).ravel()))
        gaps = "".join(f"M{step:.1f} {_TOP}v7" for step in x[curve.bad])
        mean = _path(x, self.y(curve.smooth))
        return f'<path class="raw" d="{spread}"/><path class="smooth" d="{mean}"/><path class="gap" d="{gaps}"/>'


def _path(x: Floats, y: Floats) -> str:
    """Return SVG path data through the points, interrupted at NaN; a point between two gaps becomes a dot."""
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


def _numbers(values: list[object]) -> Floats:
    """Return the values of a log, with NaN for missing or non-numeric ones."""
    try:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError):
        return np.array([value if isinstance(value, (int, float)) else math.nan for value in values])


def _figure(value: float) -> str:
    """Return a number in three or four digits: 0.312, 8,000, 12.5 k, 1.5 M, 2e-4."""
    if abs(value) >= 10_000:
        return f"{value / 1e6:.4g} M" if abs(value) >= 1e6 else f"{value / 1e3:.4g} k"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}"
