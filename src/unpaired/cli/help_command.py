"""The verb `help`: the same as --help after the words that follow it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import CycloptsError, Parameter

from unpaired.cli.app import app
from unpaired.suggestions import unknown


@app.command(name="help")
def print_help(
    verb: Annotated[tuple[str, ...], Parameter(name="VERB", negative=())] = (),
    /,
) -> None:
    """Print the help of a verb, as --help after it does.

    Parameters
    ----------
    verb
        A verb, such as train or data check; none for the list of all.
    """
    place = app
    for word in verb:
        known = [name for name in place if not name.startswith("-")]
        if word not in known:
            raise CycloptsError(msg=unknown(word, known, "verb"))
        place = place[word]
    app.help_print(verb)
