"""Command lines that cannot be parsed: one sentence with the right word, or the command written out."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from unpaired.cli.app import app
from unpaired.cli.synonyms import COMMANDS, DATA_COMMANDS, MODELS_COMMANDS, advice
from unpaired.storage import at_home

_USAGE = {
    "translate": "unpaired translate RUN IMAGES",
    "evaluate": "unpaired evaluate RUN DATA",
    "info": "unpaired info RUN",
    "verify": "unpaired verify RUN",
    "sample": "unpaired sample RUN",
    "export": "unpaired export RUN --out FOLDER",
    "import": "unpaired import FILE_OR_FOLDER --out FOLDER",
    "study make": "unpaired study make RUN DATA --out FOLDER",
    "data draw": "unpaired data draw FOLDER",
    "data download": "unpaired data download NAME",
    "models get": "unpaired models get NAME",
    "models remove": "unpaired models remove NAME",
}
_PLAIN = re.compile(r"Use (--[a-z][a-z0-9.-]*) [A-Z]+(?:,.*)?\.")
_EXACT = re.compile(r"Use ((?:--[a-z][a-z0-9.-]* \w*[a-z0-9:_]\w* ?)+)(?:,.*)?\.")
_TWICE = re.compile(r"Use (--[a-z][a-z0-9.-]*) X and (--[a-z][a-z0-9.-]*) X\.")
"""Advice that an option follows from: one that takes the same value, one with its value, two that take the same."""

_EXAMPLES = {
    "--keep-best": "20%, which keeps the most trusted fifth of the results",
    "--lpips": "CLASSIFIER CHANNELS, the two files of its weights",
    "--inception": "the file of its weights",
    "--memory": "6GB",
    "--device": "cuda or cpu",
    "--range": "0..4095",
}


def sentence_of(error: CycloptsError, tokens: Sequence[str]) -> str:
    """Return the message for a command line that cannot be parsed; several unknown options are listed.

    tokens: the command line without the name of the program.
    """
    if isinstance(error, UnknownOptionError):
        return _unknown_options(error, tokens)
    if isinstance(error, UnknownCommandError):
        return _unknown_command(error, tokens)
    if isinstance(error, UnusedCliTokensError):
        return _unused(error, tokens)
    if isinstance(error, CoercionError) and error.token is not None and error.target_type in (int, float):
        return _number(error.token.keyword or "", error.token.value, whole=error.target_type is int) or _plain(error)
    if isinstance(error, MissingArgumentError):
        return _missing(error, tokens) or _plain(error)
    return _plain(error)


def _plain(error: CycloptsError) -> str:
    return " ".join(str(error).split())


def _unknown_options(error: UnknownOptionError, tokens: Sequence[str]) -> str:
    """Return the advice for each unknown option of the command line."""
    known = [name for argument in error.argument_collection for name in argument.names]
    first = error.token.keyword or error.token.value or ""
    found: dict[str, str] = {}
    for option, value in _options(tokens):
        dotted = option.startswith("--") and "." in option
        if not dotted and option not in known and option not in ("--help", "-h", "--version"):
            found[option] = advice(tokens, option, value) or _near(option, known)
    if first.partition("=")[0] not in found:
        found = {first: advice(tokens, first) or _near(first, known)}
    hints = {option: hint or f"See `{_command(tokens)} --help`." for option, hint in found.items()}
    if len(hints) == 1:
        return " ".join(f"Unknown option: {option}. {hint}" for option, hint in hints.items())
    lines = "".join(f"\n  {option}: {hint[0].lower()}{hint[1:]}" for option, hint in hints.items())
    command = _translated(tokens, hints)
    return f"{len(hints)} unknown options:{lines}" + (f"\nTogether: {command}" if command else "")


def _translated(tokens: Sequence[str], hints: Mapping[str, str]) -> str:
    """Return the command with the advice taken, "" if an advice is no plain option, value or omission.

    hints: the advice for each unknown option.
    """
    made, folder, words = [tokens[0]], [], list(tokens[1:])
    while words:
        name, equals, value = words.pop(0).partition("=")
        if name not in hints:
            made.append(f"{name}{equals}{value}")
            continue
        if not equals and words and not _is_option(words[0]):
            value = words.pop(0)
        plain, exact, twice = (pattern.fullmatch(hints[name]) for pattern in (_PLAIN, _EXACT, _TWICE))
        if "first argument" in hints[name] and value:
            folder = [value]
        elif twice and value:
            made += [twice[1], value, twice[2], value]
        elif plain and value and plain[1] != "--recipe":
            made += [plain[1], f"runs/{value}" if name == "--name" else value]
        elif exact:
            made += exact[1].split()
        elif not hints[name].startswith("Omit it"):
            return ""
    return shlex.join(["unpaired", made[0], *folder, *made[1:]])


def _is_option(word: str) -> bool:
    """Return whether a word looks like an option, not like a value or a negative number."""
    return word.startswith("-") and word.lstrip("-")[:1].isalpha()


def _options(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each word that looks like an option, with the value after it, "" if none follows."""
    words = list(tokens)
    words = words[: words.index("--")] if "--" in words else words
    for word, following in zip(words, [*words[1:], "--end"], strict=True):
        name, equals, value = word.partition("=")
        if _is_option(word):
            yield name, value if equals or _is_option(following) else following


def _near(option: str, known: Sequence[str]) -> str:
    """Return a question with the nearest option, "" if none is near; the dashes do not count."""
    bare = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(option.lstrip("-").replace("_", "-").lower(), bare, n=1, cutoff=0.6)
    return f"Did you mean {bare[near[0]]}?" if near else ""


def _unknown_command(error: UnknownCommandError, tokens: Sequence[str]) -> str:
    """Return the command for an unknown one: that of another name, the nearest one, or all of them."""
    assert error.unused_tokens
    word, inside = error.unused_tokens[0], tokens[:1] == ["data"]
    known, table = _names(app["data"] if inside else app), DATA_COMMANDS if inside else COMMANDS
    return _choice(f"{'data ' if inside else ''}{word}", word, known, table)


def _choice(command: str, word: str, known: Sequence[str], table: Mapping[str, str]) -> str:
    """Return the sentence for an unknown command: that of another name, the nearest one, or all of them."""
    asked = word.lower().replace("_", "-").removesuffix(".py")
    found = next((text for names, text in table.items() if asked in names.split()), "")
    near = difflib.get_close_matches(asked, known, n=1, cutoff=0.6)
    hint = found or (f"did you mean {near[0]}?" if near else f"choose from: {', '.join(known)}.")
    return f"Unknown command {command}; {hint}"


def _names(parent: App) -> list[str]:
    return [name for name in parent if not name.startswith("-")]


def _unused(error: UnusedCliTokensError, tokens: Sequence[str]) -> str:
    """Return the sentence for words that no option or argument takes."""
    unused = list(error.unused_tokens or ())
    before = tokens[tokens.index(unused[0]) - 1] if unused[0] in tokens else ""
    if before.startswith("--") and "=" not in before:
        return f"{before} takes no value; remove {shlex.quote(unused[0])}."
    command = _command(tokens)
    if command == "unpaired models":  # which lists them, so that another word is an argument too many
        return _choice(f"models {unused[0]}", unused[0], _names(app["models"]), MODELS_COMMANDS)
    halves = {Path(word).name for word in tokens if not _is_option(word)} & {"trainA", "trainB"}
    if tokens[0] == "train" and len(halves) == 2:
        whole = next(Path(word).parent for word in tokens if Path(word).name == "trainA")
        return f"`{command}` takes one DATA folder: {shlex.join(['unpaired', 'train', str(whole)])}"
    if command in ("unpaired train", "unpaired data check") and len(unused) == 1:
        depth, first = len(command.split()) - 1, given_folder(tokens)
        if command == "unpaired train" and not at_home(unused[0]).is_dir():
            better = shlex.join([*command.split(), first, "--out", unused[0], *without(tokens[1:], (first, unused[0]))])
            return f"`{command}` takes one DATA folder; a run folder is named with --out: {better}"
        rest = without(tokens[depth:], (first, unused[0]))
        better = shlex.join([*command.split(), "--a", first, "--b", unused[0], *rest])
        return f"`{command}` takes one DATA folder; for a folder for each domain: {better}"
    named = " ".join(map(shlex.quote, unused))
    out = f", or name it as --out {named}" if tokens[0] in ("export", "import", "demo", "sample") else ""
    return f"`{command}` does not take {named}; remove it{out}."


def given_folder(tokens: Sequence[str]) -> str:
    """Return the first word of a command line that is no option, no value of one, and not the command; "" if none."""
    flags = {
        name
        for argument in _app_of(tokens).assemble_argument_collection(parse_docstring=False)
        for name in argument.names
        if argument.hint is bool or bool in get_args(argument.hint)
    }
    previous = ""
    for word in tokens[len(_command(tokens).split()) - 1 :]:
        takes = previous.startswith("-") and "=" not in previous and previous not in flags
        if not word.startswith("-") and not takes:
            return word
        previous = word
    return ""


def _app_of(tokens: Sequence[str]) -> App:
    found = app
    for name in _command(tokens).split()[1:]:
        found = found[name]
    return found


def without(words: Sequence[str], dropped: Sequence[str]) -> list[str]:
    """Return the words without the first occurrence of each dropped one."""
    rest = list(words)
    for word in dropped:
        if word in rest:
            rest.remove(word)
    return rest


def _number(option: str, value: str, *, whole: bool) -> str:
    """Return the sentence for text in place of a number, with the number if it is clear; "" without an option."""
    if not option:
        return ""
    sides = value.lower().split("x")
    if whole and len(sides) == 2 and sides[0] == sides[1] and sides[0].isdigit():
        return f"{option} takes one number for both sides; type {option} {sides[0]}."
    text, factor = (
        (value[:-1], {"k": 1e3, "m": 1e6}[value[-1].lower()])
        if value[-1:] in ("k", "K", "m", "M")
        else (
            value.replace(",", "").replace("_", ""),
            1,
        )
    )
    try:
        number = float(text) * factor
    except ValueError:
        number = float("nan")
    hint = f"; type {option} {int(number)}" if whole and abs(number) < 1e15 and number == int(number) else ""
    return f"{option} takes a {'whole ' if whole else ''}number, not {value!r}{hint}."


def _missing(error: MissingArgumentError, tokens: Sequence[str]) -> str:
    """Return the sentence for a missing argument or value; "" if there is nothing to add to the parser's own."""
    argument, usage = error.argument, _USAGE.get(" ".join(error.command_chain or ()), "")
    if any(word.partition("=")[0] == "--style" for word in tokens):
        usage = "unpaired translate --style FILE IMAGES"
    if error.keyword:
        return _value_missing(error.keyword)
    return f"{argument.name} is missing; type: {usage}" if argument is not None and usage else ""


def _value_missing(option: str) -> str:
    example = _EXAMPLES.get(option, "")
    return f"{option} takes a value{f', such as {example}' if example else '; put it after the option'}."


def _command(tokens: Sequence[str]) -> str:
    return "unpaired " + " ".join(tokens[: 2 if tokens[:1] == ["data"] else 1])
