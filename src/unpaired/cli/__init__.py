"""The command line: parses, calls, prints; no logic of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from unpaired.cli import bench, commands, data, evaluate, official, sample, verify  # noqa: F401 - each adds its verbs
from unpaired.cli.app import app
from unpaired.cli.settings import dotted_settings
from unpaired.errors import Interrupted, UnpairedError
from unpaired.storage import printable, shown

USAGE = 64
"""Exit code for a command line that cannot be understood (sysexits EX_USAGE)."""


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
    except OSError as error:  # where no part of the program could say more about it
        place = f" at {shown(error.filename)}" if error.filename else ""
        fail(f"The disk or the system failed{place}: {error.strerror}; check it and run the same again.", 74)
    sys.exit(code if isinstance(code, int) else 0)


def fail(sentence: str, code: int) -> None:
    """Print one sentence on standard error and exit with `code`."""
    print(f"unpaired: {printable(sentence)}", file=sys.stderr)
    sys.exit(code)
