"""The evaluation as one self-contained HTML page: figures with intervals, and the worst, median and best images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from torch import Tensor

from unpaired.evaluation.evaluating import Comparison, DirectionResult, Evaluation, Row
from unpaired.evaluation.intervals import Interval
from unpaired.evaluation.test_set import as_tested, open_test_set
from unpaired.images import from_tensor
from unpaired.pages.html_pages import escaped, html_page, image_uri, table_row, terms
from unpaired.translate.translator import Translator

SHOWN = 4
"""The number of the worst, of the median and of the best images shown."""

RANKED_BY = ("ssim", "cycle_error", "self_similarity_correlation")
"""Figures that rank images by quality; the first available one is used."""


def ranking(result: DirectionResult) -> tuple[str, list[int]]:
    """Return the figure that ranks the images, and their indices from the worst to the best."""
    name = next(name for name in RANKED_BY if name in result.images)
    order = result.images[name].argsort(descending=result.rows[name].metric.better == "less", stable=True)
    return name, [int(index) for index in order]


def to_html(evaluation: Evaluation, model: str, data: str, *, device: str = "auto", command: str = "") -> str:
    """Return the page; the shown images are translated again."""
    translator = Translator.load(model, device=device, precision="fp32")
    sections = [_section(result, evaluation, translator, data) for result in evaluation.directions.values()]
    facts = {key: value for key, value in evaluation.facts.items() if not isinstance(value, dict)}
    names = evaluation.facts["domains"]
    title = f"{names['A']} and {names['B']}: evaluation"
    parts = {"command": escaped(command), "facts": terms(facts), "sections": "\n".join(sections)}
    return html_page("unpaired.evaluation", "page.html", title, **parts)


def _section(result: DirectionResult, evaluation: Evaluation, translator: Translator, data: str) -> str:
    names = evaluation.facts["domains"]
    a, b = result.direction[0], result.direction[-1]
    head = escaped(f"{names[a]} to {names[b]}")
    lines = "".join(map(_line, result.rows.values()))
    note = "" if result.two_sample_p is None else f"<p>Two-sample test: p = {result.two_sample_p:.3f}.</p>"
    verdict = escaped(evaluation.verdict(result.direction).sentence)
    return (
        f"<h2>{head}</h2><p>{verdict}</p>"
        f"<table><thead><tr><th>figure</th><th>translations</th><th>real images (floor)</th>"
        f"<th>untranslated</th><th>sensitive to</th></tr></thead><tbody>{lines}</tbody></table>{note}"
        f"{_baseline(evaluation.baseline.get(result.direction))}{_pictures(result, evaluation, translator, data)}"
    )


def _baseline(compared: Comparison | None) -> str:
    """Return the table of the baseline, "" if there is none."""
    if compared is None:
        return ""
    lines = "".join(table_row([label_with_arrow(row), *cells]) for row, cells in baseline_cells(compared))
    return (
        f"<h3>Style transfer, the first {len(compared.model.names)} images</h3><table><thead><tr><th>figure</th>"
        f"<th>translations</th><th>style transfer</th><th>untranslated</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def baseline_cells(compared: Comparison) -> list[tuple[Row, list[str]]]:
    """Return the rows of a comparison, with the text of each figure: translations, baseline, untranslated."""
    found = []
    for name, row in compared.baseline.rows.items():
        model = compared.model.rows.get(name)
        intervals = (None if model is None else model.made, row.made, row.untranslated)
        found.append((row, [formatted(interval, row.metric.digits) for interval in intervals]))
    return found


def _line(row: Row) -> str:
    digits = row.metric.digits
    cells = [
        label_with_arrow(row),
        *(formatted(interval, digits) for interval in (row.made, row.floor, row.untranslated)),
    ]
    cells.append(row.metric.sees)
    return table_row(cells)


def label_with_arrow(row: Row) -> str:
    """Return the label of a figure with an arrow towards better values."""
    return f"{row.metric.label} {'↓' if row.metric.better == 'less' else '↑'}"


def formatted(interval: Interval | None, digits: int) -> str:
    """Return a figure and its interval as text: 0.123 [0.100, 0.150]."""
    if interval is None:
        return "–"
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _pictures(result: DirectionResult, evaluation: Evaluation, translator: Translator, data: str) -> str:
    figure, order = ranking(result)
    middle = max(len(order) // 2 - SHOWN // 2, 0)
    groups = {"worst": order[:SHOWN], "median": order[middle : middle + SHOWN], "best": order[::-1][:SHOWN]}
    tests = open_test_set(data, truth=evaluation.facts["truth"])
    if evaluation.facts["unseen"]:
        tests = tests.unseen(translator.info.choice)
    info, size, direction = translator.info, evaluation.facts["size"], result.direction
    source, target = tests.side(direction[0]), tests.side(direction[-1])
    columns = "Input, translation, truth" if tests.truth else "Input, translation"
    parts = [f"<p>Ranked by {escaped(result.rows[figure].metric.label)}. {columns}.</p>"]
    for name, chosen in groups.items():
        rows = []
        for index in chosen:
            channels = info.directions[direction].in_channels
            real = as_tested(source[index], info, direction[0], channels, size)
            pictures = [real, translator(real, direction=direction)]
            if tests.truth:
                out = info.directions[direction].out_channels
                pictures.append(as_tested(target[index], info, direction[-1], out, size))
            value = f"{float(result.images[figure][index]):.3f}"
            caption = escaped(f"{source.name(index)} · {value}")
            rows.append(f'<figure><img alt="" src="{_png(pictures)}"><figcaption>{caption}</figcaption></figure>')
        parts.append(f"<h3>{name}</h3><div class=row>{''.join(rows)}</div>")
    return "".join(parts)


def _png(images: Sequence[Tensor]) -> str:
    """Return images c h w side by side as a data URI; only the first three of more channels are shown."""
    colour = [image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1) for image in images]
    buffer = io.BytesIO()
    from_tensor(torch.cat(colour, dim=2)).to_pil().save(buffer, format="PNG")
    return image_uri(buffer.getvalue(), "png")
