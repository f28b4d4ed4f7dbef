"""The list of ready-made models, read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unpaired.errors import UnpairedError
from unpaired.models.by_name import BUNDLED, data_folder, models_in
from unpaired.models.description import describe_model
from unpaired.models.published_weights import LICENCE, PUBLISHED_WEIGHTS, PublishedWeights

ORIGIN = "origin.json"
"""The file of a model folder with its licence, credit and source."""

Place = Literal["with the package", "fetched", "not fetched", "yours"]

_MOST = 2**16  # bytes of an origin.json


@dataclass(frozen=True, kw_only=True)
class ReadyModel:
    """One model that can be used or fetched by name.

    domains: names of A and B. directions: "AtoB" and "BtoA", as far as the model has them.
    size: side of the training crops in pixels, None if unknown.
    num_bytes: of its files; approximate for a model that is not fetched (`exact`).
    place: "yours" is a model that somebody else put into the data folder. path: "" for one that is not fetched.
    problem: why it cannot be used, "" if it can.
    """

    name: str
    domains: tuple[str, str]
    directions: tuple[str, ...]
    size: int | None
    num_bytes: int
    exact: bool
    licence: str
    credit: str
    place: Place
    path: str = ""
    about: str = ""
    problem: str = ""


def ready_models() -> list[ReadyModel]:
    """Return all models: those of the package, those in the data folder, and those that can be fetched."""
    bundled = models_in(BUNDLED)
    there = {name: path for name, path in models_in(data_folder()).items() if name not in bundled}
    found = [_described(name, path, "with the package") for name, path in bundled.items()]
    for name, path in there.items():
        found.append(_described(name, path, "fetched" if read_origin(path).get("url") else "yours"))
    published = [each for name, each in PUBLISHED_WEIGHTS.items() if name not in bundled and name not in there]
    return found + [_published(each) for each in published]


def read_origin(folder: Path) -> dict[str, Any]:
    """Return the content of a model's origin.json, {} if there is none or it is damaged."""
    try:
        with (folder / ORIGIN).open("rb") as file:
            content = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    try:
        return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    except OSError:
        return 0


def _described(name: str, folder: Path, place: Place) -> ReadyModel:
    origin, listed = read_origin(folder), PUBLISHED_WEIGHTS.get(name)
    texts = {key: _text(origin.get(key)) for key in ("about", "licence", "credit")}
    domains, size, problem = ("", ""), listed.size if listed else None, ""
    directions: tuple[str, ...] = ()
    try:
        found = describe_model(folder)
    except UnpairedError as error:
        problem = str(error)
    else:
        domains = found.domains["A"], found.domains["B"]
        directions, size = tuple(found.directions), found.training.crop_size or size
    return ReadyModel(
        name=name,
        domains=domains,
        directions=directions,
        size=size,
        num_bytes=size_of(folder),
        exact=True,
        place=place,
        path=str(folder),
        problem=problem,
        **texts,
    )


def _published(each: PublishedWeights) -> ReadyModel:
    return ReadyModel(
        name=each.name,
        domains=each.domains,
        directions=("AtoB",),
        size=each.size,
        num_bytes=each.num_bytes,
        exact=False,
        licence=LICENCE,
        credit=each.credit,
        place="not fetched",
        about=each.about,
    )


def _text(value: Any) -> str:
    return value[:300] if isinstance(value, str) else ""
