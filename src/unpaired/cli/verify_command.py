"""The verb that looks at a run from outside: verify."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.errors import DataError
from unpaired.storage import shown


@app.command
def verify(
    run: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
) -> int:
    """Check every file of a run against its hash and change nothing; exit code 65 where one is damaged.

    Parameters
    ----------
    run
        A run folder, or a model folder.
    json_
        Print JSON instead of a line for each part.
    """
    from unpaired.runs.verify import verify as verify_run

    findings = verify_run(run)
    damaged = [finding for finding in findings if finding.problem]
    if json_:
        parts = [asdict(finding) for finding in findings]
        print(json.dumps({"path": str(run), "whole": not damaged, "parts": parts}, indent=1, ensure_ascii=False))
    else:
        for finding in findings:
            state = "damaged" if finding.problem else "whole"
            print(f"{state:8s} {shown(finding.part)}  {finding.problem or finding.fact}")
    return DataError.exit_code if damaged else 0
