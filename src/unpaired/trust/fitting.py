"""The reference for trust scores: measured on the training images after training, and published with the model.

It needs the final weights and takes a fraction of the time of training. A run whose images are no longer available
still finishes.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor

from unpaired.artifacts.checkpoint import load_newest
from unpaired.artifacts.part_records import read_config
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import read_data
from unpaired.config import to_dict
from unpaired.data.datasets import DataConfig, Domain, prepare
from unpaired.data.domains import Domains, open_domains
from unpaired.data.normalising import spec_from_config
from unpaired.data.sources import ImageSource
from unpaired.errors import UnpairedError
from unpaired.models.model_folder import read_description, read_model, write_model
from unpaired.networks import DiscriminatorConfig
from unpaired.recipes import build_objective
from unpaired.selection.best_weights import load_selected
from unpaired.translate.translator import Translator
from unpaired.trust.ood import LEAST, squares
from unpaired.trust.score import measure
from unpaired.trust.trust_file import JudgeInfo, pack

_log = logging.getLogger("unpaired")


def publish_trust(folder: RunFolder, most: int) -> None:
    """Add trust.safetensors to the model of a finished run if it is missing and there are enough images.

    Errors, such as missing images or a full disk, are logged as warnings: the model is complete without the file.

    Args:
        folder: the run folder.
        most: the number of images to measure per domain, evenly spaced; with 256 a share is accurate to 0.4 %. 0 for no
            trust file.
    """
    try:
        if most and "trust" not in read_description(folder.model):
            _measure(folder, most)
    except UnpairedError as error:
        _log.warning(f"No trust scores for this model: {error}")


def _measure(folder: RunFolder, most: int) -> None:
    config = read_config(folder)
    if config.data.pairing == "noise":
        return
    domains = open_domains(config.data).without(read_data(folder), config.data)
    images = _images(domains, config.data, most)
    if not images:
        return
    newest, _ = load_newest(folder.checkpoints, strict=True)
    if newest is None:
        return
    info, networks = read_model(folder.model)
    if info.training.step != newest.step and (info.training.step != newest.best_step or not newest.best):
        return
    _log.info(
        f"Measuring on {' + '.join(str(len(some)) for some in images.values())} training images for trust scores."
    )
    objective = build_objective(config)
    if info.training.step == newest.step:
        objective.load_state_dict(newest.parts["weights"])
    else:
        load_selected(objective, newest.best)
    objective.requires_grad_(False).train(objective.uses_training_mode)
    learnt = to_dict(config.objective).get("adversarial_weight", 1) > 0
    # A discriminator of both domains together judges no single output.
    judges = {name: judge for name, judge in objective.discriminators.items() if name in ("A", "B")} if learnt else {}
    trained = {str(name): network for name, network in objective.generators().items()}
    translator = Translator(info, networks, device=config.run.device)
    reference = measure(translator, images, judges, trained if config.optimizer.ema_decay else {})
    described = {name: _judge_info(config.discriminator, judge) for name, judge in judges.items()}
    _, published = read_model(folder.model)  # the translating networks may be on another device
    write_model(folder.model, info, published, trust=pack(reference, described))


def _images(domains: Domains, data: DataConfig, most: int) -> dict[str, Tensor]:
    """Return images by domain at the training size, n c size size, without domains that have too few."""
    sources: dict[Domain, ImageSource | None] = {"A": domains.train_a, "B": domains.train_b}
    found = {}
    for domain, source in sources.items():
        if source is not None and len(source) >= LEAST:
            count = min(most, len(source))
            chosen = [number * len(source) // count for number in range(count)]
            found[str(domain)] = torch.stack([_at_training_size(source, index, data, domain) for index in chosen])
    return found


def _at_training_size(source: ImageSource, index: int, data: DataConfig, domain: Domain) -> Tensor:
    """Return an image at the size of the training crops: resized to it, or cropped at the centre if nothing is resized.

    Not a crop of an enlarged image, as in training: next to its blur every sharp image would seem out of distribution.
    """
    spec = spec_from_config(data, domain)
    image = prepare(source[index], replace(data, load_size=data.crop_size), spec)
    parts = squares(spec.tensor(image), data.crop_size)
    return parts[len(parts) // 2]


def _judge_info(config: DiscriminatorConfig, judge: torch.nn.Module) -> JudgeInfo:
    first = next(weight for weight in judge.parameters() if weight.ndim == 4)
    return JudgeInfo(discriminator=config, in_channels=first.shape[1])
