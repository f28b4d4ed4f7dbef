"""What changed since a run was started, its settings, images or machine: refused, or accepted on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unpaired.config import Difference
from unpaired.data.check import listed
from unpaired.data.sources import ImageList
from unpaired.errors import ConfigError, DataError
from unpaired.storage import shown

_NETWORKS = ("generator.", "discriminator.", "objective.kind", "data.pairing", "data.channels_", "data.classes")
"""Settings that say what the networks are; those of a run stay what they are."""

_NO_BITS = ("cores", "python", "ranks")
"""Facts about a machine that no result depends on, or that have a function of their own."""

_WHERE_LEFT_OUT = {"accumulate": 1, "compile": "off", "layout": "nchw"}
"""What it means where a fact is not told."""


@dataclass(frozen=True)
class Change:
    """A change that a run goes on with, as history.jsonl keeps it."""

    kind: str
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)


def settings_change(run: str, different: Sequence[Difference], *, allowed: bool) -> list[Change]:
    """Return the accepted change of settings, none without differences; raises ConfigError that lists the refused."""
    refused = [each for each in different if each.key.startswith(_NETWORKS)] if allowed else list(different)
    if refused:
        way = (
            "these say what the networks are and cannot change; give the same ones to continue it"
            if allowed
            else "give the same ones to continue it, --allow-config-change to go on with these"
        )
        table = "".join(f"\n  {difference}" for difference in refused)
        raise ConfigError(f"{run} holds a run with other settings; {way}, or another --out to start afresh:{table}")
    if not different:
        return []
    told = "; ".join(str(difference) for difference in different)
    details = {each.key: {"saved": each.saved, "given": each.given} for each in different}
    return [Change("settings", f"Settings were changed on request: {told}.", {"settings": details})]


def images_change(
    run: str, saved: Mapping[str, ImageList], now: Mapping[str, ImageList], *, allowed: bool
) -> list[Change]:
    """Return the accepted change of images by domain, none where all are the same; raises DataError that lists it."""
    found: dict[str, list[str]] = {"added": [], "removed": [], "edited": []}
    for domain in now:
        old, new = saved.get(domain, {}), now[domain]
        found["added"] += [f"{domain}: {name}" for name in new.keys() - old.keys()]
        found["removed"] += [f"{domain}: {name}" for name in old.keys() - new.keys()]
        found["edited"] += [f"{domain}: {name}" for name in old.keys() & new.keys() if old[name] != new[name]]
    names = [f"{shown(name)} {kind}" for kind, those in found.items() for name in sorted(those)]
    if not names:
        return []
    counts = ", ".join(f"{len(those)} {kind}" for kind, those in found.items() if those)
    if not allowed:
        raise DataError(
            f"The images changed since {run} was started ({counts}); put them back to continue it, go on with "
            f"--allow-data-change, or give another --out:{listed(names)}"
        )
    details = {kind: sorted(those) for kind, those in found.items()}
    return [Change("data", f"Images were changed on request: {counts}.", details)]


def fingerprints_change(run: str, saved: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> list[Change]:
    """Do as `images_change` for the facts of data.json, which tell that images changed and not which."""
    changed = [domain for domain in now if saved[domain]["fingerprint"] != now[domain]["fingerprint"]]
    if not changed:
        return []
    counts = "; ".join(f"{each}: {saved[each]['images']} images then, {now[each]['images']} now" for each in changed)
    if not allowed:
        raise DataError(
            f"The images of domain {' and '.join(changed)} changed since {run} was started ({counts}); put them back "
            "to continue it, go on with --allow-data-change, or give another --out."
        )
    return [Change("data", f"Images were changed on request ({counts}).")]


def ranks_change(run: str, saved: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> list[Change]:
    """Return the accepted change of the number of processes, none where it is the same; raises ConfigError."""
    before, after = saved.get("ranks", 1), now.get("ranks", 1)
    if before == after:
        return []
    if not allowed:
        raise ConfigError(
            f"{run} was trained by {before} processes and would go on with {after}; start {before} to continue it bit "
            "for bit, or go on with --allow-rank-change."
        )
    return [
        Change(
            "ranks",
            f"The number of processes was changed on request from {before} to {after}: every draw stays what it was, "
            "but sums are taken in another order, so the run is no longer bit for bit the one with a single number.",
            {"ranks": {"saved": before, "given": after}},
        )
    ]


def machine_change(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return the change of what the bits of a run depend on, none where all is as it was."""
    saved, now = {**_WHERE_LEFT_OUT, **saved}, {**_WHERE_LEFT_OUT, **now}
    keys = [key for key in {**saved, **now} if key not in _NO_BITS and saved.get(key) != now.get(key)]
    if not keys:
        return []
    told = ", ".join(f"{key} {saved.get(key)} then and {now.get(key)} now" for key in keys)
    return [
        Change(
            "machine",
            f"The run goes on with {told}: it is sound, but no longer bit for bit the one that was never interrupted.",
            {"machine": {key: {"saved": saved.get(key), "given": now.get(key)} for key in keys}},
        )
    ]
