"""The look at every image before step one: what cannot be read, or is too small, is named now and not at step 9000."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from unpaired.data.datasets import DataConfig, check_size
from unpaired.data.sources import FolderSource
from unpaired.errors import DataError

_MOST_NAMED = 10


def check_images(source: FolderSource, config: DataConfig) -> None:
    """Decode every image of a source; raises DataError that names the first ten which training cannot use.

    Decoding runs on a few threads, as the decoder releases the interpreter.
    """
    with ThreadPoolExecutor(max_workers=4) as threads:
        found = threads.map(lambda index: _problem(source, index, config), range(len(source)))
        problems = [problem for problem in found if problem]
    if not problems:
        return
    if len(problems) == 1:
        raise DataError(problems[0])
    rest = f"\n  and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    named = "".join(f"\n  {problem}" for problem in problems[:_MOST_NAMED])
    count = f"{len(problems)} of {len(source)} images in {source.folder}"
    raise DataError(f"{count} cannot be trained on; mend or remove them:{named}{rest}")


def _problem(source: FolderSource, index: int, config: DataConfig) -> str:
    """Return why image `index` cannot be trained on, or nothing."""
    try:
        image = source[index]
        check_size(str(source.paths[index]), image.height, image.width, config)
    except DataError as error:
        return str(error)
    return ""
