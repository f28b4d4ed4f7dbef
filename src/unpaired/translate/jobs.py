"""The plan of a translation: the output of each input, resolved and checked before the first image is translated."""

from __future__ import annotations

import glob
import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unpaired.errors import ConfigError, DataError, OutputError
from unpaired.images import FORMATS, is_image_name, is_stack, suffix_of
from unpaired.images.foreign import instead
from unpaired.storage import is_junk_folder, leads_out, refuse_folder, shown, without_junk
from unpaired.suggestions import unknown

RECORD = ".unpaired-translated.jsonl"
"""The name of the file beside the results that records the input of each."""

Half = Literal["", "left", "right"]


@dataclass(frozen=True)
class Job:
    """An image file to translate and the file of its result.

    half: the half of the image to translate; "" for all of it.
    strength: 0 gives the input, 1 the translation.
    """

    source: Path
    target: Path
    half: Half = ""
    strength: float = 1.0


@dataclass(frozen=True)
class Plan:
    """All images to translate, in order.

    Args:
        jobs: one for each image.
        passed_over: files in folders or matches of globs that are hidden or have no image suffix.
        left_out: folders that are not searched: hidden ones and those of a desktop or a file system.
    """

    jobs: tuple[Job, ...]
    passed_over: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()

    @property
    def num_ignored(self) -> int:
        """The number of files passed over."""
        return len(self.passed_over)


def plan_outputs(
    inputs: Sequence[str | os.PathLike[str]],
    out: Path | None,
    *,
    format: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    direction: str = "AtoB",
    follow_symlinks: bool = False,
    strengths: Sequence[float] = (1.0,),
) -> Plan:
    """Return the plan of a translation; nothing is written.

    Raises DataError for an input that does not exist, matches nothing or holds no image, and for a link out of a
    folder; ConfigError for an unknown format; OutputError if two inputs have the same output, an output is also an
    input, or results exist and neither `overwrite` nor `resume` is set.

    Args:
        inputs: files, folders (searched recursively by suffix, in order, without hidden files and folders) and globs
            that the shell did not expand.
        out: the folder of the results, by default translated/<direction> in the current folder. The structure below an
            input folder is kept.
        format: the suffix of all results, by default that of each input if it can be written, else .png.
        overwrite: replace existing results.
        resume: accept existing results; the record in `out` lists the finished ones.
        direction: part of the default of `out`.
        follow_symlinks: read links in a folder that lead out of it.
        strengths: those of the results. Each image has a job for each, neighbours in this order; of several, the name
            of a result ends in its strength: a-strength-0.25.png.
    """
    out = Path("translated") / direction if out is None else out
    suffix = None if format is None else _suffix(format)
    found = find_images(inputs, out, purpose="image to translate", follow_symlinks=follow_symlinks)
    jobs: dict[Job, None] = {}  # an ordered set: duplicates are translated once
    for root, source in found.images:
        relative = Path(source.name) if root is None else source.relative_to(root)
        target = out / _named(relative, suffix, source)
        for strength in dict.fromkeys(strengths):
            named = target if len(strengths) == 1 else _with_strength(target, strength)
            jobs[Job(source, named, strength=strength)] = None
    plan = Plan(tuple(jobs), found.passed_over, found.left_out)
    _check_targets(plan.jobs)
    check_existing(plan.jobs, out, overwrite=overwrite, resume=resume)
    return plan


def variants_of(jobs: Sequence[Job]) -> dict[Job, tuple[Job, ...]]:
    """Return the jobs of each image by the first of them: neighbours that differ in strength and target alone."""
    groups = (tuple(group) for _, group in itertools.groupby(jobs, lambda job: (job.source, job.half)))
    return {group[0]: group for group in groups}


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffix, which may have two parts as in .nii.gz."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name


def _with_strength(target: Path, strength: float) -> Path:
    number = f"{strength:.4f}".rstrip("0").rstrip(".")
    stem = stem_of(target)
    return target.with_name(f"{stem}-strength-{number}{target.name[len(stem) :]}")


@dataclass(frozen=True)
class Found:
    """images: the folder searched, None for a file that was named, and the file. The rest as in `Plan`."""

    images: tuple[tuple[Path | None, Path], ...]
    passed_over: tuple[Path, ...]
    left_out: tuple[Path, ...]


def find_images(
    inputs: Sequence[str | os.PathLike[str]],
    out: Path | None = None,
    *,
    purpose: str = "image",
    follow_symlinks: bool = False,
) -> Found:
    """Return the images among files, in folders and matched by globs, in order.

    out: a folder of results that is not searched. purpose: the noun in the message if there is none. Raises DataError
    as `plan_outputs` does.
    """
    images: list[tuple[Path | None, Path]] = []
    passed_over: dict[Path, None] = {}
    left_out: list[Path] = []
    for given in inputs:
        for root, source in _expand(os.fspath(given), out, left_out):
            if root is not None and not _looks_like_image(source):
                passed_over[source] = None
                continue
            if root is not None and not follow_symlinks and leads_out(source, root):
                raise DataError(
                    f"{shown(source)} is a link that leads out of {shown(root)}; add --follow-symlinks if the links "
                    "are your own."
                )
            images.append((root, source))
    if not images:
        named = ", ".join(shown(os.fspath(given)) for given in inputs) or "no input"
        others = instead(list(passed_over)) or f"images end in {', '.join(sorted(FORMATS.suffixes))}"
        raise DataError(f"There is no {purpose} in {named}; {others}.")
    return Found(tuple(images), tuple(passed_over), tuple(dict.fromkeys(left_out)))


def _suffix(format: str) -> str:
    suffix = "." + format.lower().removeprefix(".")
    if suffix not in FORMATS.writable:
        raise ConfigError(unknown(format, [name[1:] for name in FORMATS.writable], "output format"))
    return suffix


def _named(source: Path, suffix: str | None, file: Path) -> Path:
    """Return the name of a result: with `suffix`, or with its own suffix if that can be written.

    Raises OutputError if a stack of slices would become a single picture.
    """
    own, known = suffix_of(source), FORMATS.named(source)
    if suffix is not None and FORMATS.writable[suffix] != FORMATS.writable.get(own) and is_stack(file):
        raise OutputError(
            f"{shown(file)} is a stack of slices and becomes one; translate it without --format {suffix[1:]}."
        )
    if suffix is None and known is not None and own in known.writes:
        return source
    return source.with_suffix(suffix or ".png")


def _expand(given: str, out: Path | None, left_out: list[Path]) -> Iterator[tuple[Path | None, Path]]:
    """Yield (the folder searched or None, file) for an input; an existing name is never treated as a glob.

    Adds junk folders, which are not searched, to `left_out`. A match of a glob without an image suffix is yielded like
    a file of a folder.
    """
    path = Path(given)
    if path.is_dir():
        yield from ((path, file) for file in _files_below(path, out, left_out))
    elif os.path.lexists(path):
        yield None, path
    else:
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - may be absolute
        if not matches:
            raise DataError(f"There is no file, folder or match for {shown(given)}; check the name.")
        named = sum(1 for _ in itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        for match in map(Path, matches):
            junk = next((n for n in range(named, len(match.parts) - 1) if is_junk_folder(match.parts[n])), None)
            if junk is not None:
                left_out.append(Path(*match.parts[: junk + 1]))
            elif match.is_dir():
                yield from ((match, file) for file in _files_below(match, out, left_out))
            else:
                yield None if _looks_like_image(match) else match.parent, match


def _files_below(folder: Path, out: Path | None, left_out: list[Path]) -> Iterator[Path]:
    """Yield every file below `folder`, sorted, except those in `out` and in junk folders.

    Links to folders are not followed and are yielded as files. Raises DataError for a folder that cannot be read.
    """
    results = None if out is None else os.path.realpath(out)
    for root, folders, files in os.walk(folder, onerror=refuse_folder):
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(root) / name) != results)
        left_out += without_junk(root, folders)
        yield from (path for path in map(Path(root).joinpath, folders) if path.is_symlink())
        yield from (Path(root) / name for name in sorted(files) if not name.startswith(".unpaired-"))


def _looks_like_image(path: Path) -> bool:
    # Some file systems store thumbnails and metadata in hidden files with image suffixes (._image.jpg).
    return is_image_name(path) and not path.name.startswith(".")


def _check_targets(jobs: Sequence[Job]) -> None:
    """Raise OutputError if two outputs clash or an output is also an input."""
    # Not Path.resolve, which fails for circular links.
    sources = {os.path.realpath(job.source) for job in jobs}
    claims: dict[str, Job] = {}
    for job in jobs:
        # Some file systems ignore the case of names or the composition of accents.
        key = unicodedata.normalize("NFC", str(job.target)).casefold()
        other = claims.setdefault(key, job)
        if other is not job:
            raise OutputError(
                f"{shown(other.source)} and {shown(job.source)} would both become {shown(job.target)}; "
                "translate them into different folders with --out."
            )
        if os.path.realpath(job.target) in sources:
            raise OutputError(f"{shown(job.target)} is an input and would be replaced; choose another --out.")


def check_existing(jobs: Sequence[Job], out: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise OutputError if results exist that may not be replaced, ConfigError if both permissions are given."""
    if overwrite and resume:
        raise ConfigError(
            "--resume keeps finished results and --overwrite replaces all of them; give only one of the two."
        )
    recorded = os.path.lexists(out / RECORD)
    existing = [job.target for job in jobs if os.path.lexists(job.target)]
    if not existing or overwrite or (resume and recorded):
        return
    named = ", ".join(shown(path) for path in existing[:3]) + (", ..." if len(existing) > 3 else "")
    found = f"{len(existing)} of {len(jobs)} outputs exist already ({named})"
    if resume:
        raise OutputError(
            f"{found}, and {shown(out)} has no record of their inputs; add --overwrite instead of --resume "
            "or choose another --out."
        )
    advice = "add --resume to continue, --overwrite to replace them," if recorded else "add --overwrite"
    raise OutputError(f"{found}; {advice} or choose another --out.")
