"""Exporters as parts: the Protocol of a way to write a model for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class ExportResult:
    """The files that an exporter wrote, and sentences for the user: what was left out, how to go on."""

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@runtime_checkable
class Exporter(Protocol):
    """A way to write a model for other programs; a part is an instance.

    An installed package or a user's file adds one to `unpaired.interop.EXPORTERS`.
    """

    @property
    def kind(self) -> str:
        """The name on the command line: `unpaired export RUN --format KIND`."""

    @property
    def label(self) -> str:
        """A few words on the files that it writes."""

    def export(self, model: Path, out: Path) -> ExportResult:
        """Write the model of a run folder or model folder into the folder `out`, which it makes.

        `unpaired.models.model_folder.read_model` reads the networks, `Translator.load` the whole translator. An
        exporter replaces no file (OutputError) and leaves none behind that it could not finish. Raises ModelError,
        naming what is wrong, for a model that the other program cannot hold.
        """


def refuse(part: Any) -> str:
    """Return the reason why an object is no exporter, as the end of a sentence, or ""."""
    return "it is a class; register an instance of it" if isinstance(part, type) else ""
