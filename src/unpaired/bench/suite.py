"""The complete benchmark: gradient check, peak performance, timing of all cases, and a report."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from unpaired.bench.cases import CapturedTrainingCase, Case, Mode, TrainingCase, TranslationCase
from unpaired.bench.ceilings import Ceiling, measure_ceilings
from unpaired.bench.gradients import check_gradients
from unpaired.bench.official_clone import OfficialCode
from unpaired.bench.peak_memory import peak_memory
from unpaired.bench.timing import Timing, in_turns, ratio, share
from unpaired.errors import UnpairedError
from unpaired.training.run_config import Precision
from unpaired.version import __version__

_log = logging.getLogger("unpaired")

OFFICIAL = "official fp32"
GRAPH = " graph"
CEILING = " ceiling"


@dataclass(frozen=True)
class Row:
    """One case: times in seconds, peak memory in bytes (0: not measured), GFLOP/s, and time relative to official code.

    quartiles: lower and upper quartile of the times.
    against: median of the ratios per round, None without a checkout of the official code.
    of_ceiling: median, over the rounds, of the case's FLOP/s relative to those of the dominant convolution.
    """

    kind: str
    size: int
    batch: int
    mode: str
    seconds: float
    quartiles: tuple[float, float]
    images_per_second: float
    gflops: float
    memory: int
    against: float | None
    against_quartiles: tuple[float, float] | None
    of_ceiling: float
    of_ceiling_quartiles: tuple[float, float]


@dataclass(frozen=True)
class Report:
    """Benchmark results, machine and number of rounds; `gradients` contains the cosine to float64 by mode."""

    machine: Mapping[str, Any]
    ceilings: Mapping[str, float]
    gradients: Mapping[str, float]
    rounds: int
    rows: Sequence[Row]

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def bench(
    sizes: Sequence[int],
    modes: Sequence[Mode],
    *,
    device: torch.device,
    rounds: int = 5,
    batch: int = 1,
    official: Path | None = None,
    memory: bool = True,
) -> Report:
    """Time training steps and translations at each size, and the official code for comparison if it is given.

    All cases of one size and kind are timed in turns, together with the convolution that they are compared with. On an
    NVIDIA GPU the steps are also replayed from a CUDA graph.
    Modes that cannot be compiled or captured are skipped with a warning.

    modes: of the training steps; translations are timed with default execution at the same precisions.
    official: checkout of the official code.

    Raises UnpairedError if a mode's gradients or a captured step's losses are wrong, DataError if `official` contains
    no official code.
    """
    theirs = OfficialCode(official) if official else None
    gradients = _checked(modes, min(sizes), device)
    modes = [mode for mode in modes if mode.name in gradients]
    if not modes:
        raise UnpairedError("None of these modes can be timed on this machine; use --way usual.")
    precisions = list(dict.fromkeys(mode.precision for mode in modes))
    _log.info("Measuring the peak performance of the machine.")
    ceilings = measure_ceilings(device, precisions)
    rows: list[Row] = []
    for size in sizes:
        for kind in ("train", "translate"):
            _log.info(f"Timing {kind} at {size} x {size}.")
            timed = modes if kind == "train" else [Mode(precision) for precision in precisions]
            cases = _ours(kind, size, timed, device, batch)
            if theirs is not None:
                make = theirs.training if kind == "train" else theirs.translation
                cases[OFFICIAL] = make(size, device, batch)
                cases[OFFICIAL].flop = next(iter(cases.values())).flop
            probes = _probes(kind, cases, precisions, device)
            timings = in_turns({**cases, **probes}, rounds)
            peaks: dict[str, int] = {}
            if memory:
                peaks = {mode.name: peak_memory(kind, size, mode, device, batch) for mode in timed}
                peaks |= {
                    f"{mode.name}{GRAPH}": peak_memory("captured", size, mode, device, batch)
                    for mode in timed
                    if f"{mode.name}{GRAPH}" in cases
                }
            rows += [_row(kind, size, mode, case, timings, probes, peaks.get(mode, 0)) for mode, case in cases.items()]
    return Report(machine(device), ceilings, gradients, rounds, rows)


def _probes(
    kind: str, cases: Mapping[str, Case], precisions: Sequence[Precision], device: torch.device
) -> dict[str, Ceiling]:
    """Return the dominant convolution as a case, by precision; fp32 also if only the official code computes in it."""
    flop = next(iter(cases.values())).flop
    wanted: dict[Precision, None] = dict.fromkeys(precisions)
    if OFFICIAL in cases:
        wanted["fp32"] = None
    return {f"{name}{CEILING}": Ceiling.beside(flop, name, device, backward=kind == "train") for name in wanted}


def _ours(kind: str, size: int, modes: Sequence[Mode], device: torch.device, batch: int) -> dict[str, Case]:
    """Return our cases of a kind by mode; on an NVIDIA GPU including the captured steps."""
    if kind == "translate":
        return {mode.name: TranslationCase.at(size, mode.precision, device, batch) for mode in modes}
    cases: dict[str, Case] = {
        mode.name: TrainingCase.at(size, mode.precision, device, batch, mode.way) for mode in modes
    }
    return cases | (_captured(size, modes, device, batch) if device.type == "cuda" else {})


def _checked(modes: Sequence[Mode], size: int, device: torch.device) -> dict[str, float]:
    """Return the cosine of the gradients to float64 by mode, without modes that cannot be compiled."""
    gradients: dict[str, float] = {}
    for mode in modes:
        _log.info(f"Checking the gradients of {mode.name} against float64.")
        try:
            gradients[mode.name] = check_gradients(size, mode, device)
        except RuntimeError as error:
            if mode.way != "compiled":
                raise
            _log.warning(f"The networks in {mode.precision} cannot be compiled ({str(error).splitlines()[0]}).")
    return gradients


def _captured(size: int, modes: Sequence[Mode], device: torch.device, batch: int) -> dict[str, Case]:
    """Return the captured steps by mode, without those that cannot be captured."""
    cases: dict[str, Case] = {}
    for mode in modes:
        try:
            captured = CapturedTrainingCase.at(size, mode.precision, device, batch, mode.way)
        except RuntimeError as error:
            _log.warning(f"The step in {mode.name} cannot be captured ({str(error).splitlines()[0]}).")
            continue
        cases[f"{mode.name}{GRAPH}"] = captured
    return cases


def _row(
    kind: str,
    size: int,
    mode: str,
    case: Case,
    timings: Mapping[str, Timing],
    probes: Mapping[str, Ceiling],
    peak: int,
) -> Row:
    timing, beside = timings[mode], _precision(mode) + CEILING
    against = ratio(timing, timings[OFFICIAL]) if OFFICIAL in timings else None
    reached = share(timing, case.flop, timings[beside], probes[beside].flop)
    return Row(
        kind=kind,
        size=size,
        batch=case.images,
        mode=mode,
        seconds=timing.median,
        quartiles=timing.spread,
        images_per_second=case.images / timing.median,
        gflops=case.flop / timing.median / 1e9,
        memory=peak,
        against=against.median if against else None,
        against_quartiles=against.spread if against else None,
        of_ceiling=reached.median,
        of_ceiling_quartiles=reached.spread,
    )


def _precision(mode: str) -> Precision:
    """Return the precision of a mode or of the official code from its name in the report."""
    return "bf16" if mode.startswith("bf16") else "fp32"


def machine(device: torch.device) -> dict[str, Any]:
    """Return the conditions of the measurement: processor or GPU, threads, versions and date."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "unpaired": __version__,
        "day": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    """Return the processor's name if the system provides it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def to_markdown(report: Report) -> str:
    """Return the report as Markdown: machine, peak performance, gradients, and a table of the cases."""
    facts = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    ceilings = "\n".join(
        f"| {name} | {value:.0f} {'GB/s' if name == 'copy' else 'GFLOP/s'} |" for name, value in report.ceilings.items()
    )
    checked = ", ".join(f"{mode} {cosine:.5f}" for mode, cosine in report.gradients.items())
    lines = [
        f"Machine: {facts}. {report.rounds} rounds, in turns; medians, quartiles in brackets.",
        "",
        "| at most, before the turns (3 × 3 convolution, 256 channels, 64 × 64; a copy read + written) | |\n|---|---|",
        ceilings,
        "",
        f"Gradients against float64, cosine of the middle weight: {checked}.",
        "",
        "| | size | batch | mode | seconds | images/s | GFLOP/s | of the ceiling | memory | time against official |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in report.rows),
        "",
        "Of the ceiling: FLOP/s relative to those of that convolution in the same round.",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    low, high = row.quartiles
    reached = "{:.0%} [{:.0%}, {:.0%}]".format(row.of_ceiling, *row.of_ceiling_quartiles)
    against = "–"
    if row.against is not None and row.against_quartiles is not None:
        against = "{:.2f} [{:.2f}, {:.2f}]".format(row.against, *row.against_quartiles)
    memory = f"{row.memory / 1e9:.2f} GB" if row.memory else "–"
    cells = [row.kind, f"{row.size}²", str(row.batch), row.mode, f"{row.seconds:.3g} [{low:.3g}, {high:.3g}]"]
    cells += [f"{row.images_per_second:.2f}", f"{row.gflops:.0f}", reached, memory, against]
    return f"| {' | '.join(cells)} |"
