"""`unpaired export --format torch-export`: each generator as a program that needs torch alone.

torch.export traces the network once, with heights and widths left open, and saves its graph and its weights. Neither
this package nor the class of the network is needed to run it, so any generator can be exported that torch can trace.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unpaired import ranks
from unpaired.errors import ModelError
from unpaired.interop.exporter_protocol import ExportResult
from unpaired.interop.new_files import refuse_existing, removed_on_error, write_new
from unpaired.interop.program_card import program_card
from unpaired.live_line import rewrite
from unpaired.models.domain_values import values_to_json
from unpaired.models.model_folder import DirectionInfo, ModelInfo, read_model
from unpaired.networks.protocols import translates_by_search
from unpaired.randomness import rng, torch_seeded
from unpaired.storage import shown, writable
from unpaired.translate.translator import Translator
from unpaired.version import __version__

MOST = 1e-5
"""Maximum difference between a program and its network due to rounding, for values in [-1, 1]."""

_EMPTIED = "/data/sample_inputs/model.pt"
_WEIGHTS = ("/data/weights/model_weights_config.json", "/data/constants/model_constants_config.json")
_REACH = 64  # size difference in pixels of the two images of the comparison


@dataclass(frozen=True)
class TorchExporter:
    """Programs for `torch.export.load`, with a description of their images."""

    kind: ClassVar[str] = "torch-export"
    label: ClassVar[str] = "a program of torch.export for each direction, which needs torch alone"

    def export(self, model: Path, out: Path) -> ExportResult:
        """Write AtoB.pt2 and BtoA.pt2, as far as the model has them, export.json and README.md into `out`.

        Each program is loaded again and compared with the translator on images of two sizes. Raises ModelError if
        torch cannot export a network or the program differs from it, OutputError if a file exists, StorageError.
        """
        info, networks = read_model(model)
        _check_traceable(info, model)
        refuse_existing(out, (*(f"{name}.pt2" for name in networks), "export.json", "README.md"))
        translator = Translator(info, networks, device="cpu")
        programs = {f"{name}.pt2": _program(networks[name], info.directions[name], name) for name in networks}
        description: dict[str, Any] = {
            "format": "torch.export",
            "torch": _torch_version(),
            "package": f"unpaired {__version__}",
            "domains": {key: writable(name) for key, name in info.domains.items()},
            "values": {name: values_to_json(own) for name, own in info.values.items()},
            "background": list(info.background),
            "icc": info.icc,
            "directions": {
                name: _description(info.directions[name], name, programs[f"{name}.pt2"]) for name in networks
            },
        }
        card = program_card(description)
        described = (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()
        files = write_new(out, {**programs, "export.json": described, "README.md": card.encode()})
        with removed_on_error(files):
            worst = max(_verified(out / f"{name}.pt2", translator, name) for name in networks)
        return ExportResult(
            files,
            (
                f"Loaded again and compared on two sizes: the largest difference is {worst:.1e} on the scale [-1, 1].",
                f"Use it with torch {_torch_version()} or newer: see {shown(out / 'README.md')}",
            ),
        )


def _check_traceable(info: ModelInfo, path: Path) -> None:
    """Raise ModelError for generators that translate by an optimisation, whose gradients a program cannot hold."""
    for direction in info.directions.values():
        if translates_by_search(direction.generator):
            raise ModelError(
                f"The generator {direction.generator.kind} of {shown(path)} translates by an optimisation for each "
                "image, which a program of torch.export cannot hold; use `unpaired translate`.",
                setting="format",
            )


def _program(network: nn.Module, info: DirectionInfo, name: str) -> bytes:
    """Return the content of a .pt2 file: n c h w in [-1, 1] to the same, sides multiples of the generator's.

    The height, the width and, in evaluation mode, the count of images are open.
    """
    from torch.export import Dim, export, save

    rewrite(f"Tracing the network of {name}")

    unit, least = info.generator.multiple, _least(info)
    sides = [Dim(axis, min=least) for axis in ("h", "w")]
    axes: dict[int, Any] = {axis: unit * side if unit > 1 else side for axis, side in zip((2, 3), sides, strict=True)}
    count = 1 if network.training else 2
    if not network.training:
        axes[0] = Dim("n", min=1)
    example = torch.zeros(count, info.in_channels, unit * (least + 1), unit * (least + 2))
    buffer = io.BytesIO()
    try:
        with torch.no_grad(), ranks.single_process():
            save(export(network, (example,), dynamic_shapes=(axes,), strict=False), buffer)
    except Exception as error:  # torch raises a dozen kinds, all for networks that it cannot trace
        reason = shown(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        raise ModelError(
            f"torch.export cannot export the generator {info.generator.kind} of {name} ({reason}); change its module "
            "so that it can be traced with any height and width."
        ) from error
    return _without_pickle(buffer.getvalue(), name)


def _torch_version() -> str:
    """Return the version of torch without the build suffix."""
    return torch.__version__.partition("+")[0]


def _least(info: DirectionInfo) -> int:
    """Return the smallest side of an image in multiples of the generator's."""
    return max(1, -(-info.generator.min_size // info.generator.multiple))


def _without_pickle(content: bytes, name: str) -> bytes:
    """Return an archive without the example inputs, which torch pickles but does not need.

    Raises ModelError if there is anything else than plain tensors and JSON.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(made, "w") as after:
        for entry in before.infolist():
            after.writestr(entry.filename, b"" if entry.filename.endswith(_EMPTIED) else before.read(entry))
    content = made.getvalue()
    found = pickled(content)
    if found:
        raise ModelError(
            f"The program of {name} would hold pickled data ({shown(found[0])}), which can run code when it is loaded; "
            "use plain tensors as weights and buffers of the generator."
        )
    return content


def pickled(content: bytes) -> list[str]:
    """Return the names of the parts of a .pt2 archive that are, or may be, pickles: all that are not known to be none.

    Known are JSON, raw tensors that the archive's own table of contents calls so, short marks of the format, and
    empty parts.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}
    raw = set()
    for table in _WEIGHTS:
        entries = json.loads(parts.get(table[1:], b'{"config": {}}'))["config"]
        raw |= {
            f"{table.rpartition('/')[0][1:]}/{entry['path_name']}"
            for entry in entries.values()
            if not entry["use_pickle"]
        }
    marks = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", "version")
    return [name for name, data in parts.items() if data and name not in raw and name not in marks and not _json(data)]


def _json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _description(info: DirectionInfo, name: str, program: bytes) -> Mapping[str, Any]:
    """Return the entry of export.json for a direction."""
    return {
        "file": f"{name}.pt2",
        "sha256": hashlib.sha256(program).hexdigest(),
        "generator": info.generator.kind,
        "from": name[0],
        "to": name[-1],
        "input_channels": info.in_channels,
        "output_channels": info.out_channels,
        "layout": "n c h w, contiguous, float32 in [-1, 1]",
        "images_at_once": 1 if info.mode == "training" else "any",
        "multiple": info.generator.multiple,
        "smallest_side": _least(info) * info.generator.multiple,
        "random": info.mode == "training",
    }


def _verified(file: Path, translator: Translator, name: str) -> float:
    """Load a program, and return its largest difference from the translator on images of two sizes."""
    from torch.export import load

    rewrite(f"Comparing the program of {name} with its network")
    info = translator.info.directions[name]
    unit, least = info.generator.multiple, _least(info)
    larger = least + _REACH // unit
    try:
        with warnings.catch_warnings():  # torch 2.10 warns of its own way of loading
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            program = load(file).module()
        worst = 0.0
        for number, (height, width) in enumerate(((least, least), (larger + 1, larger))):
            images = _noise(info.in_channels, unit * height, unit * width, number)
            with torch.no_grad(), torch_seeded(0, "translate"), ranks.single_process():
                made: Tensor = program(images)
            worst = max(worst, float((made - translator(images, direction=name)).abs().nan_to_num(torch.inf).max()))
    except Exception as error:  # whatever torch makes of its own file
        reason = shown(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        raise ModelError(f"The program of {name} does not run ({reason}); it was removed.") from error
    if worst > MOST:
        raise ModelError(
            f"The program of {name} differs from its network by {worst:.1e} on the scale [-1, 1]; it was removed. Look "
            "for branches on values or sizes in the generator, which tracing fixes."
        )
    return worst


def _noise(channels: int, height: int, width: int, number: int) -> Tensor:
    """Return one random image, 1 c h w in [-1, 1]."""
    drawn = rng(0, "export", number).random((1, channels, height, width), dtype="float32")
    return torch.from_numpy(drawn) * 2 - 1
