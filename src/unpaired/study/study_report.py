"""The results of a study as Markdown, with the paper's table 1 beside those of real-or-fake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unpaired.storage import shown
from unpaired.study.analysing import Analysis, Difference, Participant, Preference, Reading
from unpaired.study.rates import Rate
from unpaired.study.table_one import MAP_TO_PHOTO, PHOTO_TO_MAP, PUBLISHED
from unpaired.words import counted


def to_markdown(found: Analysis) -> str:
    """Return the results, the excluded participants, each participant, and all remarks."""
    parts = [_heading(found)]
    if found.fooled is not None:
        parts += [_fooled(found.fooled), _differences(found.differences), _published()]
    if found.preference is not None:
        parts.append(_preference(found.preference, found.key.models))
    if found.reading is not None:
        parts.append(_reading(found.reading))
    if found.left is not None:
        parts.append(_position(found.left))
    if found.participants:
        parts += [_excluded(found), _participants(found)]
    if found.remarks:
        parts.append("## Answer files\n\n" + "\n".join(f"- {shown(remark)}" for remark in found.remarks))
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(found: Analysis) -> str:
    key, facts = found.key, found.key.facts
    names = facts.get("domains", {})
    arrow = f"{names.get(key.direction[0], key.direction[0])} -> {names.get(key.direction[-1], key.direction[-1])}"
    time = f"{key.seconds:g} s a pair" if key.seconds else "untimed"
    return (
        f"# Study {key.study}: {key.kind}, {cell(arrow)}\n\n"
        f"{time}, {facts.get('size')} x {facts.get('size')} pixels. Test images: SHA-256 "
        f"{str(facts.get('data_sha256'))[:16]}. Made by `{code(facts.get('command', ''))}`."
    )


def _fooled(fooled: dict[str, Rate]) -> str:
    if not fooled:
        return "## Taken for real\n\nNo participant counts, so there are no rates."
    rows = [
        (
            name,
            f"{percent(each.value)} ± {percent(each.error)}",
            interval(each),
            each.num_participants,
            each.num_answers,
        )
        for name, each in fooled.items()
    ]
    return (
        "## Taken for real\n\n"
        f"{table(('model', 'translations taken for real, %', '95 % interval', 'participants', 'answers'), rows)}\n\n"
        "Mean over participants; ± is the bootstrap standard error over participants. 50 % is chance: nobody can "
        "distinguish the translations from real images."
    )


def _differences(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    rows = [
        (each.model, each.other, f"{100 * each.value:+.1f}", f"[{100 * each.low:+.1f}, {100 * each.high:+.1f}]")
        for each in differences
    ]
    return (
        f"### Differences\n\n{table(('model', 'minus', 'points', '95 % interval'), rows)}\n\n"
        "An interval without 0 distinguishes two models, if only these two were to be compared."
    )


def _published() -> str:
    rows = [
        (method, *(f"{value:.1f} ± {error:.1f}" for value, error in (each[MAP_TO_PHOTO], each[PHOTO_TO_MAP])))
        for method, each in PUBLISHED.items()
    ]
    return (
        "## Table 1 of the CycleGAN paper\n\n"
        f"{table(('method', f'{MAP_TO_PHOTO}, %', f'{PHOTO_TO_MAP}, %'), rows)}\n\n"
        "Maps and aerial photographs, 256 x 256, 25 participants a method; the paper does not define its ±. Rates of "
        "other images or participants are not comparable with these: the paper says so of its own and pix2pix's."
    )


def _preference(found: Preference, models: Sequence[str]) -> str:
    share, (low, high) = found.share, found.answers_interval
    people = counted(share.num_participants, "participant")
    return (
        f"## Preference\n\n{cell(models[0])} over {cell(models[1])}: {percent(share.value)} % ± "
        f"{percent(share.error)} of answers, 95 % interval {interval(share)} over {people}; 50 % is no preference.\n\n"
        f"- Participants with more answers for it: {found.wins}; with fewer: {found.losses}; with as many: "
        f"{found.ties}. Sign test: p = {found.sign_p:.3g}.\n"
        f"- All {share.num_answers} answers, as if they were independent: [{percent(low)}, {percent(high)}] %."
    )


def _reading(found: Reading) -> str:
    rows = [
        (name, f"{rank:.2f}", "[{:.2f}, {:.2f}]".format(*found.intervals[name]), found.first_places[name])
        for name, rank in sorted(found.mean_ranks.items(), key=lambda each: each[1])
    ]
    agreement = "needs two readers of one case" if found.kendall_w is None else f"{found.kendall_w:.2f}"
    text = (
        f"## Ranks\n\n{table(('model', 'mean rank', '95 % interval', 'times first'), rows)}\n\n"
        f"{counted(found.num_rankings, 'ranking')} of {counted(found.num_cases, 'case')} by "
        f"{counted(found.num_readers, 'reader')}; intervals over cases. Kendall's W, the agreement of readers (0 to "
        f"1): {agreement}. Friedman's test that all are alike: {found.friedman:.2f}, p = {found.friedman_p:.3g}."
    )
    if found.comments:
        comments = [
            (
                each.participant[:8],
                each.case,
                ", ".join(f"{rank}. {name}" for name, rank in _ordered(each.ranks)),
                each.comment,
            )
            for each in found.comments
        ]
        text += f"\n\n### Comments\n\n{table(('reader', 'case', 'ranks', 'comment'), comments)}"
    return text


def _ordered(ranks: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(ranks.items(), key=lambda each: each[1])


def _position(left: Rate) -> str:
    verdict = "no bias is visible" if left.low <= 0.5 <= left.high else "participants favour one side"
    return (
        f"## Position\n\nThe left image was chosen in {percent(left.value)} % of the answers, 95 % interval "
        f"{interval(left)}: {verdict}. Sides are random, so a bias widens intervals and moves rates towards 50 %."
    )


def _excluded(found: Analysis) -> str:
    rule, out = found.key.rule, [each for each in found.participants if each.excluded]
    timed = (
        f" A trial does not count if its images were shown for a time that deviates by more than "
        f"{100 * rule.shown_tolerance:g} %, or if the page was hidden."
        if found.key.seconds
        else ""
    )
    listed = "\n".join(f"- {each.participant} {each.excluded}" for each in out) or "None."
    checks = counted(rule.max_failed_checks, "failed attention check")
    return (
        f"## Excluded participants\n\nRule, fixed when the study was made: at most {checks}, and valid answers in at "
        f"least {100 * rule.min_answered:g} % of the scored trials.{timed}\n\n{listed}"
    )


def _participants(found: Analysis) -> str:
    hit = "for the first model" if found.preference is not None else "taken for real"
    rows = [_row(each) for each in found.participants]
    titles = ("participant", "model", "answers", hit, "left", "failed checks", "mistimed", "median response", "counts")
    return f"## Participants\n\n{table(titles, rows)}"


def _row(each: Participant) -> tuple[object, ...]:
    time = "–" if each.median_response_ms is None else f"{each.median_response_ms / 1000:.1f} s"
    checks = f"{each.failed_checks} of {each.num_checks}"
    counts = "no" if each.excluded else "yes"
    return (
        each.participant,
        each.model,
        each.num_answers,
        each.hits,
        each.left,
        checks,
        each.num_mistimed,
        time,
        counts,
    )


def table(titles: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(map(cell, line)) + " |" for line in (titles, *rows)]
    return "\n".join([lines[0], "|" + "---|" * lines[0].count(" | ") + "---|", *lines[1:]])


def cell(value: object) -> str:
    """Return text for a cell of a Markdown table: one line, without markup, links and HTML."""
    text = shown(" ".join(str(value).split()))
    return "".join("\\" + c if c in "|<`*\\" else c for c in text).replace("](", "]\\(")


def code(value: object) -> str:
    """Return text for a code span: one line without backticks."""
    return shown(" ".join(str(value).split())).replace("`", "'")


def percent(share: float | None) -> str:
    """Return a share in per cent, with one digit; "–" for None."""
    return "–" if share is None else f"{100 * share:.1f}"


def interval(found: Rate) -> str:
    """Return the interval of a rate in per cent."""
    return f"[{percent(found.low)}, {percent(found.high)}]"
