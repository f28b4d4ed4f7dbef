"""The model card: README.md of a model folder, for its users."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unpaired.config import from_dict
from unpaired.models.scale_info import ScaleInfo
from unpaired.registry import origin_from_json
from unpaired.storage import shown

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&:@!$^=]|(?<=www)\.")
"""Special characters of Markdown and HTML: emphasis, links, headings, tables, tags, addresses, mentions, formulas."""

_FILE = re.compile(r"[^\w./-]")
"""Characters of a file name that need quoting in a shell or in Python."""

_CARD = """# {a} to {b}

An image-to-image translation model, trained on images of *{a}* (A) and *{b}* (B) with {objective}.
It translates {directions}.

## Use

With the package `unpaired` (`pip install .` in a clone of its repository):

{use}

## Facts

| | |
|---|---|
{facts}

Generated images are invented: they resemble the training images and are no evidence of the real content.
"""

_TRANSLATES = """    unpaired translate PATH_TO_THIS_FOLDER IMAGES --direction {first}{recipe}

or, in Python:

    import unpaired
{load}    translator = unpaired.load("PATH_TO_THIS_FOLDER")
    translated = translator("{image}", direction="{first}")
    translated.save("translated{suffix}")

Pillow images, arrays and tensors are translated too.
Images of any size and aspect ratio; the output is as large as the input."""

_SEARCHES = """

A translation is an optimisation of {steps} steps, which takes seconds per image on a processor.
It works at {size} x {size} pixels: images are resized to it, and results back, so fine detail is lost."""

_SAMPLES = """    unpaired sample PATH_TO_THIS_FOLDER{recipe}

or, in Python:

    import unpaired
{load}    sampler = unpaired.Sampler.load("PATH_TO_THIS_FOLDER")
    images = [image.to_pil() for _, image in sampler(16)]

The model draws images from noise and translates none."""


def model_card(model: Mapping[str, Any]) -> str:
    """Return the card as Markdown for the content of a model.json."""
    training, names = model["training"], {domain: _text(name) for domain, name in model["domains"].items()}
    directions = {"AtoB": f"{names['A']} to {names['B']}", "BtoA": f"{names['B']} to {names['A']}"}
    known = {key: "not recorded" if value is None else value for key, value in training.items()}
    choice = model.get("choice")
    chosen = (
        f", selected by {choice['looks']} evaluations up to step {choice['run_step']}: {_text(choice['rule'])}"
        if choice
        else ""
    )
    rows = {
        "training steps": f"{known['step']}{chosen}",
        **({"started from": _start(model["started_from"])} if "started_from" in model else {}),
        "size in training": f"{known['load_size']} pixels, cropped to {known['crop_size']}",
        "seed": known["seed"],
        "weights": training["weights"],
        "values of A and B": ", ".join(_range(model["value_range"], name) for name in ("A", "B")),
        "colours with an ICC profile": "converted to sRGB" if model["icc"] == "convert" else "taken as they are",
        "transparent images": f"laid over the colour {tuple(model['background'])}",
        "made by": _text(model["package"]),
        **{f"needs the {_text(part)}": f"of {_origin(entry)}" for part, entry in model.get("requires", {}).items()},
    }
    if "scale" in model:
        scale = from_dict(ScaleInfo, model["scale"], "scale")
        words = dict.fromkeys(scale.words(domain) for domain in ("A", "B"))
        advice = "; `--resize trained` translates at that scale" if scale.resizes else ""
        rows["scale of training"] = f"{', '.join(words)}{advice}"
    if model.get("masked") is True:
        rows["masks"] = (
            "training used masks, so pixels outside of one are translated arbitrarily; give `--mask` with each image"
        )
    if "side_by_side" in model:
        rows["training images"] = (
            "A and B side by side in each; `--pairs side-by-side` translates one half of such images"
        )
    for name, entry in model["directions"].items():
        settings = ", ".join(f"{key} {value}" for key, value in entry["generator"].items())
        rows[f"{name} generator"] = f"{settings}; {entry['in_channels']} to {entry['out_channels']} channels"
        rows[f"{name} SHA-256"] = f"`{entry['sha256']}`"
    return _CARD.format(
        a=names["A"],
        b=names["B"],
        objective=_text(training["objective"]),
        directions=" and ".join(f"{directions[name]} (`{name}`)" for name in model["directions"]),
        use=_use(model),
        facts="\n".join(f"| {key} | {_cell(value)} |" for key, value in rows.items()),
    )


def _start(entry: Mapping[str, Any]) -> str:
    """Return the source of the first weights, with its step and its SHA-256."""
    step = "" if entry["step"] is None else f", step {entry['step']}"
    return f"{_text(entry['source'])}{step} (SHA-256 of its weights `{entry['sha256']}`)"


def _use(model: Mapping[str, Any]) -> str:
    """Return the commands and the Python code that use the model."""
    directions = model["directions"]
    files = [entry["file"] for entry in model.get("requires", {}).values() if entry.get("file")]
    file = _FILE.sub("_", files[0]) if files else ""
    recipe, load = "", ""
    if file:
        recipe, load = f" --recipe {file}", f'    unpaired.recipes.load_file("{file}")\n'
    if any(entry["generator"]["kind"] == "dcgan" for entry in directions.values()):
        return _SAMPLES.format(recipe=recipe, load=load)
    first, entry = next(iter(directions.items()))
    photo = {entry["in_channels"], entry["out_channels"]} <= {1, 3} and all(
        values["dtype"] in ("", "uint8") for values in model["value_range"].values()
    )
    suffix = ".jpg" if photo else ".tif"
    made = _TRANSLATES.format(first=first, recipe=recipe, load=load, image=f"image{suffix}", suffix=suffix)
    generator = entry["generator"]
    if generator["kind"] == "coupled":
        made += _SEARCHES.format(steps=int(generator["num_inversion_steps"]), size=int(generator["size"]))
    return made


def _text(value: object) -> str:
    """Return untrusted text as Markdown, with special characters escaped."""
    return _SPECIAL.sub(r"\\\g<0>", shown(value))


def _origin(entry: Mapping[str, str]) -> str:
    """Return "the package unpaired-wide 1.2" or "the file wide.py"."""
    return _text(str(origin_from_json(entry)))


def _cell(value: object) -> str:
    return " ".join(str(value).split())


def _range(values: Mapping[str, Any], domain: str) -> str:
    """Return "0..4095 of uint16", or "the whole range of uint8"."""
    entry = values[domain]
    dtype = entry["dtype"] or "the image's type"
    return f"the whole range of {dtype}" if entry["range"] == "dtype" else f"{entry['range']} of {dtype}"
