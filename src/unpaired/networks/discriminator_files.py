"""Reads a trained discriminator from a run, one of its checkpoints, or a model folder with trust scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from unpaired.config import from_dict, load_yaml, to_dict
from unpaired.errors import ConfigError, ModelError
from unpaired.networks.protocols import DiscriminatorConfig
from unpaired.storage import shown

_MAX_BYTES = 4 << 30
_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class TrainedDiscriminator:
    """A discriminator with its weights.

    path: as given. domain: the domain that it judges. sha256: of its settings and weights.
    """

    path: Path
    domain: str
    config: DiscriminatorConfig
    network: nn.Module
    sha256: str


def read_discriminator(path: Path, channels: int) -> TrainedDiscriminator:
    """Read the discriminator of B, or else of A, that judges images with `channels` channels.

    path: a run (its newest readable checkpoint), a checkpoint of it, or a model folder with trust scores.
    Raises ModelError if there is none.
    """
    found = _in_run(path) if (path / "config.yaml").is_file() else None
    if found is None and (path / _WEIGHTS).is_file():
        found = _in_checkpoint(path, path.parent.parent)
    if found is None:
        found = _in_model(path)
    for domain in ("B", "A"):
        config, state = found.get(domain, (None, {}))
        network = config.build(channels) if config is not None else None
        if config is not None and network is not None and _fits(network, state):
            network.load_state_dict(state)
            return TrainedDiscriminator(path, domain, config, network, _digest(path, config, state))
    raise ModelError(
        f"{shown(path)} has no discriminator of images with {channels} channels; give a run, one of its checkpoints, "
        "or a model folder with trust scores."
    )


Found = dict[str, tuple[DiscriminatorConfig, dict[str, Tensor]]]
"""Settings and weights of discriminators by domain."""


def _in_run(run: Path) -> Found:
    """Return the discriminators of the newest checkpoint whose weights can be read."""
    reasons = []
    for checkpoint in sorted((run / "checkpoints").glob("step-*"), reverse=True):
        try:
            return _in_checkpoint(checkpoint, run)
        except ModelError as error:
            reasons.append(str(error))
    raise ModelError(reasons[0] if reasons else f"{shown(run)} has no checkpoint; train it first.")


def _in_checkpoint(checkpoint: Path, run: Path) -> Found:
    try:
        settings = load_yaml(run / "config.yaml")
        config = from_dict(DiscriminatorConfig, settings["discriminator"], "discriminator")
        expected = json.loads((checkpoint / "MANIFEST.json").read_bytes())["files"][_WEIGHTS]["sha256"]
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"{shown(checkpoint)} is no checkpoint of a run ({_reason(error)}); copy it again.") from None
    return _split(_tensors(checkpoint / _WEIGHTS, expected), "discriminators", {"A": config, "B": config})


def _in_model(path: Path) -> Found:
    """Return the discriminators that a model folder, or the one in a run, keeps for trust scores."""
    folder = path if (path / "model.json").is_file() else path / "model"
    try:
        entry = json.loads((folder / "model.json").read_bytes()).get("trust") or {"judges": {}}
        configs = {
            domain: from_dict(DiscriminatorConfig, judge["discriminator"], f"trust.judges.{domain}.discriminator")
            for domain, judge in entry["judges"].items()
        }
        if not configs:
            return {}
        return _split(_tensors(folder / str(entry["weights"]), str(entry["sha256"])), "judge", configs)
    except FileNotFoundError:
        raise ModelError(
            f"{shown(path)} is no run, checkpoint or model folder; give the path of one with a discriminator."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{shown(folder)} does not describe a model ({_reason(error)}); copy it again.") from None


def _split(tensors: dict[str, Tensor], prefix: str, configs: dict[str, DiscriminatorConfig]) -> Found:
    """Return the tensors PREFIX.DOMAIN.NAME by domain and name."""
    found: Found = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        domain, _, name = rest.partition(".")
        if kind == prefix and domain in configs:
            found.setdefault(domain, (configs[domain], {}))[1][name] = tensor
    return found


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file with this hash. Raises ModelError."""
    name = shown(path)
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise ModelError(f"{name} is missing, or larger than any network needs; copy it again.")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(f"{name} is damaged: its SHA-256 is not the one recorded beside it; copy it again.")
        return safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{name} cannot be read ({_reason(error)}); copy it again.") from None


def _fits(network: nn.Module, state: dict[str, Tensor]) -> bool:
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    return wanted == {name: value.shape for name, value in state.items()}


def _digest(path: Path, config: DiscriminatorConfig, state: dict[str, Tensor]) -> str:
    """Return the hash of settings and weights. Raises ModelError if a weight is NaN or infinite."""
    if not all(bool(value.isfinite().all()) for value in state.values() if value.is_floating_point()):
        raise ModelError(f"The discriminator in {shown(path)} holds NaN or infinite weights; use another checkpoint.")
    digest = hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode())
    for key in sorted(state):
        digest.update(f"{key} {tuple(state[key].shape)}\n".encode())
        digest.update(state[key].contiguous().reshape(-1).numpy().tobytes())
    return digest.hexdigest()


def _reason(error: Any) -> str:
    return shown(" ".join(str(error).split()))[:300].rstrip(".")
