"""The protocol of exporters, which write a model for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class ExportResult:
    """The files written by an exporter, and notes for the user: omitted parts, next steps."""

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@runtime_checkable
class Exporter(Protocol):
    """Writes a model for other programs; an instance is registered, not a class.

    Installed packages and users' files add exporters to `unpaired.interop.EXPORTERS`.
    """

    @property
    def kind(self) -> str:
        """The name on the command line: `unpaired export RUN --format KIND`."""

    @property
    def label(self) -> str:
        """Short description of the written files."""

    def export(self, model: Path, out: Path) -> ExportResult:
        """Write the model of a run folder or model folder into the folder `out`, which it makes.

        `unpaired.models.model_folder.read_model` reads the networks, `Translator.load` the whole translator. An
        exporter replaces no file (OutputError) and leaves none behind that it could not finish. Raises ModelError,
        naming what is wrong, for a model that the other program cannot hold.
        """


def refuse(part: Any) -> str:
    """Return the reason why an object is no exporter, as the end of a sentence, or ""."""
    return "it is a class; register an instance of it" if isinstance(part, type) else ""
