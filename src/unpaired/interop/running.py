"""Runs an exporter by name; the faults of a user's own exporter become one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unpaired.errors import ModelError, UnpairedError
from unpaired.interop.exporter_protocol import ExportResult
from unpaired.live_line import rewrite
from unpaired.registry import Registry


def run_exporter(exporters: Registry[Any], kind: str, setting: str, model: Path, out: Path) -> ExportResult:
    """Write a run or model folder into the folder `out` with the exporter of a kind, and return the files.

    setting: name of the setting that holds `kind`, for messages.

    Raises ConfigError for an unknown kind, whatever the exporter raises as UnpairedError, and ModelError if an
    exporter that is not built in raises anything else or returns no ExportResult.
    """
    exporter = exporters.get(kind, setting)
    rewrite(f"Exporting {model} as {kind}")
    if exporter in exporters.own():
        made: ExportResult = exporter.export(model, out)
        return made
    try:
        made = exporter.export(model, out)
    except UnpairedError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(f"The exporter {kind} fails ({reason}); fix its export method.") from error
    if not isinstance(made, ExportResult):
        raise ModelError(f"The exporter {kind} returned {type(made).__name__}; its export must return an ExportResult.")
    return made
