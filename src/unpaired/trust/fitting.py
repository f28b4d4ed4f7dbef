"""What the translations of a finished run are compared with: measured on its training images, published with its model.

After training, not in it: it needs the final weights, takes a fraction of the time of training, and a run whose images
are no longer there is finished all the same.
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
    """Add trust.safetensors to the model of a finished run, where it is missing and there are images enough.

    most: images of a domain that are measured, evenly spread; shares of 256 are good to 0.4 %. 0 for no trust file.

    What is in the way (images that are gone, a full disk) is logged as a warning and no error: the model is whole
    without it.
    """
    try:
        if most and "trust" not in read_description(folder.model):
            _measure(folder, most)
    except UnpairedError as error:
        _log.warning(f"The model cannot say how far to trust its translations: {error}")


def _measure(folder: RunFolder, most: int) -> None:
    config = read_config(folder)
    if config.data.pairing == "noise":
        return
    domains = open_domains(config.data).without(read_data(folder), config.data)
    images = _images(domains, config.data, most)
    newest, _ = load_newest(folder.checkpoints, strict=True)
    info, networks = read_model(folder.model)
    if newest is None or not images:
        return
    if info.training.step != newest.step and (info.training.step != newest.best_step or not newest.best):
        return
    _log.info(
        f"Measuring on {' + '.join(str(len(some)) for some in images.values())} training images what can be trusted."
    )
    objective = build_objective(config)
    if info.training.step == newest.step:
        objective.load_state_dict(newest.parts["weights"])
    else:
        load_selected(objective, newest.best)
    objective.requires_grad_(False).train(objective.uses_training_mode)
    learnt = to_dict(config.objective).get("adversarial_weight", 1) > 0
    judges = dict(objective.discriminators.items()) if learnt else {}
    trained = {str(name): network for name, network in objective.generators().items()}
    translator = Translator(info, networks, device=config.run.device)
    reference = measure(translator, images, judges, trained if config.optimizer.ema_decay else {})
    described = {name: _described(config.discriminator, judge) for name, judge in judges.items()}
    _, published = read_model(folder.model)  # those that translated may be on another device
    write_model(folder.model, info, published, trust=pack(reference, described))


def _images(domains: Domains, data: DataConfig, most: int) -> dict[str, Tensor]:
    """Return images by domain as a model is tried on them, n c size size; of a domain with too few, none."""
    sources: dict[Domain, ImageSource | None] = {"A": domains.train_a, "B": domains.train_b}
    found = {}
    for domain, source in sources.items():
        if source is not None and len(source) >= LEAST:
            count = min(most, len(source))
            chosen = [number * len(source) // count for number in range(count)]
            found[str(domain)] = torch.stack([_as_tried(source, index, data, domain) for index in chosen])
    return found


def _as_tried(source: ImageSource, index: int, data: DataConfig, domain: Domain) -> Tensor:
    """Return an image at the size of the training crops: resized to it, or its middle where nothing is resized.

    Not a crop of an image made larger, as in training: its blur would make every sharp image look odd.
    """
    spec = spec_from_config(data, domain)
    image = prepare(source[index], replace(data, load_size=data.crop_size), spec)
    parts = squares(spec.tensor(image), data.crop_size)
    return parts[len(parts) // 2]


def _described(config: DiscriminatorConfig, judge: torch.nn.Module) -> JudgeInfo:
    first = next(weight for weight in judge.parameters() if weight.ndim == 4)
    return JudgeInfo(discriminator=config, in_channels=first.shape[1])
