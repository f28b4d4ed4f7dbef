"""`unpaired translate --strength` and `--mask`: several strengths, which may be separated by spaces, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unpaired.config import require
from unpaired.errors import ConfigError
from unpaired.translate.jobs import Job, variants_of

UNMASKED = (
    "This model was trained with masks, so pixels outside of the objects are translated arbitrarily; --mask keeps them."
)


def joined(words: Sequence[str]) -> list[str]:
    """Return a command line with the numbers after --strength joined by commas; a file of such a name ends them."""
    if words[:1] != ["translate"] or "--strength" not in words:
        return list(words)
    start = words.index("--strength") + 1
    end = start
    while end < len(words) and _is_number(words[end]) and not (end > start and Path(words[end]).exists()):
        end += 1
    return [*words[:start], ",".join(words[start:end]), *words[end:]] if end > start + 1 else list(words)


def mask_option(run: Path) -> str:
    """Return the option of `unpaired translate` that the model of a run needs: " --mask MASKS", or ""."""
    from unpaired.models.description import read_json

    described = run / "model" / "model.json"
    return " --mask MASKS" if described.is_file() and read_json(described).get("masked") is True else ""


def parse_strengths(text: str | None) -> tuple[float, ...]:
    """Return the strengths given as 0.5 or 0,0.25,0.5; (1.0,) for None. Raises ConfigError."""
    from unpaired.translate.blending import STRONGEST

    if text is None:
        return (1.0,)
    numbers = [float(part) if _is_number(part) else -1.0 for part in text.split(",")]
    require(
        all(0 <= number <= STRONGEST for number in numbers),
        f"--strength takes numbers from 0 (the input) to {STRONGEST} (1 is the translation), not {text}; that of a "
        "style needs --style.",
    )
    return tuple(dict.fromkeys(round(number, 4) for number in numbers))


def parse_style_strength(text: str | None) -> float | None:
    """Return the strength of a style, None for None. Raises ConfigError."""
    if text is None:
        return None
    if not _is_number(text):
        raise ConfigError(f"--strength takes one number with --style, not {text}.")
    return float(text)


def with_halves(jobs: Sequence[Job], halved: Sequence[Job]) -> tuple[Job, ...]:
    """Return all jobs with the halves of the first job of each image."""
    groups = zip(variants_of(jobs).values(), halved, strict=True)
    return tuple(replace(job, half=first.half) for group, first in groups for job in group)


def refuse_scores(strengths: Sequence[float], scores: bool) -> None:
    """Raise ConfigError for scores of several strengths: they judge the translation, which is the same for all."""
    require(
        not scores or len(strengths) == 1,
        "--scores and --keep-best judge the translation, which is the same for all strengths; give one --strength.",
    )


def refuse_feather(feather: int, mask: Path | None) -> None:
    """Raise ConfigError for another feather than the default without a mask, as it would change nothing."""
    from unpaired.translate.blending import FEATHER

    require(
        mask is not None or feather == FEATHER,
        "--feather fades a translation towards the pixels that a mask keeps; add --mask, or leave it out.",
    )


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
