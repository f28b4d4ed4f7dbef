"""The verb that measures speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.training.terminal import print_sentence

if TYPE_CHECKING:
    import torch

    from unpaired.bench.cases import Mode


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

    Gradients of each mode are checked against float64 before it is timed. Images are noise, so no data is
    needed.

    Parameters
    ----------
    size
        Sides of the images in pixels.
    precision
        fp32, bf16; auto: fp32, and bf16 if the device has instructions for it.
    way
        Of the training steps: usual, channels-last (--run.layout channels_last), compiled (--run.acceleration compile,
        which takes minutes at the start); auto: usual, and all three on an NVIDIA GPU.
    rounds
        Number of times that each case is timed; the median is reported.
    batch
        Images a step.
    official
        A clone of the official CycleGAN code to time as well; its code is executed.
    out
        Markdown file for the page, which is also printed.
    json_
        JSON file for every figure.
    device
        auto, cpu, cuda or cuda:N.
    """
    from unpaired.bench.suite import bench as measure
    from unpaired.bench.suite import to_markdown
    from unpaired.config import require
    from unpaired.devices import resolve_device
    from unpaired.storage import write_bytes

    on = resolve_device(device)
    modes = _modes(precision, way, on)
    require(rounds >= 1, f"--rounds must be at least 1, not {rounds}.")
    require(batch >= 1, f"--batch must be at least 1, not {batch}.")
    report = measure(size, modes, device=on, rounds=rounds, batch=batch, official=official)
    page = to_markdown(report)
    print(page, end="")
    for path, text in ((out, page), (json_, report.to_json())):
        if path is not None:
            write_bytes(path, text.encode())
            print_sentence(f"Wrote {path}")


def _modes(precisions: tuple[str, ...], ways: tuple[str, ...], device: torch.device) -> list[Mode]:
    """Return the modes that the options name; "auto" depends on the device. Raises ConfigError for an unknown name."""
    from typing import get_args

    from unpaired.bench.cases import Mode, Way
    from unpaired.config import require
    from unpaired.devices import has_bf16
    from unpaired.suggestions import unknown
    from unpaired.training.run_config import Precision

    known: tuple[Precision, ...] = get_args(Precision)
    known_ways: tuple[Way, ...] = get_args(Way)
    for kind, names, those in (("precision", precisions, known), ("way", ways, known_ways)):
        for name in names:
            require(name in ("auto", *those), unknown(name, ("auto", *those), kind))
    if "auto" in precisions:
        precisions += ("fp32", "bf16") if has_bf16(device) else ("fp32",)
    if "auto" in ways:
        ways += known_ways if device.type == "cuda" else ("usual",)
    return [Mode(number, way) for number in known if number in precisions for way in known_ways if way in ways]
