"""The verbs under `unpaired data`: check own images, draw or download data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unpaired.cli.app import data_app
from unpaired.cli.data_check import decoders_silent, print_checkup
from unpaired.cli.output import ByteLines
from unpaired.cli.own_parts import load_parts
from unpaired.errors import DataError
from unpaired.headway import followed
from unpaired.training.terminal import print_sentence, sentences_printed


@data_app.command
def check(
    data: Annotated[Path | None, Parameter(name="DATA")] = None,
    /,
    *,
    a: Path | None = None,
    b: Path | None = None,
    size: int | None = None,
    preprocess: Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"] | None = None,
    pairing: Literal["unpaired", "paired", "noise"] | None = None,
    range_: Annotated[str, Parameter(name="--range", allow_leading_hyphen=True)] = "dtype",
    channels_a: int = 3,
    channels_b: int = 3,
    json_: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
    html: Path | None = None,
    recipe: Path | None = None,
) -> int:
    """Check every file as training would; report its faults, their effect on training and the remedy.

    The exit code is 65 if training would stop, and 0 otherwise.

    Parameters
    ----------
    data
        Folder that holds trainA and trainB, or pairs; or any folder of images.
    a
        Folder of images of domain A, instead of DATA.
    b
        Folder of images of domain B, instead of DATA.
    size
        Side of the training crops in pixels (default: 256).
    preprocess
        How images become crops (default: resize_and_crop).
    pairing
        Layout of the folders (default: detected).
    range_
        Values that become black and white in training, as in train: dtype, LOW..HIGH or pLOW..pHIGH.
    channels_a
        Channels of images of domain A in training.
    channels_b
        Channels of images of domain B in training.
    json_
        Print JSON, with every file, instead of a table.
    html
        Write a page with thumbnails to this file.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from unpaired.doctor.sheet import write_sheet
    from unpaired.public import check as check_folder

    # Progress must not be part of JSON that is written to a file.
    with decoders_silent(), sentences_printed("stderr" if json_ else "stdout"):
        checkup = check_folder(
            data or "",
            a=a or "",
            b=b or "",
            size=size,
            preprocess=preprocess,
            pairing=pairing or "",
            range=range_,
            channels_a=channels_a,
            channels_b=channels_b,
            progress=followed("Inspecting", "file"),
        )
        if html is not None:
            write_sheet(html, checkup)
    if json_:
        print(json.dumps(checkup.as_json(), indent=1))  # in ASCII, since names need not be valid text
    else:
        print_checkup(checkup)
        if html is not None:
            print_sentence(f"Page: {html}")
    return DataError.exit_code if checkup.count("error") else 0


@data_app.command
def draw(
    root: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    world: Literal["landscapes", "shapes", "fruit"] = "landscapes",
    a: str | None = None,
    b: str | None = None,
    paired: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    count: int = 600,
    num_test: int | None = None,
    size: int = 64,
    seed: int = 0,
    strangers: int = 0,
) -> None:
    """Write drawn scenes as trainA, trainB, testA and testB, or as side-by-side pairs.

    Parameters
    ----------
    root
        Folder to write to.
    world
        What is drawn. Landscapes change in colour and texture; the objects of shapes and fruit change in form.
    a
        Style of domain A: summer, winter, night, labels or blossom; circles or squares; round-fruit or long-fruit
        (default: the first of the world).
    b
        Style of domain B, likewise (default: the second of the world).
    paired
        Write train and test folders of A and B side by side, as pix2pix takes them.
    count
        Training scenes a domain (or pairs).
    num_test
        Test scenes, the same ones in both styles (default: a tenth of the training scenes).
    size
        Side of each image in pixels.
    seed
        Seed of the world; other seeds share no scene.
    strangers
        Objects in each test scene that no training scene contains; strangers/ has their masks.
    """
    from unpaired.config import require
    from unpaired.scenes.draw import draw_dataset, draw_pairs
    from unpaired.scenes.worlds import WORLDS

    a, b = a or WORLDS[world][0], b or WORLDS[world][1]
    if paired:
        require(not strangers, "--strangers is for unpaired scenes; remove --paired.")
        draw_pairs(root, a=a, b=b, count=count, size=size, seed=seed, num_test=num_test)
    else:
        draw_dataset(root, a=a, b=b, count=count, size=size, seed=seed, num_test=num_test, strangers=strangers)
    print_sentence(
        f"Wrote {root}: {a} and {b}, {count} training scenes {'in pairs' if paired else 'each'}, {size} x {size}"
    )


@data_app.command
def download(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    out: Path | None = None,
    paired: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    url: str | None = None,
) -> None:
    """Download a published data set, ready to train on; the same command again continues an interrupted download.

    Parameters
    ----------
    name
        A data set of the CycleGAN or pix2pix paper, e.g. horse2zebra or edges2shoes (docs/data.md lists them all).
    out
        Folder for the data set (default: datasets/NAME).
    paired
        Download the pairs of pix2pix if CycleGAN has a set of the same name: facades and maps.
    url
        A mirror of the authors' server, with the same paths.
    """
    from unpaired.data.download import PUBLISHED_AT, download

    arrived = download(name, out=out, paired=paired, url=url or PUBLISHED_AT, listener=ByteLines())
    print_sentence(f"{arrived.path}: {arrived.num_bytes:,} bytes, SHA-256 {arrived.sha256}")
