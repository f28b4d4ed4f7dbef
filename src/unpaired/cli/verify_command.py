"""The verb that looks at a run from outside: verify."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unpaired.cli.advice import advised
from unpaired.cli.app import app
from unpaired.cli.own_parts import load_parts
from unpaired.errors import DataError, MissingPartError
from unpaired.registry import LOADER
from unpaired.storage import shown


@app.command
def verify(
    run: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
    recipe: Path | None = None,
) -> int:
    """Check every file of a run against its hash and change nothing; exit code 65 if one is damaged.

    Parameters
    ----------
    run
        A run folder, or a model folder.
    json_
        Print JSON instead of a line for each part.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from unpaired.runs.verify import verify as verify_run

    findings = verify_run(run)
    damaged = [finding for finding in findings if finding.problem]
    missing = [finding for finding in findings if finding.missing]
    if json_:
        parts = [asdict(finding) for finding in findings]
        found = {"path": str(run), "whole": not (damaged or missing), "parts": parts}
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for finding in findings:
            state = "damaged" if finding.problem else "unchecked" if finding.missing else "whole"
            text = finding.problem or advised(finding.missing, LOADER) or finding.fact
            print(f"{state:8s} {shown(finding.part)}  {text}")
    if damaged:
        return DataError.exit_code
    return MissingPartError.exit_code if missing else 0
