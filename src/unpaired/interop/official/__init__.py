"""Import and export of official CycleGAN, pix2pix and CUT files; import from other programs with equal networks."""

from __future__ import annotations

from unpaired.interop.official.exporting import Exported, export_official
from unpaired.interop.official.importing import Imported, import_official, read_official
from unpaired.interop.official.judges import read_judges
from unpaired.interop.official.recognising import recognise
from unpaired.interop.official.weight_names import Network, from_official, to_official
from unpaired.untrusted.torch_files import read_state

__all__ = [
    "Exported",
    "Imported",
    "Network",
    "export_official",
    "from_official",
    "import_official",
    "read_judges",
    "read_official",
    "read_state",
    "recognise",
    "to_official",
]
