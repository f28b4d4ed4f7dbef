"""The verb that reproduces tables of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.training.terminal import ProgressLines, print_sentence


@app.command
def reproduce(
    table: Annotated[Literal["fcn", "ablation"], Parameter(name="TABLE")],
    /,
    *,
    out: Path | None = None,
    data: Literal["drawn", "cityscapes", "maps"] = "drawn",
    root: Path | None = None,
    steps: int = 1500,
    seeds: Annotated[tuple[int, ...], Parameter(negative=(), consume_multiple=True)] = (0, 1, 2),
    size: int | None = None,
    methods: str | None = None,
    features: str | None = None,
) -> None:
    """Reproduce a table of the CycleGAN paper: train its methods alike, and evaluate their translations as it does.

    Labels to photo is evaluated by a segmentation network trained on real images, photo to labels by the nearest class
    colour. The same command again continues an interrupted one; runs are kept.

    Parameters
    ----------
    table
        fcn (the paper's methods, and CUT; tables 2 and 3) or ablation (CycleGAN without its parts; tables 4 and 5).
    out
        Folder for the data, the runs and the table (default: runs/reproduce-DATA).
    data
        drawn (no data needed), cityscapes or maps.
    root
        The folder of Cityscapes, or of the maps.
    steps
        Training steps of each run.
    seeds
        Seeds, with a run of each method for each.
    size
        Side of the images (default: 64; cityscapes 128).
    methods
        Rows of the table, comma-separated (default: all of them).
    features
        Features of the row feature-gan: random (the default), vgg16:FILE, vgg19:FILE or discriminator:PATH.
    """
    from unpaired.config import require
    from unpaired.reproduce import labelled
    from unpaired.reproduce.methods import rows_of
    from unpaired.reproduce.pictures import draw_methods
    from unpaired.reproduce.tables import make_table, to_markdown
    from unpaired.storage import write_bytes

    rows, seeds = rows_of(table, methods), tuple(dict.fromkeys(seeds))
    require(
        features is None or "feature-gan" in rows,
        "--features belongs to the row feature-gan, which is not among the rows to make; leave it out.",
    )
    folder = out if out is not None else Path("runs") / f"reproduce-{data}"
    require(data == "drawn" or root is not None, f"--data {data} needs --root DIR, the folder of the data.")
    if data == "drawn":
        prepared = labelled.drawn(folder / "data", size=size or 64)
    else:
        assert root is not None
        prepare = labelled.cityscapes if data == "cityscapes" else labelled.maps
        print_sentence(f"Preparing {root}.")
        prepared = prepare(root, folder / "data", size=size or (128 if data == "cityscapes" else 64))
    made = make_table(
        prepared,
        folder,
        methods=rows,
        seeds=seeds,
        steps=steps,
        features=features or "random",
        listener=ProgressLines(),
    )
    page = to_markdown(made)
    picture = folder / f"{table}.png"
    draw_methods(picture, prepared, folder, methods=rows, seed=seeds[0])
    write_bytes(folder / f"{table}.md", page.encode())
    print(page, end="")
    print_sentence(f"Wrote {folder / f'{table}.md'} and {picture.name}, test images translated by each method.")
