"""The description of a model folder in model.json, read without torch and without the networks that it names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unpaired.config import from_dict, require
from unpaired.errors import ConfigError, ModelError
from unpaired.models import bounds as checked
from unpaired.models.by_name import located
from unpaired.models.scale_info import ScaleInfo
from unpaired.models.selection_info import ChoiceInfo
from unpaired.storage import at_home, shown

SCHEMA = 1
"""Schema version of model.json; incremented when a key is renamed or changes its meaning."""

DIRECTIONS = ("AtoB", "BtoA")
"""All names of directions."""


_MAX_JSON = 2**20


@dataclass(frozen=True, kw_only=True)
class TrainingInfo:
    """Training information; sizes in pixels. None if unknown: official files contain neither step nor seed.

    weights: raw weights ("trained") or EMA weights ("averaged").
    """

    step: int | None
    seed: int | None
    load_size: int | None
    crop_size: int | None
    objective: str
    weights: Literal["trained", "averaged"] = "trained"


@dataclass(frozen=True, kw_only=True)
class Description:
    """The facts of model.json that need no network.

    domains: names of the domains, by A and B.
    directions: by name the kind of the generator, its input and its output channels.
    package: name and version of the package that wrote it.
    """

    domains: dict[str, str]
    directions: dict[str, tuple[str, int, int]]
    training: TrainingInfo
    scale: ScaleInfo | None
    choice: ChoiceInfo | None
    package: str


def describe_model(folder: Path) -> Description:
    """Read the description in a model folder, or in that of a run. Raises ModelError, also for invalid values."""
    path = find_model(folder) / "model.json"
    data = read_json(path)
    try:
        checked.colour(data["background"])
        return Description(
            domains={key: checked.text(data["domains"][key], f"domains.{key}") for key in ("A", "B")},
            directions={_direction(name): _generator(name, entry) for name, entry in data["directions"].items()},
            training=checked.sides(from_dict(TrainingInfo, data["training"], "training")),
            scale=from_dict(ScaleInfo, data["scale"], "scale") if "scale" in data else None,
            choice=from_dict(ChoiceInfo, data["choice"], "choice") if "choice" in data else None,
            package=checked.text(data["package"], "package"),
        )
    except ConfigError as error:
        reason = str(error).rstrip(".")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"an entry is missing or invalid ({error})"
    raise ModelError(f"{shown(path)} does not describe a model: {shown(reason)[:400]}; publish it again.")


def _direction(name: str) -> str:
    require(name in DIRECTIONS, f"the direction {name!r} is unknown")
    return name


def _generator(name: str, entry: Any) -> tuple[str, int, int]:
    """Return the kind of a generator and its channels."""
    kind = checked.text(entry["generator"]["kind"], f"directions.{name}.generator.kind")
    channels = [entry[key] for key in ("in_channels", "out_channels")]
    require(all(type(count) is int and count >= 1 for count in channels), f"directions.{name} has channels {channels}")
    return kind, channels[0], channels[1]


def find_model(path: Path) -> Path:
    """Return the model folder for `path`: a model folder, a run folder, or the name of a model. Raises ModelError."""
    path = located(at_home(path))
    for folder in (path, path / "model"):
        for candidate in (folder, beside(folder, "old")):
            if (candidate / "model.json").is_file():
                return candidate
    from unpaired.models.mistaken import no_model

    raise no_model(path)


def beside(folder: Path, role: str) -> Path:
    """Return the hidden folder beside a model folder with a role: "new" while it is written, "old" while replaced."""
    folder = folder.absolute()
    return folder.parent / f".{folder.name}.{role}"


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a model.json of this schema. Raises ModelError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_JSON + 1)
        if len(content) > _MAX_JSON:
            raise ModelError(
                f"{shown(path)} has more than {_MAX_JSON:,} bytes, the limit for model.json; copy it again."
            )
        data = json.loads(content)
    except OSError as error:
        raise ModelError(f"Cannot read {shown(path)}: {error.strerror}; check its permissions.") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{shown(path)} is damaged: it is not JSON; publish the model again.") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise ModelError(
            f"{shown(path)} has schema {shown(repr(schema))[:40]} and this version reads {SCHEMA}; "
            "use the version of unpaired that wrote it."
        )
    assert isinstance(data, dict)
    return data
