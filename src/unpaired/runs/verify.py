"""Verifies a run or a model folder: compares every file with its hash and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint, lost_checkpoint, read_manifest
from unpaired.artifacts.history import History
from unpaired.artifacts.part_records import read_config, read_origins
from unpaired.artifacts.run_folder import RunFolder
from unpaired.errors import DataError, MissingPartError, UnpairedError
from unpaired.live_line import rewrite
from unpaired.models.model_folder import find_model, read_description, read_model
from unpaired.selection.best_weights import NAME
from unpaired.storage import at_home, shown
from unpaired.trust.trust_file import read_reference
from unpaired.words import counted


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One part of a run.

    part: its path below the run. fact: its content, in words. problem: the damage, or "". missing: the reason why it
    could not be checked, such as a network that is not installed, or "".
    """

    part: str
    fact: str = ""
    problem: str = ""
    missing: str = ""


def verify(path: str | Path) -> list[Finding]:
    """Return a finding for every part of a run folder, or of a model folder alone.

    A run may be verified while it trains: files that disappear meanwhile, such as old checkpoints, are skipped.
    Leftovers of a crash (an unfinished checkpoint, a truncated last line of the log) are listed, not as problems.
    Raises DataError if the folder is neither a run nor a model.
    """
    folder = RunFolder(at_home(path))
    if not folder.config.exists() and not folder.checkpoints.exists():
        find_model(folder.path)
        return [_inspected("model", lambda: _model(folder.path))]
    findings = [
        _inspected("config.yaml", lambda: _config(folder)),
        _inspected("data.json", lambda: _data(folder)),
        *_checkpoints(folder),
        _inspected("log.jsonl", lambda: _log(folder)),
    ]
    if folder.images.exists():
        findings.append(_inspected("images.json", lambda: _images(folder)))
    if (folder.path / "history.jsonl").exists():
        findings.append(_inspected("history.jsonl", lambda: _history(folder)))
    for path in (folder.held_out, folder.path / NAME):
        if path.exists():
            findings.append(_inspected(path.name, lambda path=path: _held_out(path)))  # type: ignore[misc]
    if folder.parts.exists():
        findings.append(_inspected("parts.json", lambda: ", ".join(read_origins(folder)) or "no parts"))
    num_checkpoints = len(list_checkpoints(folder.checkpoints))
    if folder.model.exists() or num_checkpoints > 1:
        findings.append(_inspected("model", lambda: _model(folder.path)))
    elif num_checkpoints == 1:  # a crash may come between the first checkpoint and the first model
        findings.append(Finding(part="model", fact="none yet; continuing publishes it"))
    return findings + list(_left_over(folder))


def _inspected(part: str, inspect: Callable[[], str]) -> Finding:
    """Inspect a part; a damaged one a second time, since training may have replaced it meanwhile.

    The live line of a terminal names it, as hashing large files takes a while.
    """
    rewrite(f"Verifying {part}")
    for _ in range(2):
        try:
            return Finding(part=part, fact=inspect())
        except MissingPartError as error:
            return Finding(part=part, missing=str(error))
        except UnpairedError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{part} cannot be read: {error.strerror}."
    return Finding(part=part, problem=problem)


def _config(folder: RunFolder) -> str:
    config = read_config(folder)
    return f"{config.objective.kind}, {config.generator.kind}, {config.discriminator.kind}, seed {config.run.seed}"


def _data(folder: RunFolder) -> str:
    try:
        data = json.loads(folder.data.read_bytes())
        domains = (data[domain] for domain in ("A", "B"))
        return ", ".join(f"{counted(each['images'], 'image')} of {shown(each['name'])}" for each in domains)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{shown(folder.data)} is damaged ({reason}); copy it again.") from None


def _images(folder: RunFolder) -> str:
    try:
        images = json.loads(folder.images.read_bytes())
        return f"{counted(sum(map(len, images.values())), 'file')}, each with its size and SHA-256"
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"{shown(folder.images)} is damaged ({' '.join(str(error).split())}); copy it again.") from None


def _history(folder: RunFolder) -> str:
    try:
        return counted(len(History(folder.path).entries()), "entry")
    except (ValueError, RecursionError) as error:
        path = shown(folder.path / "history.jsonl")
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())}); copy it again.") from None


def _held_out(path: Path) -> str:
    """Return the number of images or of validations; continuing the run removes a line that a crash truncated."""
    try:
        if path.suffix == ".json":
            listed = json.loads(path.read_bytes())
            return f"{len(listed['A'])} + {len(listed['B'])} images, {shown(listed['origin'])}"
        whole = path.read_text(encoding="utf-8").split("\n")[:-1]
        return counted(len([json.loads(line)["step"] for line in whole]), "validation")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{shown(path)} is damaged ({' '.join(str(error).split())}); copy it again.") from None


def _checkpoints(folder: RunFolder) -> Iterator[Finding]:
    checkpoints = list_checkpoints(folder.checkpoints)
    for path in checkpoints:
        finding = _inspected(f"checkpoints/{path.name}", lambda path=path: _checkpoint(path))  # type: ignore[misc]
        if path.exists():
            yield finding
    if not checkpoints:
        yield Finding(part="checkpoints", fact="none yet")
    for problem in lost_checkpoint(folder.checkpoints, list_checkpoints(folder.checkpoints)):
        yield Finding(part="checkpoints/LATEST", problem=problem)


def _checkpoint(path: Path) -> str:
    checkpoint = load_checkpoint(path)
    if path.name != f"step-{checkpoint.step:08d}":
        raise DataError(f"{shown(path)} holds step {checkpoint.step}, not the one it is named after; rename it back.")
    size = sum(file["size"] for file in read_manifest(path)["files"].values())
    return f"{size / 1e6:.1f} MB, state {checkpoint.state_sha256}"


def _log(folder: RunFolder) -> str:
    lines = folder.lines()
    bad = [str(number) for number, line in enumerate(lines, start=1) if line is None]
    if bad:
        raise DataError(f"{shown(folder.log)} is damaged in line {', '.join(bad[:5])}; training does not need it.")
    needed = _logged_lines(folder)
    if len(lines) < needed:
        raise DataError(
            f"{shown(folder.log)} has {counted(len(lines), 'line')}, but the newest checkpoint was saved after "
            f"{needed}."
        )
    cut = folder.log.exists() and folder.log.read_bytes()[-1:] not in (b"", b"\n")
    return f"{counted(len(lines), 'line')}{', and a truncated one, which continuing removes' if cut else ''}"


def _logged_lines(folder: RunFolder) -> int:
    """Return the number of lines that the log had at the newest undamaged checkpoint."""
    for path in list_checkpoints(folder.checkpoints):
        try:
            return load_checkpoint(path).log_lines
        except UnpairedError:
            continue
    return 0


def _model(path: Path) -> str:
    info, networks = read_model(path)
    step = "an unknown step" if info.training.step is None else f"step {info.training.step}"
    chosen = f", selected in {info.choice.looks} validations" if info.choice is not None else ""
    found = f"{' and '.join(networks)} of {step}{chosen}"
    if "trust" not in read_description(find_model(path)):
        return found
    read_reference(path, info)
    return f"{found}, with the reference of translation scores"


def _left_over(folder: RunFolder) -> Iterator[Finding]:
    facts = {
        ".tmp-": "unfinished; the next save removes it",
        ".trash-": "being deleted; the next save removes it",
        ".old-": "displaced by an interrupted save; continuing restores or removes it",
        ".corrupt-": "damaged and set aside; remove it after inspection",
    }
    for path in sorted(folder.checkpoints.glob(".*")):
        for prefix, fact in facts.items():
            if path.name.startswith(prefix):
                yield Finding(part=f"checkpoints/{path.name}", fact=fact)
