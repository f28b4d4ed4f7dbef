"""Networks inside a file: prefixes of wrappers, training states that nest a state dict, several networks in one.

DataParallel and torch.compile prefix all names. Lightning, mmagic and custom programs save a mapping of state dicts,
counters and optimizers. A module with two generators has their names as prefixes. `recognising` gets the names without
prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unpaired.errors import ModelError
from unpaired.interop.official.unsupported_networks import unsupported_network
from unpaired.storage import shown
from unpaired.untrusted.torch_files import Loaded

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
"""Name components of DataParallel, torch.compile, FSDP, activation checkpointing and Lightning's Fabric."""

_FIRSTS: tuple[str, ...] = (
    r"(?:model\.)?\d{1,4}\.conv_block\.\d\.weight",
    r"(?:model\.)?\d{1,4}\.block\.\d\.(?:conv\.)?weight",
    r"model\.model\.1\.model\.(?:1|0\.conv)\.weight",
)
"""Patterns of names; each generator has one of them, after any prefix."""

_STEMS = ("model.1.weight", "1.weight", "model.0.conv.weight", "model.model.0.weight", "model.model.0.conv.weight")
"""The first convolutions of generators."""

_JUDGES: tuple[str, ...] = (r"(?:model\.)?0\.(?:conv\.)?weight", r"net\.0\.weight")

_DEEPEST = 4  # maximum depth of nested mappings
_LONGEST = 300  # maximum characters of a name for pattern matching
_EMA = frozenset({"ema", "average", "averaged", "avg", "shadow", "swa"})
_RAW = frozenset(
    {"online", "raw", "model", "state", "dict", "net", "network", "generator", "g", "netg", "params", "weights"}
)
"""Name components of EMA weights, and components without information about the network."""


@dataclass(frozen=True)
class Part:
    """The tensors of one network; `name` is their location in the file, "" if the file contains nothing else."""

    name: str
    tensors: Mapping[str, Tensor]


def parts(loaded: Loaded) -> tuple[list[Part], list[str]]:
    """Return the generators in a file, or all its tensors if there are none, and notes about the rest.

    Raises ModelError with the actual content if the file contains no tensors by name.
    """
    mappings = dict(_mappings(loaded.content, (), set()))
    if not mappings:
        raise ModelError(f"{loaded.name} {_without_tensors(loaded.content)}.")
    found: list[Part] = []
    left: list[str] = []
    for path, tensors in mappings.items():
        inside, others = _networks(".".join(path), _unwrapped(loaded, tensors))
        found += inside
        left += others
    if found:
        return found, [f"Left out: {_listed(sorted(set(left)))}."] if left else []
    path, tensors = max(mappings.items(), key=lambda each: len(each[1]))
    if words := unsupported_network(tensors):
        raise ModelError(f"{loaded.name} {words}.")
    return [Part(".".join(path), _judged(_unwrapped(loaded, tensors)))], []


def _mappings(content: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[Any]:
    """Yield each mapping with tensors by name once, with its location; optimizer states are skipped."""
    if not isinstance(content, dict) or len(path) > _DEEPEST or id(content) in seen or "param_groups" in content:
        return
    seen.add(id(content))
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and _is_tensor(value)}
    if tensors:
        yield path, {key: value.detach() for key, value in tensors.items()}
    for key, value in content.items():
        if isinstance(key, str) and key != "_metadata":  # torch's version metadata, saved by some tools
            yield from _mappings(value, (*path, key), seen)


def _is_tensor(value: Any) -> bool:
    return type(value) in (Tensor, nn.Parameter)


def _without_tensors(content: Any) -> str:
    """Return the description of a file without tensors by name."""
    if isinstance(content, dict) and "param_groups" in content:
        return "holds the state of an optimizer, not a network; give the generator's file"
    if isinstance(content, dict) and all(isinstance(value, dict) and not value for value in content.values()):
        return "holds 0 tensors, which no official network has"
    if isinstance(content, dict):
        names = _listed([shown(key)[:40] for key in content])
        return f"is no state dict of one network, nor does it hold one: its entries are {names}"
    kind = type(content).__name__
    return f"holds a {kind}, not tensors by name; the official files hold one network's state dict"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _unwrapped(loaded: Loaded, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with wrapper components removed from their names, without counters of wrappers."""
    made: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if value.numel() == 1 and "." not in key:  # n_averaged, step, decay
            continue
        bare = ".".join(word for word in key.split(".") if word not in _WRAPPERS)
        if bare in made:
            raise ModelError(f"{loaded.name} holds {shown(bare)[:80]} twice, under two wrappers; save it unwrapped.")
        made[bare] = value
    return made


def _networks(path: str, tensors: Mapping[str, Tensor]) -> tuple[list[Part], list[str]]:
    """Return the generators among tensors, each by the prefix of its names, and the names of other networks."""
    fronts = _fronts(tensors, _FIRSTS)
    if unsupported_network(tensors):  # other networks have blocks, too
        fronts = [front for front in fronts if any(f"{front}{stem}" in tensors for stem in _STEMS)]
    found: dict[str, dict[str, Tensor]] = {front: {} for front in fronts}
    others = []
    for key, value in tensors.items():
        front = next((each for each in fronts if key.startswith(each)), None)  # the longest matching prefix
        if front is None:
            others.append(_shortened(path, key))
            continue
        rest = key[len(front) :]
        found[front][f"model.{rest}" if re.match(r"\d", rest) else rest] = value
    return [Part(".".join(filter(None, (path, front.rstrip(".")))), each) for front, each in found.items()], others


def _fronts(tensors: Mapping[str, Tensor], patterns: tuple[str, ...]) -> list[str]:
    """Return the unique prefixes of matching names, the longest first."""
    known = [key for key in tensors if len(key) <= _LONGEST and tensors[key].ndim == 4]
    matches = [match[1] for pattern in patterns for key in known if (match := re.fullmatch(f"(.*?){pattern}", key))]
    whole = [front for front in dict.fromkeys(matches) if not front or front.endswith(".")]
    return sorted(whole, key=len, reverse=True)


def _judged(tensors: dict[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the first discriminator among tensors, for the error message, or all tensors."""
    for front in _fronts(tensors, _JUDGES):
        rest = {key[len(front) :]: value for key, value in tensors.items() if key.startswith(front)}
        whole = {f"model.{key}" if re.match(r"\d", key) else key: value for key, value in rest.items()}
        if front and _judges(whole):
            return whole
    return tensors


def _judges(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether weights begin with a kernel of a discriminator's size, and end in one channel, the score."""
    weights = [value for key, value in tensors.items() if key.endswith("weight") and value.ndim == 4]
    sizes = {(1, 1)} if "net.0.weight" in tensors else {(4, 4)}
    return bool(weights) and tuple(weights[0].shape[2:]) in sizes and len(weights[-1]) == 1


def _shortened(path: str, key: str) -> str:
    words = key.split(".")
    return shown(".".join(filter(None, (path, *words[: 2 if words[0] in ("generators", "discriminators") else 1]))))[
        :60
    ]


# --- which of several ------------------------------------------------------------------------------


def chosen(name: str, found: list[Part], wanted: str | None) -> tuple[dict[str, Part], list[str]]:
    """Return the networks to import by direction ("" if unknown), and notes about the choice.

    wanted: name of a network; None selects the only one, the EMA weights of a network, or both directions.

    Raises ModelError that lists the networks if the choice is ambiguous.
    """
    if wanted is not None:
        those = [part for part in found if part.name == wanted]
        if not those:
            raise ModelError(f"{name} holds no network {shown(wanted)[:80]}; it holds {_names(found)}.")
        return {_direction(those[0].name): those[0]}, []
    kept, notes = _averaged(found)
    directions = _directions(kept)
    if len(kept) == 1 or len(directions) == 2:
        return directions, notes
    raise ModelError(f"{name} holds {len(kept)} generators, {_names(kept)}; select one with --network.")


def domains(found: Mapping[str, Part]) -> dict[str, str]:
    """Return the domains' names by A and B if the networks are named by their output domain, like mmagic's."""
    made = {
        direction or "AtoB": re.search(r"(?:^|\.)generators\.([A-Za-z0-9_]{1,40})$", part.name)
        for direction, part in found.items()
    }
    named = {direction[-1]: match[1] for direction, match in made.items() if match}
    return {"A": named.get("A", "A"), "B": named.get("B", "B")} if named else {}


def _names(found: list[Part]) -> str:
    return _listed([shown(part.name)[:60] or "the file itself" for part in found])


def _averaged(found: list[Part]) -> tuple[list[Part], list[str]]:
    """Return the networks without raw weights for which EMA weights exist."""
    groups: dict[tuple[str, ...], list[Part]] = {}
    for part in found:
        words = tuple(word for word in re.split(r"[._]", part.name) if word.lower() not in _EMA | _RAW)
        groups.setdefault(words, []).append(part)
    kept, notes = [], []
    for same in groups.values():
        average = [part for part in same if _EMA & set(re.split(r"[._]", part.name.lower()))]
        if len(same) > 1 and len(average) == 1:
            raw = _names([part for part in same if part is not average[0]])
            notes.append(f"Taken: the EMA weights {average[0].name}; the raw weights are there with --network {raw}.")
            same = average
        kept += same
    return kept, notes


def _directions(found: list[Part]) -> dict[str, Part]:
    """Return the networks by the direction in their names; a single network without one has the key ""."""
    if len(found) == 1:
        return {_direction(found[0].name): found[0]}
    named = {_direction(part.name): part for part in found}
    if len(found) == 2 and set(named) == {"AtoB", "BtoA"}:
        return named
    if len(found) == 2 and all(re.search(r"(^|\.)generators\.\w+$", part.name) for part in found):
        # mmagic lists the output domains, A first: the first generator generates A.
        return {"AtoB": found[1], "BtoA": found[0]}
    return {}


def _direction(name: str) -> str:
    """Return the direction in a network's name, such as G_A, netG_A2B, G_AB or genAtoB; "" if there is none."""
    last = name.rpartition(".")[2] if "." in name and not name.endswith((".model", ".net")) else name
    for first, second, direction in (("a", "b", "AtoB"), ("b", "a", "BtoA")):
        between = rf"{first}_?(2|to)_?{second}(?![a-z])|(^|_|g|gen|generator){first}{second}(?![a-z])"
        if re.search(between, last.lower()) or re.search(rf"(^|[._])(net)?g_?{first}(?![a-z])", last.lower()):
            return direction
    return ""
