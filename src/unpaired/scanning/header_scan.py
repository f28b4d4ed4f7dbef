"""The headers of many files, each read once, without decoding pixels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from unpaired.errors import UnpairedError
from unpaired.images import ImageHeader, read_header
from unpaired.scanning.threads import on_threads


def headers_by_path(
    paths: Iterable[Path], passed_over: type[UnpairedError] | tuple[()] = ()
) -> dict[Path, ImageHeader]:
    """Return the header of each distinct file, in the order of `paths`.

    passed_over: errors that leave a file out, because the scan of its pixels reports them better. Other errors are
    raised, as by `read_header`.
    """

    def header(path: Path) -> ImageHeader | None:
        try:
            return read_header(path)
        except passed_over:
            return None

    files = list(dict.fromkeys(paths))
    found = zip(files, on_threads(header, files), strict=True)
    return {path: known for path, known in found if known is not None}
