"""One description of how an image becomes a tensor, in training, evaluating and translating."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unpaired.data.datasets import DataConfig, prepare
from unpaired.data.normalising import spec_from_config
from unpaired.errors import ConfigError, ImageError
from unpaired.evaluation.test_set import as_tested
from unpaired.images import Image, ValueRange
from unpaired.images.input_spec import InputSpec
from unpaired.models.domain_values import DomainValues
from unpaired.models.input_specs import source_spec, target_spec
from unpaired.networks import ResNetGenerator
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo

CONFIG = DataConfig(
    load_size=16,
    crop_size=16,
    channels_a=1,
    channels_b=3,
    background=(9, 80, 200),
    range_a="0..4095",
    nodata_fill_a="7",
    resize_b="nearest",
    icc="convert",
)
CONFIGS = {
    "of both kinds": CONFIG,
    "the defaults": DataConfig(load_size=16, crop_size=16),
    "bands": replace(CONFIG, channels_a=4, channels_b=2),
}


def published(config: DataConfig) -> ModelInfo:
    """The model that a run with these settings publishes."""
    specs = {"A": spec_from_config(config, "A"), "B": spec_from_config(config, "B")}
    direction = DirectionInfo(
        generator=ResNetGenerator(), in_channels=config.channels_a, out_channels=config.channels_b
    )
    return ModelInfo(
        directions={"AtoB": direction},
        domains={"A": "a", "B": "b"},
        training=TrainingInfo(step=1, seed=1, load_size=16, crop_size=16, objective="cyclegan"),
        background=specs["A"].background,
        values={name: DomainValues.of(spec, "uint16") for name, spec in specs.items()},
        icc=config.icc,
    )


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_takes_images_as_its_run_did(kind: str) -> None:
    config = CONFIGS[kind]
    info = published(config)
    assert source_spec(info, "AtoB") == spec_from_config(config, "A")
    assert target_spec(info, "AtoB") == spec_from_config(config, "B")


def test_training_testing_and_calling_it_give_one_tensor() -> None:
    spec, info = spec_from_config(CONFIG, "A"), published(CONFIG)
    pixels = np.random.default_rng(0).integers(0, 5000, (33, 20, 3)).astype(np.uint16)
    image = Image(pixels, alpha=pixels[:, :, 0] * 13, nodata=float(pixels[3, 3, 0]))
    trained = spec.tensor(prepare(image, CONFIG, spec))
    assert trained.shape == (1, 16, 16)
    assert torch.equal(trained, spec(image, (16, 16)))
    assert torch.equal(trained, as_tested(image, info, "A", 1, 16))
    assert spec(image).shape == (1, 33, 20)


def test_whole_ranges_of_types_ask_for_a_type_that_has_one() -> None:
    floats = Image(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ImageError, match="Images of float32 have no range of their own"):
        InputSpec()(floats)
    assert InputSpec(range=ValueRange((0, 1)))(floats).unique().tolist() == [-1]
    with pytest.raises(ConfigError, match="3 channels and 5 are wanted"):
        InputSpec(channels=5)(Image(np.zeros((4, 4, 3), np.uint8)))
