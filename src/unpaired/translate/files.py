"""Translating files: which output each input gets, decided and checked before the first one is made."""

from __future__ import annotations

import contextlib
import glob
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unpaired.config import unknown
from unpaired.errors import ConfigError, DataError, OutputError, StorageError, UnpairedError
from unpaired.images import IMAGE_SUFFIXES, WRITABLE, Image, keeps_alpha, read_image, write_image
from unpaired.storage import shown, storage_error
from unpaired.translate.translator import Translator


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
) -> Plan:
    """Return what to translate into what; nothing is written.

    inputs: files, folders (searched through and through by suffix, in order, hidden files left out) and globs
    that the shell left alone. out: the folder of the results, by default translated/<direction> here; the
    structure below an input folder is kept in it. format: the suffix of all results, by default that of each
    input where it can be written, else .png. Raises DataError for an input that does not exist, that matches
    nothing or holds no image; ConfigError for an unknown format; OutputError where two inputs claim one name,
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
            relative = Path(source.name) if root is None else source.relative_to(root)
            own = source.suffix if source.suffix.lower() in WRITABLE else ".png"
            jobs[Job(source, out / relative.with_suffix(suffix or own))] = None
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
    on_done: Callable[[Job, Failure | None], None] | None = None,
) -> list[Failure]:
    """Translate every job and return those that failed; one bad image never stops the others.

    Neighbours of one size are translated up to `batch` together. Transparency is laid over the background of
    the model where the format of the target has none. `on_done` is called once a job, as each is finished.
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

    for group in _read_in_groups(jobs, batch, done):
        for job, made in _translate_group(translator, group, direction, done):
            flat = made if keeps_alpha(job.target.suffix) else made.over(translator.info.background)
            try:
                write_image(job.target, flat, quality=quality)
            except StorageError:
                raise
            except UnpairedError as error:
                done(job, error)
            else:
                done(job, None)
    return failures


_Done = Callable[[Job, UnpairedError | None], None]


def _read_in_groups(jobs: Sequence[Job], batch: int, done: _Done) -> Iterator[list[tuple[Job, Image]]]:
    """Read the images, and yield neighbours of one size together, at most `batch` of them."""
    group: list[tuple[Job, Image]] = []
    for job in jobs:
        try:
            image = read_image(job.source)
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
    translator: Translator, group: list[tuple[Job, Image]], direction: str, done: _Done
) -> Iterator[tuple[Job, Image]]:
    """Translate a group at once, or one by one where that fails, so that only the culprit is reported."""
    images = [image for _, image in group]
    made: list[Image] = []
    with contextlib.suppress(UnpairedError):
        made = translator.translate_images(images, direction=direction, batch=len(group))
    if made:
        yield from zip((job for job, _ in group), made, strict=True)
        return
    for job, image in group:
        try:
            (single,) = translator.translate_images([image], direction=direction)
        except UnpairedError as error:
            done(job, error)
        else:
            yield job, single


def _suffix(format: str) -> str:
    suffix = "." + format.lower().removeprefix(".")
    if suffix not in WRITABLE:
        raise ConfigError(unknown(format, [name[1:] for name in WRITABLE], "output format"))
    return suffix


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
    results = out.resolve()
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if (Path(root) / name).resolve() != results)
        yield from (Path(root) / name for name in sorted(files))


def _looks_like_image(path: Path) -> bool:
    # Hidden files with such suffixes are the thumbnails and notes of some file systems (._image.jpg).
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _check_targets(jobs: Sequence[Job], overwrite: bool) -> None:
    """Raise OutputError where targets clash with one another, with an input, or with what exists."""
    sources = {job.source.resolve() for job in jobs}
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
        if job.target.resolve() in sources:
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
