"""The look at every image before step one: what cannot be read, or is too small, is named now and not at step 9000."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from unpaired.data.datasets import WHOLE_IMAGES, DataConfig, check_size
from unpaired.data.sources import FolderSource
from unpaired.errors import DataError
from unpaired.images import read_header
from unpaired.storage import shown

_MOST_NAMED = 10


def check_images(source: FolderSource, config: DataConfig, min_side: int = 1) -> list[str]:
    """Decode every image of a source; returns what a person should know, a sentence each.

    Raises DataError that names the first ten images which training cannot use.

    min_side: the smallest side that the networks can take. Decoding runs on a few threads, as the decoder releases
    the interpreter.
    """
    with ThreadPoolExecutor(max_workers=4) as threads:
        found = list(threads.map(lambda index: _look_at(source, index, config, min_side), range(len(source))))
    problems = [problem for problem, _ in found if problem]
    if not problems:
        return _notes(source, config, [side for _, side in found])
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


def _notes(source: FolderSource, config: DataConfig, sides: list[int]) -> list[str]:
    """Return a sentence about images that are enlarged for training, given the shorter side of each."""
    small = sum(side < config.crop_size for side in sides)
    if not small or config.preprocess in WHOLE_IMAGES:
        return []
    of = f"{small} of {len(sides)} images in {source.folder}"
    return [f"{of} are smaller than the crop ({config.crop_size}) and are enlarged; a smaller --size would not."]


def _look_at(source: FolderSource, index: int, config: DataConfig, min_side: int) -> tuple[str, int]:
    """Return why image `index` cannot be trained on, or nothing, and its shorter side in pixels."""
    try:
        image = source[index]
        check_size(str(source.paths[index]), image.height, image.width, config, min_side)
    except DataError as error:
        return str(error), 0
    return "", min(image.height, image.width)
