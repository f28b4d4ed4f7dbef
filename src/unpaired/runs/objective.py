"""From a configuration to the networks and losses it describes."""

from __future__ import annotations

from typing import Any

from unpaired.config import require
from unpaired.networks.recompute import recomputing
from unpaired.recipes import Config


def build_objective(config: Config) -> Any:
    """Return the untrained objective that a configuration describes, its weights drawn from `run.seed`."""
    data = config.data
    objective = config.objective.build(
        config.generator, config.discriminator, data.channels_a, data.channels_b, config.run.seed
    )
    networks = recomputing(objective)
    require(
        bool(networks) or not config.run.recompute,
        f"run.recompute is for generators resnet and unet, not {config.generator.kind}; leave it out.",
    )
    for network in networks:
        network.recompute = config.run.recompute
    return objective
