"""Reads and writes the option files that the official code saves beside its weights, such as `train_opt.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILES = ("train_opt.txt", "opt.txt", "test_opt.txt")
"""File names of options, in order of preference."""

_OLD_NAMES = {
    "which_model_netG": "netG",
    "which_direction": "direction",
    "loadSize": "load_size",
    "fineSize": "crop_size",
}
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Options:
    """The content of an option file; every method returns None if the option is missing or invalid."""

    file: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str) -> int | None:
        """Return a positive integer."""
        text = self.values.get(name, "")
        return int(text) if re.fullmatch(r"[1-9]\d{0,8}", text) else None

    def flag(self, name: str) -> bool | None:
        """Return True or False."""
        return {"True": True, "False": False}.get(self.values.get(name, ""))

    def choice(self, name: str, *known: str) -> str | None:
        """Return the value if it is one of `known`."""
        value = self.values.get(name)
        return value if value in known else None


def read_options(folder: Path) -> Options:
    """Return the options in a folder, with old option names replaced; empty if there are none."""
    for name in FILES:
        if not (folder / name).is_file():  # reading a pipe would block
            continue
        try:
            with (folder / name).open("rb") as file:
                text = file.read(_MAX_BYTES).decode("utf-8", errors="replace")
        except OSError:
            continue
        pairs = re.findall(r"^[ \t]*(\w+):[ \t]*([^\t\r\n]*)", text, flags=re.MULTILINE)
        return Options(name, {_OLD_NAMES.get(key, key): value.strip() for key, value in pairs})
    return Options()


def options_text(values: Mapping[str, object]) -> str:
    """Return options in the official file's layout."""
    lines = [f"{key:>25}: {value!s:<30}" for key, value in sorted(values.items())]
    return (
        "\n".join(["----------------- Options ---------------", *lines, "----------------- End -------------------"])
        + "\n"
    )
