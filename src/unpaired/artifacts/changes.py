"""Changes since a run was started, of its settings, images or machine: refused, or accepted and recorded."""

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
"""Settings that define the networks, which cannot change during a run."""

_NO_BITS = ("cores", "python", "ranks")
"""Facts about a machine that no result depends on, or that another function compares."""

_DEFAULTS = {"accumulate": 1, "compile": "off", "layout": "nchw"}
"""Values of facts that are left out."""


@dataclass(frozen=True)
class Change:
    """An accepted change, as recorded in history.jsonl."""

    kind: str
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)


def settings_change(run: str, different: Sequence[Difference], *, allowed: bool) -> list[Change]:
    """Return the accepted change of settings, none without differences; raises ConfigError listing refused ones."""
    refused = [each for each in different if each.key.startswith(_NETWORKS)] if allowed else list(different)
    if refused:
        way = (
            "these define the networks and cannot change; give the same ones to continue it"
            if allowed
            else "give the same ones to continue it, --allow-config-change to continue with these"
        )
        if not allowed and all(each.key.startswith("schedule.") for each in refused):
            way += ", --extend keep or restart to make it longer if it is finished"
        table = "".join(f"\n  {difference}" for difference in refused)
        raise ConfigError(f"{run} holds a run with other settings; {way}, or another --out to start afresh:{table}")
    if not different:
        return []
    listing = "; ".join(str(difference) for difference in different)
    details = {each.key: {"saved": each.saved, "given": each.given} for each in different}
    return [Change("settings", f"Settings were changed on request: {listing}.", {"settings": details})]


def images_change(
    run: str, saved: Mapping[str, ImageList], now: Mapping[str, ImageList], *, allowed: bool
) -> list[Change]:
    """Return the accepted change of images by domain, none if all are the same; raises DataError listing it."""
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
            f"The images changed since {run} was started ({counts}); put them back to continue it, add "
            f"--allow-data-change, or give another --out:{listed(names)}"
        )
    details = {kind: sorted(those) for kind, those in found.items()}
    return [Change("data", f"Images were changed on request: {counts}.", details)]


def fingerprints_change(run: str, saved: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> list[Change]:
    """Do as `images_change` for the facts of data.json, from which the changed images are not known."""
    changed = [domain for domain in now if saved[domain]["fingerprint"] != now[domain]["fingerprint"]]
    if not changed:
        return []
    counts = "; ".join(f"{each}: {saved[each]['images']} images then, {now[each]['images']} now" for each in changed)
    if not allowed:
        raise DataError(
            f"The images of domain {' and '.join(changed)} changed since {run} was started ({counts}); put them back "
            "to continue it, add --allow-data-change, or give another --out."
        )
    return [Change("data", f"Images were changed on request ({counts}).")]


def masks_change(run: str, saved: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> list[Change]:
    """Return the accepted change of the masks of data.json, none if they are the same; raises DataError."""
    changed = [domain for domain in now if saved[domain].get("masks") != now[domain].get("masks")]
    if not changed:
        return []
    which = f"The masks of domain {' and '.join(changed)}"
    if not allowed:
        raise DataError(
            f"{which} changed since {run} was started; put them back to continue it, add --allow-data-change, or give "
            "another --out."
        )
    return [Change("masks", f"{which} were changed on request.")]


def ranks_change(run: str, saved: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> list[Change]:
    """Return the accepted change of the number of processes, none if it is the same; raises ConfigError."""
    before, after = saved.get("ranks", 1), now.get("ranks", 1)
    if before == after:
        return []
    if not allowed:
        raise ConfigError(
            f"{run} was trained by {before} processes and would continue with {after}; start {before} to continue it "
            "bit for bit, or add --allow-rank-change."
        )
    return [
        Change(
            "ranks",
            f"The number of processes was changed on request from {before} to {after}. All random draws stay the same, "
            "but sums are computed in another order, so the run is no longer bit-identical to an unchanged one.",
            {"ranks": {"saved": before, "given": after}},
        )
    ]


def machine_change(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return the change of the environment that the bits of a run depend on, none if it is the same."""
    saved, now = {**_DEFAULTS, **saved}, {**_DEFAULTS, **now}
    keys = [key for key in {**saved, **now} if key not in _NO_BITS and saved.get(key) != now.get(key)]
    if not keys:
        return []
    listing = ", ".join(f"{key}: {saved.get(key)} -> {now.get(key)}" for key in keys)
    return [
        Change(
            "machine",
            f"Resuming with a different environment ({listing}). Training is valid but no longer bit-identical to an "
            "uninterrupted run.",
            {"machine": {key: {"saved": saved.get(key), "given": now.get(key)} for key in keys}},
        )
    ]
