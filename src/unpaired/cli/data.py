"""The verbs under `unpaired data`: data sets to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unpaired.cli.app import data_app
from unpaired.cli.output import ByteLines, say


@data_app.command
def draw(
    root: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    a: str = "summer",
    b: str = "winter",
    paired: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    count: int = 600,
    num_test: int | None = None,
    size: int = 64,
    seed: int = 0,
) -> None:
    """Write drawn landscapes as trainA, trainB, testA and testB, or as side-by-side pairs.

    Parameters
    ----------
    root
        Folder to write to.
    a
        Style of domain A: summer, winter, night or labels.
    b
        Style of domain B, likewise.
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
    """
    from unpaired.data.draw import draw_dataset, draw_pairs

    write = draw_pairs if paired else draw_dataset
    write(root, a=a, b=b, count=count, size=size, seed=seed, num_test=num_test)
    say(f"Wrote {root}: {a} and {b}, {count} training scenes {'in pairs' if paired else 'each'}, {size} x {size}")


@data_app.command
def download(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    out: Path | None = None,
    paired: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    url: str | None = None,
) -> None:
    """Fetch a published data set, ready to train on; the same command again continues an interrupted download.

    Parameters
    ----------
    name
        A set that CycleGAN or pix2pix was published with, e.g. horse2zebra or edges2shoes (docs/data.md has them all).
    out
        Folder for the data set (default: datasets/NAME).
    paired
        Fetch pix2pix's pairs where CycleGAN has a set of the same name: facades and maps.
    url
        A server with a copy, instead of the authors'; its paths are theirs.
    """
    from unpaired.data.download import PUBLISHED_AT, download

    arrived = download(name, out=out, paired=paired, url=url or PUBLISHED_AT, listener=ByteLines(), say=say)
    say(f"{arrived.path}: {arrived.num_bytes:,} bytes, SHA-256 {arrived.sha256}")
