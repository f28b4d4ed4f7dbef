"""Makes a study: translates test images, draws the trials, and writes the page and its key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from unpaired.config import require
from unpaired.errors import ConfigError, DataError, OutputError
from unpaired.evaluation.features import MIN_SIZE
from unpaired.evaluation.test_set import TestSet, open_test_set
from unpaired.models.bounds import MAX_CROP
from unpaired.pages.html_pages import write_page
from unpaired.storage import make_folder, shown, writable, write_bytes
from unpaired.study.answer_places import KEY
from unpaired.study.study_images import StudyImages
from unpaired.study.study_key import Kind, StudyKey, read_key
from unpaired.study.study_page import to_page
from unpaired.study.study_settings import StudySettings
from unpaired.study.study_trials import TrialMaker
from unpaired.translate.translator import Translator
from unpaired.version import __version__

MAX_PAGE = 200_000_000
"""Largest size of the images of a page in bytes."""

PAGE, ANSWERS = Path("participants") / "study.html", "answers"
"""Names in a study folder: the page to send, and the folder for answers."""


def make_study(
    models: Sequence[Path],
    data: Path,
    out: Path,
    *,
    settings: StudySettings | None = None,
    device: str = "auto",
    command: str = "",
) -> StudyKey:
    """Write the page of a study to OUT/participants/study.html and its key to OUT/key.json, and return the key.

    The same call writes the same files. Raises ConfigError, DataError, ModelError, OutputError.

    Args:
        models: run or model folders.
        data: folder with test images, as for `evaluate`.
        out: the study folder; it must not hold the key of another study.
        settings: those of the study.
        device: that of the translations.
        command: recorded in the key.
    """
    settings = settings or StudySettings()
    _check_models(settings, len(models))
    translators = [Translator.load(path, device=device) for path in models]
    tests = open_test_set(data, truth=settings.truth)
    require(
        tests.truth or not settings.rank_real,
        "--rank-real needs paired test images (names in testA and testB match); leave it out.",
    )
    size, fingerprints = _size(translators, models, settings), _fingerprints(translators, tests, settings)
    salt = int(hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()[:16], 16)
    images = StudyImages(translators, tests, settings.direction, size, settings.seed, salt)
    sets = TrialMaker(images, tests, settings, len(models), salt).sets()
    total = sum(len(file) for file in images.files.values()) * 4 // 3
    if total > MAX_PAGE:
        raise ConfigError(
            f"The page would have {total / 1e6:.0f} MB of images, more than the limit of {MAX_PAGE / 1e6:.0f}; lower "
            "--size or --trials, or make a study for each model."
        )
    infos = [each.info for each in translators]
    facts = {
        "command": writable(command),
        "data": writable(data),
        "data_sha256": fingerprints[0],
        "domains": dict(infos[0].domains),
        "models": [writable(path) for path in models],
        "models_sha256": fingerprints[1:],
        "objectives": [info.training.objective for info in infos],
        "steps": [info.training.step for info in infos],
        "size": size,
        "seed": settings.seed,
        "truth": tests.truth,
        "unpaired": __version__,
        "torch": torch.__version__,
    }
    key = StudyKey(
        study=_study_id(settings, images),
        kind=settings.kind,
        seconds=settings.display_seconds,
        question=settings.question or _question(settings.kind, infos[0].domains[settings.direction[-1]]),
        direction=settings.direction,
        rule=settings.rule,
        models=_names(models),
        images=dict(sorted(images.origins.items())),
        sets=sets,
        facts=facts,
    )
    _write(out, key, images, settings.consent)
    return key


def _write(out: Path, key: StudyKey, images: StudyImages, consent: str) -> None:
    """Write page and key. Raises OutputError rather than replace another key, without which answers are worthless."""
    if (out / KEY).exists() and not _is_of(out / KEY, key):
        raise OutputError(
            f"{shown(out)} holds the key of another study, or of this one with another rule, which its answers need; "
            f"choose another --out, or remove {shown(out / KEY)} if nobody has answered."
        )
    for folder in (out / PAGE.parent, out / ANSWERS):
        make_folder(folder)
    write_page(out / PAGE, to_page(key, images.files, consent=consent))
    write_bytes(out / KEY, key.to_json().encode())


def _is_of(path: Path, key: StudyKey) -> bool:
    """Return whether a file is the key of the same study with the same rule."""
    try:
        found = read_key(path)
    except DataError:
        return False
    return (found.study, found.rule) == (key.study, key.rule)


def _check_models(settings: StudySettings, count: int) -> None:
    """Raise ConfigError for a number of models that the kind of study cannot have."""
    require(count >= 1, "A study needs at least one RUN, and DATA after it.")
    if settings.kind == "preference":
        require(count == 2, f"A preference study compares two models, not {count}; give RUN RUN2 DATA.")
    if settings.kind == "readers":
        ranked = count + settings.rank_real
        require(
            2 <= ranked <= 9,
            f"Readers rank 2 to 9 images, not {ranked}; give more or fewer models, or add --rank-real.",
        )


def _size(translators: Sequence[Translator], paths: Sequence[Path], settings: StudySettings) -> int:
    """Return the side of the images. Raises ConfigError if models differ in it, or lack the direction."""
    for translator, path in zip(translators, paths, strict=True):
        if settings.direction not in translator.directions:
            raise ConfigError(
                f"{shown(path)} has no direction {settings.direction}; choose from {', '.join(translator.directions)}."
            )
    if settings.size is not None:
        fits = MIN_SIZE <= settings.size <= MAX_CROP
        require(fits, f"--size must be {MIN_SIZE} to {MAX_CROP}, not {settings.size}.")
        return settings.size
    sizes = {each.info.training.crop_size for each in translators}
    size = sizes.pop()
    if sizes or size is None:
        raise ConfigError("The models were trained at different or unknown sizes; give --size.")
    return size


def _fingerprints(translators: Sequence[Translator], tests: TestSet, settings: StudySettings) -> list[str]:
    """Return the digests of the data and of each model.

    They salt every draw: the page holds no weights, so nobody can recompute from it which image is real.
    """
    return [tests.fingerprint(), *(each.fingerprint(settings.direction) for each in translators)]


def _study_id(settings: StudySettings, images: StudyImages) -> str:
    """Return an id that changes with the images and the task, 16 hexadecimal digits."""
    about = (settings.kind, settings.display_seconds, settings.question, settings.consent)
    digest = hashlib.sha256(repr(about).encode())
    for name in sorted(images.files):
        digest.update(name.encode() + images.files[name])
    return digest.hexdigest()[:16]


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the shortest ends of the paths that differ from one another, numbered if none do."""
    whole = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, whole)) + 1):
        names = [writable("/".join(parts[-length:])) for parts in whole]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{path.name} ({number})" for number, path in enumerate(paths, 1))


def _question(kind: Kind, domain: str) -> str:
    if kind == "real-or-fake":
        return "Which image is real?"
    if kind == "preference":
        return f"Which image is the better translation to {domain}?"
    return f"Rank the translations to {domain}: 1 is the best."
