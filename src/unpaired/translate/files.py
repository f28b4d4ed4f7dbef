"""Translating files: which output each input gets, decided and checked before the first one is made."""

from __future__ import annotations

import contextlib
import glob
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unpaired.config import unknown
from unpaired.errors import ConfigError, DataError, OutputError, StorageError, UnpairedError
from unpaired.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    WRITABLE,
    Image,
    is_image_name,
    is_volume,
    keeps_alpha,
    read_header,
    read_image,
    suffix_of,
    write_image,
    write_volume,
)
from unpaired.storage import leads_out, shown, storage_error
from unpaired.translate.translator import Translator

_OF_THEIR_KIND = (".dcm", ".nii", ".nii.gz")  # which are written only where the input is one


@dataclass(frozen=True)
class Job:
    """One image file to translate, and the file that it becomes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What will be translated, in order; num_ignored counts the files in folders that are no images."""

    jobs: tuple[Job, ...]
    num_ignored: int


@dataclass(frozen=True)
class Failure:
    """One input that could not be translated, and the error that says why."""

    source: Path
    error: UnpairedError


def plan_outputs(
    inputs: Sequence[str | os.PathLike[str]],
    out: Path | None,
    *,
    format: str | None = None,
    overwrite: bool = False,
    direction: str = "AtoB",
    follow_symlinks: bool = False,
) -> Plan:
    """Return what to translate into what; nothing is written.

    inputs: files, folders (searched through and through by suffix, in order, hidden files left out) and globs
    that the shell left alone. out: the folder of the results, by default translated/<direction> here; the
    structure below an input folder is kept in it. format: the suffix of all results, by default that of each
    input where it can be written, else .png. follow_symlinks: read files of a folder that are links to places
    outside of it. Raises DataError for an input that does not exist, that matches nothing or holds no image, and for
    such a link; ConfigError for an unknown format; OutputError where two inputs claim one name,
    a result would replace an input, or results exist and `overwrite` is not set.
    """
    out = Path("translated") / direction if out is None else out
    suffix = None if format is None else _suffix(format)
    jobs: dict[Job, None] = {}  # an ordered set: a file given twice is translated once
    num_ignored = 0
    for given in inputs:
        for root, source in _expand(os.fspath(given), out):
            if root is not None and not _looks_like_image(source):
                num_ignored += 1
                continue
            if root is not None and not follow_symlinks and leads_out(source, root):
                raise DataError(
                    f"{shown(source)} is a link that leads out of {shown(root)}; add --follow-symlinks if the links "
                    "are your own."
                )
            relative = Path(source.name) if root is None else source.relative_to(root)
            jobs[Job(source, out / _named(relative, suffix))] = None
    if not jobs:
        named = ", ".join(shown(os.fspath(given)) for given in inputs) or "no input"
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"There is no image to translate in {named}; images end in {suffixes}.")
    _check_targets(list(jobs), overwrite)
    return Plan(tuple(jobs), num_ignored)


def translate_files(
    translator: Translator,
    jobs: Sequence[Job],
    *,
    direction: str = "AtoB",
    batch: int = 1,
    quality: int = 95,
    keep_icc: bool = False,
    on_done: Callable[[Job, Failure | None], None] | None = None,
) -> list[Failure]:
    """Translate every job and return those that failed; one bad image never stops the others.

    Neighbours of one size are translated up to `batch` together. Transparency is laid over the background of
    the model where the format of the target has none. A volume is translated slice by slice. keep_icc: take colours
    with an ICC profile as they are and give the profile to the result. `on_done` is called once a job, as each is
    finished.
    Raises ConfigError for an unknown direction, OutputError or StorageError where the folders cannot be made
    or the disk fails: then no later image could succeed either.
    """
    if direction not in translator.directions:
        raise ConfigError(unknown(repr(direction), translator.directions, "direction"))
    for folder in dict.fromkeys(job.target.parent for job in jobs):
        _make_folder(folder)
    failures: list[Failure] = []

    def done(job: Job, error: UnpairedError | None) -> None:
        failure = None if error is None else Failure(job.source, error)
        if failure is not None:
            failures.append(failure)
        if on_done is not None:
            on_done(job, failure)

    def write(job: Job, writing: Callable[[], None]) -> None:
        try:
            writing()
        except StorageError:
            raise
        except UnpairedError as error:
            done(job, error)
        else:
            done(job, None)

    background, span = translator.info.background, translator.info.values[direction[-1]].range.bounds
    options: dict[str, Any] = {"direction": direction, "keep_icc": keep_icc}
    for group in _read_in_groups([job for job in jobs if not is_volume(job.source)], batch, translator, done):
        for job, made in _translate_group(translator, group, options, done):
            flat = made if keeps_alpha(job.target.suffix) else made.over(background, span)
            write(job, partial(write_image, job.target, flat, quality=quality, like=job.source))
    for job in jobs:
        if is_volume(job.source):
            write(job, partial(_translate_volume, translator, job, options, batch))
    return failures


_Done = Callable[[Job, UnpairedError | None], None]


def _translate_volume(translator: Translator, job: Job, options: dict[str, Any], batch: int) -> None:
    """Translate all slices of a volume and write them as one."""
    frames = range(read_header(job.source).frames)
    slices = [read_image(job.source, max_pixels=_limit(translator), frame=frame) for frame in frames]
    write_volume(job.target, translator.translate_images(slices, batch=batch, **options), like=job.source)


def _limit(translator: Translator) -> int:
    """Return the pixels beyond which no image is decoded, as it would not be translated."""
    return MAX_PIXELS if translator.max_pixels is None else min(MAX_PIXELS, translator.max_pixels)


def _read_in_groups(
    jobs: Sequence[Job], batch: int, translator: Translator, done: _Done
) -> Iterator[list[tuple[Job, Image]]]:
    """Read the images, and yield neighbours of one size together, at most `batch` of them."""
    group: list[tuple[Job, Image]] = []
    for job in jobs:
        try:
            image = read_image(job.source, max_pixels=_limit(translator))
        except UnpairedError as error:
            done(job, error)
            continue
        if group and (len(group) == batch or group[0][1].pixels.shape[:2] != image.pixels.shape[:2]):
            yield group
            group = []
        group.append((job, image))
    if group:
        yield group


def _translate_group(
    translator: Translator, group: list[tuple[Job, Image]], options: dict[str, Any], done: _Done
) -> Iterator[tuple[Job, Image]]:
    """Translate a group at once, or one by one where that fails, so that only the culprit is reported."""
    images = [image for _, image in group]
    made: list[Image] = []
    with contextlib.suppress(UnpairedError):
        made = translator.translate_images(images, batch=len(group), **options)
    if made:
        yield from zip((job for job, _ in group), made, strict=True)
        return
    for job, image in group:
        try:
            (single,) = translator.translate_images([image], **options)
        except UnpairedError as error:
            done(job, error)
        else:
            yield job, single


def _suffix(format: str) -> str:
    suffix = "." + format.lower().removeprefix(".")
    if suffix not in WRITABLE:
        raise ConfigError(unknown(format, [name[1:] for name in WRITABLE], "output format"))
    return suffix


def _named(source: Path, suffix: str | None) -> Path:
    """Return the name of the result of an input, with `suffix` or its own where that can be written.

    Raises OutputError for a volume that is to become a picture.
    """
    own = suffix_of(source)
    if is_volume(source) and suffix is not None:
        raise OutputError(f"{shown(source)} is a volume and becomes one; translate it without --format {suffix[1:]}.")
    if suffix is None and (own in WRITABLE or own in _OF_THEIR_KIND):
        return source
    return source.with_suffix(suffix or ".png")


def _expand(given: str, out: Path) -> Iterator[tuple[Path | None, Path]]:
    """Yield (the folder searched or None, file) of an input: a name that exists is that name, not a glob."""
    path = Path(given)
    if path.is_dir():
        yield from ((path, file) for file in _files_below(path, out))
    elif os.path.lexists(path):
        yield None, path
    else:
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - may be absolute
        if not matches:
            raise DataError(f"There is no file, folder or match for {shown(given)}; check the name.")
        for match in map(Path, matches):
            if match.is_dir():
                yield from ((match, file) for file in _files_below(match, out))
            elif _looks_like_image(match):
                yield None, match


def _files_below(folder: Path, out: Path) -> Iterator[Path]:
    """Yield every file below `folder`, sorted, without following links to folders and without `out`."""
    results = os.path.realpath(out)
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(root) / name) != results)
        yield from (Path(root) / name for name in sorted(files))


def _looks_like_image(path: Path) -> bool:
    # Hidden files with such suffixes are the thumbnails and notes of some file systems (._image.jpg).
    return is_image_name(path) and not path.name.startswith(".")


def _check_targets(jobs: Sequence[Job], overwrite: bool) -> None:
    """Raise OutputError where targets clash with one another, with an input, or with what exists."""
    # Not Path.resolve, which fails for links that lead in a circle.
    sources = {os.path.realpath(job.source) for job in jobs}
    claims: dict[str, Job] = {}
    for job in jobs:
        # Some file systems hold names to be equal that differ in case or in the composition of accents.
        key = unicodedata.normalize("NFC", str(job.target)).casefold()
        other = claims.setdefault(key, job)
        if other is not job:
            raise OutputError(
                f"{shown(other.source)} and {shown(job.source)} would both become {shown(job.target)}; "
                "translate them into different folders with --out."
            )
        if os.path.realpath(job.target) in sources:
            raise OutputError(f"{shown(job.target)} is an input and would be replaced; choose another --out.")
    existing = [job.target for job in jobs if os.path.lexists(job.target)]
    if existing and not overwrite:
        named = ", ".join(shown(path) for path in existing[:3]) + (", ..." if len(existing) > 3 else "")
        raise OutputError(
            f"{len(existing)} of {len(jobs)} outputs exist already ({named}); add --overwrite or choose another --out."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from None
    if not os.access(folder, os.W_OK):
        raise OutputError(f"Cannot write into {shown(folder)}; change its permissions or choose another --out.")
