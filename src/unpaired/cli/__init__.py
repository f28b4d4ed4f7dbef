"""The command line: parses, calls, prints; no logic of its own."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from unpaired.cli import (  # noqa: F401 - each adds its verbs
    bench,
    commands,
    data,
    evaluate,
    help_command,
    info_command,
    interop,
    models_command,
    reproduce,
    sample,
    settings_help,
    study,
    verify_command,
)
from unpaired.cli.advice import advice_of
from unpaired.cli.app import app
from unpaired.cli.misunderstood import sentence_of
from unpaired.cli.output import print_below
from unpaired.cli.settings import dotted_settings
from unpaired.compat.settings_only import suits, without_torch
from unpaired.errors import ConfigError, Interrupted, UnpairedError
from unpaired.launch import launched
from unpaired.storage import at_home, printable, shown
from unpaired.training.signals import second_signal_ends
from unpaired.training.terminal import sentences_printed

SHARED = ("train", "translate", "evaluate")
"""The verbs that several processes may share."""

USAGE = 64
"""Exit code for a command line that cannot be understood (sysexits EX_USAGE)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit: 0, or the error's code after its one sentence on standard error.

    A second Ctrl-C ends the process immediately.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # characters outside the terminal's encoding are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    words = as_meant(sys.argv[1:] if arguments is None else arguments)
    tokens = dotted_settings(words)
    with second_signal_ends(print_below), sentences_printed():
        if arguments is None and suits(tokens):
            gc.disable()  # the process ends with the command
            with without_torch("unpaired.recipes", "unpaired.runs.resolvers", "unpaired.runs.configure"):
                run(words)
        run(words)


def as_meant(words: Sequence[str]) -> list[str]:
    """Return the words with a leading ~ of a path expanded, several strengths joined, and `version` as an option."""
    words = [_expanded(word) for word in words]
    if "--strength" in words:
        from unpaired.cli.strengths import joined

        words = joined(words)
    return ["--version"] if words == ["version"] else words


def _expanded(word: str) -> str:
    """Return a word with ~/x and --option=~/x expanded, as a shell does unless they are quoted."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{at_home(value)}" if value == "~" or value.startswith("~/") else word


def run(words: Sequence[str]) -> None:
    """Run a command line and exit."""
    tokens = dotted_settings(words)
    try:
        if launched().world_size > 1 and tokens and tokens[0] not in SHARED:
            raise ConfigError(f"unpaired {tokens[0]} runs in one process; start it without torchrun.")
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(sentence_of(error, words), USAGE)
    except Interrupted as stopped:
        fail(str(stopped), 128 + stopped.signum)
    except UnpairedError as error:
        fail(advice_of(error, words), error.exit_code, of_one_rank=error.of_one_rank)
    except KeyboardInterrupt:
        fail("Stopped.", 130)
    except BrokenPipeError:  # the reader of the output has closed it, as `| head` does
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:  # that no part of the program handles more specifically
        place = f" at {shown(error.filename)}" if error.filename else ""
        fail(f"The disk or the system failed{place}: {error.strerror}; check it and run the same again.", 74)
    sys.exit(code if isinstance(code, int) else 0)


def fail(sentence: str, code: int, *, of_one_rank: bool = False) -> None:
    """Print one sentence on standard error and exit with `code`.

    Of several processes on a machine only the first prints an error that all of them have.
    """
    if of_one_rank or os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"unpaired: {printable(sentence)}", file=sys.stderr)
    sys.exit(code)
