"""The verb that measures speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.cli.output import say


@app.command
def bench(
    *,
    size: Annotated[tuple[int, ...], Parameter(negative=(), consume_multiple=True)] = (64, 128, 256),
    precision: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)] = ("auto",),
    way: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)] = ("auto",),
    rounds: int = 5,
    batch: int = 1,
    official: Path | None = None,
    out: Path | None = None,
    json_: Annotated[Path | None, Parameter(name="--json")] = None,
    device: str = "auto",
) -> None:
    """Time training steps and translations of the published networks on this machine, in turns, with their spread.

    Gradients of each mode are checked against float64 before it is timed. Noise takes the place of images, so nothing
    is needed.

    Parameters
    ----------
    size
        Sides of the images in pixels.
    precision
        fp32, bf16; auto: fp32, and bf16 where the device has instructions for it.
    way
        Of the training steps: usual, channels-last (--run.layout channels_last), compiled (--run.compile, which takes
        minutes to begin with); auto: usual, and all three on an NVIDIA GPU.
    rounds
        How often each case is timed; the median is reported.
    batch
        Images a step.
    official
        A clone of the official CycleGAN code to time beside; its code is run.
    out
        Markdown file for the page, printed in any case.
    json_
        JSON file for every figure.
    device
        auto, cpu, cuda or cuda:N.
    """
    from typing import get_args

    from unpaired.bench.cases import Mode, Way
    from unpaired.bench.run import bench as measure
    from unpaired.bench.run import to_markdown
    from unpaired.config import require, unknown
    from unpaired.devices import has_bf16, resolve_device
    from unpaired.storage import write_bytes
    from unpaired.training.run_config import Precision

    known: tuple[Precision, ...] = get_args(Precision)
    ways: tuple[Way, ...] = get_args(Way)
    for kind, names, those in (("precision", precision, known), ("way", way, ways)):
        for name in names:
            require(name in ("auto", *those), unknown(name, ("auto", *those), kind))
    on = resolve_device(device)
    if "auto" in way:
        way += ways if on.type == "cuda" else ("usual",)
    if "auto" in precision:
        precision += ("fp32", "bf16") if has_bf16(on) else ("fp32",)
    require(rounds >= 1, f"--rounds must be at least 1, not {rounds}.")
    require(batch >= 1, f"--batch must be at least 1, not {batch}.")
    modes = [Mode(number, how) for number in known if number in precision for how in ways if how in way]
    report = measure(size, modes, device=on, rounds=rounds, batch=batch, official=official, say=say)
    page = to_markdown(report)
    print(page, end="")
    for path, text in ((out, page), (json_, report.to_json())):
        if path is not None:
            write_bytes(path, text.encode())
            say(f"Wrote {path}")
