"""The look at every image before step one: what cannot be read, or is too small, is named now and not at step 9000."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from unpaired.data.datasets import DataConfig, check_size
from unpaired.data.sources import FolderSource
from unpaired.errors import DataError
from unpaired.images import read_header
from unpaired.storage import shown

_MOST_NAMED = 10


def check_images(source: FolderSource, config: DataConfig, min_side: int = 1) -> None:
    """Decode every image of a source; raises DataError that names the first ten which training cannot use.

    min_side: the smallest side that the networks can take. Decoding runs on a few threads, as the decoder releases
    the interpreter.
    """
    with ThreadPoolExecutor(max_workers=4) as threads:
        found = threads.map(lambda index: _problem(source, index, config, min_side), range(len(source)))
        problems = [problem for problem in found if problem]
    if not problems:
        return
    if len(problems) == 1:
        raise DataError(problems[0])
    count = f"{len(problems)} of {len(source)} images in {source.folder}"
    raise DataError(f"{count} cannot be trained on; mend or remove them:{listed(problems)}")


def check_pairs(a: FolderSource, b: FolderSource) -> None:
    """Raise DataError that names the first ten pairs whose files differ in size; no pixel is decoded."""
    problems = []
    for path_a, path_b in zip(a.paths, b.paths, strict=True):
        one, other = read_header(path_a), read_header(path_b)
        if (one.width, one.height) != (other.width, other.height):
            sizes = f"{one.width}x{one.height} and {other.width}x{other.height} pixels"
            problems.append(f"{shown(path_a)} and {shown(path_b)} are {sizes}")
    if problems:
        raise DataError(
            f"{len(problems)} of {len(a)} pairs differ in size; make them equal, or let --data.preprocess "
            f"resize_and_crop do it:{listed(problems)}"
        )


def listed(problems: list[str]) -> str:
    """Return the first ten problems, each on a line of its own, and how many more there are."""
    rest = f"\n  and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return "".join(f"\n  {problem}" for problem in problems[:_MOST_NAMED]) + rest


def _problem(source: FolderSource, index: int, config: DataConfig, min_side: int) -> str:
    """Return why image `index` cannot be trained on, or nothing."""
    try:
        image = source[index]
        check_size(str(source.paths[index]), image.height, image.width, config, min_side)
    except DataError as error:
        return str(error)
    return ""
