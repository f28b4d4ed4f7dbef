"""Import and export of models of other programs; EXPORTERS is the registry of export formats."""

from __future__ import annotations

from unpaired.interop.exporter_protocol import Exporter, ExportResult, refuse
from unpaired.interop.official.exporting import OfficialExporter
from unpaired.interop.torch_export import TorchExporter
from unpaired.registry import Registry

__all__ = ["EXPORTERS", "ExportResult", "Exporter"]

EXPORTERS: Registry[Exporter] = Registry(
    "exporter",
    "unpaired.exporters",
    (OfficialExporter(), TorchExporter()),
    required=("label", "export"),
    refuse=refuse,
)
"""Every way to write a model for other programs."""
