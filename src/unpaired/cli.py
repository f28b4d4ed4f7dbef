"""The command line: parses, calls, prints; no logic of its own.

torch is imported inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.table import Table

from unpaired.errors import ConfigError, DataError, Interrupted, UnpairedError
from unpaired.storage import shown
from unpaired.version import __version__

if TYPE_CHECKING:
    from unpaired.demo import DemoResult
    from unpaired.recipes import Config
    from unpaired.training.loop import Progress

USAGE = 64
"""Exit code for a command line that cannot be understood (sysexits EX_USAGE)."""

app = App(
    name="unpaired",
    help="Image-to-image translation learnt from two folders of images that were never matched up.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
)
data_app = App(name="data", help="Draw data sets to try things on, or fetch published ones.")
app.command(data_app)


@app.command
def train(
    data: Annotated[Path | None, Parameter(name="DATA")] = None,
    /,
    *,
    a: Path | None = None,
    b: Path | None = None,
    out: Path | None = None,
    recipe: str = "paper",
    config: Path | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    checkpoint_every: int | None = None,
    dry_run: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show=False, negative=())] = (),
) -> None:
    """Train on two folders of images; the same command again continues an interrupted run.

    Every other setting is an option too, by its dotted name: --optimizer.learning-rate 1e-4,
    --objective.identity-weight 0, --data.batch-size 4; --dry-run shows them all.

    Parameters
    ----------
    data
        Folder that holds trainA and trainB (and testA and testB for the sample grids).
    a
        Folder of images of domain A, instead of DATA.
    b
        Folder of images of domain B, instead of DATA.
    out
        The run folder (default: runs/NAME OF DATA).
    recipe
        paper (CycleGAN as published), demo, cyclegan, cycle-alone, gan-alone, gan-forward, gan-backward, pix2pix,
        pix2pix-l1, pix2pix-l1-gan, pix2pix-cgan, cut, fastcut, gan, cgan, or your own as FILE.py:FUNCTION.
    config
        YAML file of settings laid over the recipe.
    steps
        Length of the run in steps, half at the full learning rate and half decaying, instead of the recipe's.
    epochs
        Length of the run in epochs, half of them decaying, instead of the recipe's.
    size
        Side of the training crops in pixels; images are resized in the published proportion.
    seed
        Seed of every draw.
    device
        auto, cpu, cuda, cuda:N or mps.
    checkpoint_every
        Steps between two checkpoints.
    dry_run
        Print the resolved configuration and stop.
    """
    from unpaired.config import to_yaml
    from unpaired.runs import train as train_run

    quick = {
        "data.root": data,
        "data.a": a,
        "data.b": b,
        "run.seed": seed,
        "run.device": device,
        "run.checkpoint_every": checkpoint_every,
    }
    given = {key: str(value) if isinstance(value, Path) else value for key, value in quick.items() if value is not None}
    resolved = resolve(recipe, config, size, steps, epochs, given, set_)
    if dry_run:
        print(to_yaml(resolved), end="")
        return
    run = train_run(resolved, out=out, listener=ProgressLines(), say=say)
    say(f"Model: {run.path / 'model'}   Report: {run.path / 'report.html'}")
    say(f"Translate with it: unpaired translate {run.path} IMAGE...")


@app.command
def translate(
    model: Annotated[Path, Parameter(name="MODEL")],
    inputs: Annotated[tuple[str, ...], Parameter(name="INPUT", negative=())],
    /,
    *,
    direction: str = "AtoB",
    out: Path | None = None,
    format: str | None = None,
    batch: int = 1,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> int:
    """Translate images of any size with a run or a model folder; each result is exactly as large as its input.

    Parameters
    ----------
    model
        A run folder, or the model folder in it.
    inputs
        Images, folders (searched through) and globs.
    direction
        AtoB or BtoA.
    out
        Folder for the results (default: MODEL/translated/DIRECTION).
    format
        File format of the results, e.g. png (default: that of each input).
    batch
        Images of one size that are translated together.
    overwrite
        Replace results that exist already.
    device
        auto, cpu, cuda, cuda:N or mps.
    precision
        auto, fp32 or bf16.
    """
    from unpaired.translate.files import Failure, Job, plan_outputs, translate_files
    from unpaired.translate.translator import Translator

    translator = Translator.load(model, device=device, precision=precision)
    folder = out if out is not None else model / "translated" / direction
    plan = plan_outputs(inputs, folder, format=format, overwrite=overwrite, direction=direction)
    if plan.num_ignored:
        say(f"Passed over {plan.num_ignored} files that are no images.")

    def done(job: Job, failure: Failure | None) -> None:
        made = f"{shown(job.source)} -> {shown(job.target)}"
        print(made if failure is None else f"failed: {failure.error}", flush=True)

    failures = translate_files(translator, plan.jobs, direction=direction, batch=batch, on_done=done)
    say(f"Translated {len(plan.jobs) - len(failures)} of {len(plan.jobs)} images into {folder}")
    return DataError.exit_code if failures else 0


@app.command
def demo(
    *,
    out: Path = Path("runs/demo"),
    steps: int | None = None,
    count: int = 600,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Draw a world, learn to turn its summers into winters from unmatched scenes, and score the result against truth.

    Takes minutes on two processor cores and needs no data. The same command again continues an interrupted demo.

    Parameters
    ----------
    out
        The run folder.
    steps
        Training steps, instead of the demo recipe's.
    count
        Scenes drawn for each domain.
    seed
        Seed of every draw, of scenes and of training.
    device
        auto, cpu, cuda, cuda:N or mps.
    """
    from unpaired.demo import run_demo

    result = run_demo(
        out, num_train=count, num_steps=steps, seed=seed, device=device, listener=ProgressLines(), say=say
    )
    print_demo(result, out)


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


@app.command(name="import")
def import_(
    path: Annotated[Path, Parameter(name="DIR_OR_PTH")],
    /,
    *,
    out: Path,
) -> None:
    """Make a model folder of files of the official CycleGAN and pix2pix code; no flag says what network they hold.

    Parameters
    ----------
    path
        A .pth file, or a folder of them such as checkpoints/NAME; its latest generators are taken.
    out
        The model folder to make.
    """
    from unpaired.official import import_official

    made = import_official(path, out)
    for note in made.notes:
        say(note)
    directions = list(made.info.directions)
    flag = "" if "AtoB" in directions else " --direction BtoA"
    say(f"Model: {made.folder} ({' and '.join(directions)})")
    say(f"Translate with it: unpaired translate {made.folder} IMAGE...{flag}")


@app.command
def export(
    model: Annotated[Path, Parameter(name="MODEL")],
    /,
    *,
    out: Path,
    format: Literal["official"] = "official",
) -> None:
    """Write a model in another form: official is the .pth files that the official CycleGAN and pix2pix code loads.

    Parameters
    ----------
    model
        A run folder (its discriminators are written too), or a model folder.
    out
        Folder for the files, such as checkpoints/NAME of the official code.
    format
        official.
    """
    from unpaired.official import export_official

    made = export_official(model, out)
    for file in made.files:
        print(shown(file))
    for note in made.notes:
        say(note)
    say(f"Test with the official code: {made.command}")


@app.command
def info(
    run: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
) -> None:
    """Say what a run is and where it stands.

    Parameters
    ----------
    run
        The run folder.
    json_
        Print JSON instead of a table.
    """
    from unpaired.runs import info as run_info

    found = run_info(run)
    facts: dict[str, Any] = {**asdict(found), "path": str(found.path), "finished": found.finished}
    if json_:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        items = value.items() if isinstance(value, dict) else ()
        text = ", ".join(f"{name} {item}" for name, item in items) if isinstance(value, dict) else str(value)
        table.add_row(key.replace("_", " "), text)
    console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit: 0, or the error's code after its one sentence on standard error."""
    tokens = dotted_settings(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(" ".join(str(error).split()), USAGE)
    except Interrupted as stopped:
        fail(str(stopped), 128 + stopped.signum)
    except UnpairedError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("Stopped.", 130)
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        sys.stderr.close()
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)


def fail(sentence: str, code: int) -> None:
    """Print one sentence on standard error and exit with `code`."""
    print(f"unpaired: {sentence}", file=sys.stderr)
    sys.exit(code)


def dotted_settings(tokens: Sequence[str]) -> list[str]:
    """Return the command line with every setting given by its dotted name, --data.flip no, as --set data.flip=no."""
    rest = list(tokens)
    result: list[str] = []
    while rest:
        token = rest.pop(0)
        name, equals, value = token.partition("=")
        if token == "--":  # noqa: S105 - the end of options, not a password
            return [*result, token, *rest]
        if not name.startswith("--") or "." not in name:
            result.append(token)
            continue
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        result += ["--set", f"{name[2:]}={value}"]
    return result


def resolve(
    recipe: str,
    file: Path | None,
    size: int | None,
    steps: int | None,
    epochs: int | None,
    quick: dict[str, Any],
    settings: Sequence[str],
) -> Config:
    """Return the configuration: the recipe, over it the file, then the short options, then the dotted settings."""
    from unpaired.config import override, read_yaml
    from unpaired.recipes import Config, at_size, named

    config = named(recipe)
    if size is not None:
        config = at_size(config, size)
    if file is not None:
        config = read_yaml(Config, file, base=config)
    if steps is not None and epochs is not None:
        raise ConfigError("--steps and --epochs are both given; a run has one length, so give one of them.")
    if steps is not None:
        quick["schedule.num_steps"] = steps
    if epochs is not None:
        phases = {"schedule.num_epochs_constant": epochs - epochs // 2, "schedule.num_epochs_decay": epochs // 2}
        quick.update({**phases, "schedule.num_steps": None})
    pairs = [setting.split("=", 1) for setting in settings]
    return override(config, {**quick, **{pair[0]: pair[1] for pair in pairs}})


def console() -> Console:
    """Return where tables are printed: colours on a terminal, plain text of 100 columns in a file."""
    return Console(width=None if sys.stdout.isatty() else 100)


def say(sentence: str) -> None:
    """Print a sentence at once."""
    print(sentence, flush=True)


class ProgressLines:
    """Prints logged steps: on a terminal one line that keeps changing, in a log file a line every ten seconds.

    The first and the last step are always printed, and on a terminal a line stays behind every minute.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._spacing = 60.0 if self._terminal else 10.0
        self._kept = -self._spacing

    def __call__(self, progress: Progress) -> None:
        """Print a step, if it is time to."""
        from unpaired.training.recorder import duration

        keep = progress.seconds - self._kept >= self._spacing or progress.step == progress.num_steps
        if keep:
            self._kept = progress.seconds
        elif not self._terminal:
            return
        losses = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        line = (
            f"step {progress.step:{len(str(progress.num_steps))}d}/{progress.num_steps}  epoch {progress.epoch}  "
            f"{progress.images_per_second:.1f} images/s  {duration(progress.seconds_left)} left  {losses}"
        )
        if self._terminal:
            clear = "\r\x1b[K"
            line = clear + (line if keep else line[: console().width - 1])
        print(line, end="\n" if keep else "", flush=True)


class ByteLines:
    """Prints how much has arrived: on a terminal one line that keeps changing, in a log file one every ten seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._printed = 0.0

    def __call__(self, received: int, total: int) -> None:
        """Print the bytes received of all (0: unknown), if it is time to."""
        now, last = time.monotonic(), received == total
        if not last and now - self._printed < (0.2 if self._terminal else 10.0):
            return
        self._printed = now
        share = f" of {total / 1e6:.1f} MB  {received / total:.0%}" if total else " MB"
        line = f"{received / 1e6:.1f}{share}"
        print(
            f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal and not last else "\n", flush=True
        )


def print_demo(result: DemoResult, out: Path) -> None:
    """Print the demo's table, best figures of each column in bold, and where the pictures are."""
    titles = {
        "none": "no translation",
        "colour": "best colour transform*",
        "model": "this model",
    }
    table = Table(title="Against truth, on scenes never seen in training")
    table.add_column("")
    for title in ("→ winter L1", "PSNR", "SSIM", "→ summer L1", "PSNR", "SSIM"):
        table.add_column(title, justify="right")
    for name, title in titles.items():
        cells = []
        for direction in ("AtoB", "BtoA"):
            scores = result.scores[name][direction]
            cells += [f"{scores.l1:.3f}", f"{scores.psnr:.2f}", f"{scores.ssim:.3f}"]
        table.add_row(title, *cells, style="bold" if name == "model" else "")
    console().print(table)
    print("* a polynomial of degree 4 in (r, g, b) for each channel, fitted with the truth that the model never sees")
    print(f"{result.seconds:.0f} seconds.  Pictures: {out / 'demo.png'}   Report: {out / 'report.html'}")


if __name__ == "__main__":
    main()
