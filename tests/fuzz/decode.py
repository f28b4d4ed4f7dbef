"""Fuzzes the reading of images: `make fuzz CORPUS=DIR SECONDS=600`, DIR being files to start from beside our own.

Whatever the bytes are, they are an image or one ImageError, within 2 seconds of work and 256 MB. What breaks that is
written to build/fuzz/found, and `python tests/fuzz/decode.py FILE` shows it again. Linux, with the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "unpaired.images"]):
    from unpaired.errors import ImageError
    from unpaired.images import read_header, read_image

sys.path.insert(0, str(Path(__file__).parent))
import corpus

WORK = Path("build/fuzz")
MAX_PIXELS = 2**22
MAX_BYTES = 2**17
SECONDS_EACH, MEGABYTES_EACH = 2, 256
HANGS_AFTER = 60  # seconds by the clock, which on a busy machine run faster than the work

_file, _volume = WORK / "input.png", WORK / "input.nii"


def decode(data: bytes) -> None:
    """Read the bytes as a file; anything but an image or an ImageError of one printable line gets out."""
    file = _volume if data[344:348] in (b"n+1\0", b"ni1\0") else _file  # volumes go by their name
    file.write_bytes(data)
    started = time.process_time()
    for read in (read_header, lambda path: read_image(path, max_pixels=MAX_PIXELS)):
        try:
            read(file)
        except ImageError as error:
            if not str(error).isprintable():
                raise AssertionError(f"not one printable line: {error!r}") from error
    if (seconds := time.process_time() - started) > SECONDS_EACH:
        raise AssertionError(f"{seconds:.1f} seconds of work")


def main() -> None:
    """Fuzz, or run the files that are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="folders of files to start from, or files to run")
    parser.add_argument("--seconds", type=int, default=600)
    given = parser.parse_args()
    for folder in ("corpus", "start", "found"):
        (WORK / folder).mkdir(parents=True, exist_ok=True)
    if not given.paths or any(path.is_dir() for path in given.paths):
        _fuzz(given.paths, given.seconds)
        return
    for path in given.paths:
        decode(path.read_bytes())


def _fuzz(folders: list[Path], seconds: int) -> None:
    corpus.write(WORK / "start")
    corpus.write_words(WORK / "words.txt")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # with torch and all parsers loaded
    flags = {
        "max_total_time": seconds,
        "timeout": HANGS_AFTER,
        "rss_limit_mb": resident + MEGABYTES_EACH,
        "malloc_limit_mb": MEGABYTES_EACH,
        "max_len": MAX_BYTES,
        "dict": WORK / "words.txt",
        "artifact_prefix": f"{WORK / 'found'}/",
        "print_final_stats": 1,
    }
    arguments = [f"-{name}={value}" for name, value in flags.items()]
    atheris.Setup([sys.argv[0], *arguments, *map(str, [WORK / "corpus", WORK / "start", *folders])], decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
