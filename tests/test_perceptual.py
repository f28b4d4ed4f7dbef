"""Feature networks: fixed weights, named maps, gradients for the images, and refusals of other files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from unpaired.compat.torch_private import FakeTensorMode
from unpaired.config import to_dict
from unpaired.errors import ConfigError, ModelError
from unpaired.networks import PatchGAN, PixelGAN
from unpaired.networks.feature_sources import open_features
from unpaired.networks.perceptual import FeatureNetwork
from unpaired.networks.vgg import relu_places, vgg_layers


def images(channels: int = 3, size: int = 32, count: int = 2) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = {f"features.{key}": value for key, value in vgg_layers(16).state_dict().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(2, 2)}, path)
    return path


def run_folder(path: Path, config: PatchGAN | PixelGAN, channels: int = 3) -> dict[str, Tensor]:
    """Write as much of a run as holds a discriminator, and return its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state = config.build(channels).state_dict()
    checkpoint = path / "checkpoints" / "step-00000005"
    checkpoint.mkdir(parents=True)
    (path / "config.yaml").write_text(json.dumps({"schema": 1, "discriminator": to_dict(config)}))
    file = checkpoint / "weights.safetensors"
    save_file({f"discriminators.B.{key}": value for key, value in state.items()}, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    (checkpoint / "MANIFEST.json").write_text(json.dumps({"files": {file.name: {"sha256": sha256}}}))
    return dict(state)


def check(features: FeatureNetwork, given: Tensor) -> None:
    """Named maps, gradients for the images alone, nothing trained or saved, evaluation mode."""
    given = given.clone().requires_grad_(True)
    found = features.train()(given)
    assert list(found) == [name for name in features.layers if name in found]
    assert set(features.content) <= set(found)
    assert set(features.style) & set(found)
    assert all(maps.shape[0] == len(given) and maps.isfinite().all() for maps in found.values())
    sum(maps.square().mean() for maps in found.values()).backward()  # type: ignore[union-attr]
    assert given.grad is not None
    assert (given.grad.abs().amax((1, 2, 3)) > 0).all()
    assert not list(features.parameters())
    assert not features.state_dict()
    assert not any(module.training for module in features.modules())
    first = features.layers[0]
    assert torch.equal(features(given, [first])[first], found[first])


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_random_features_of_any_channels(channels: int) -> None:
    features = open_features("random", channels)
    check(features, images(channels))
    # Small images lack the coarse scales.
    assert "x2.layer3" in features(images(channels))
    assert "x4.layer1" not in features(images(channels))
    assert "x4.layer3" in features(images(channels, 64))


def test_random_features_are_a_constant() -> None:
    features = open_features("random", 3)
    assert features.sha256.startswith("77a580d7f533a87d")
    with pytest.raises(ConfigError, match="are others"):
        open_features("random", 3, sha256="0" * 64)


def test_structure_ignores_the_palette_and_layers_do_not() -> None:
    features = open_features("random", 3)
    given = images(3, 64, 1) * 0.4
    faded = given * 0.5
    names = ("x1.structure2", "x1.layer2")
    a, b = features(given, names), features(faded, names)
    difference = {name: float((a[name] - b[name]).square().mean() / a[name].square().mean()) for name in names}
    assert difference["x1.structure2"] < difference["x1.layer2"] / 3


def test_vgg_has_the_published_layers(vgg16: Path) -> None:
    assert list(relu_places(19)) == [
        f"relu{block}_{layer}" for block, count in enumerate((2, 2, 4, 4, 4), 1) for layer in range(1, count + 1)
    ]
    for depth in (16, 19):
        layers = vgg_layers(depth)  # type: ignore[arg-type]
        assert all(isinstance(layers[place], nn.ReLU) for place in relu_places(depth).values())  # type: ignore[arg-type]
    assert sum(weight.numel() for weight in vgg_layers(19).parameters()) == 20_024_384
    features = open_features(f"vgg16:{vgg16}", 3)
    check(features, images())
    assert features(images(), ["relu4_3"])["relu4_3"].shape == (2, 512, 4, 4)


def test_vgg_repeats_grey_and_refuses_other_channels(vgg16: Path) -> None:
    features = open_features(f"vgg16:{vgg16}", 1)
    grey = images(1)
    assert torch.equal(features(grey)["relu2_2"], features(grey.expand(-1, 3, -1, -1))["relu2_2"])
    with pytest.raises(ConfigError, match="takes images with 3 channels"):
        open_features(f"vgg16:{vgg16}", 4)


def test_vgg_says_whether_its_weights_are_the_published_ones(vgg16: Path) -> None:
    sha256 = hashlib.sha256(vgg16.read_bytes()).hexdigest()
    features = open_features(f"vgg16:{vgg16}", 3, sha256=sha256)
    assert features.title == f"VGG-16, other weights, SHA-256 {sha256[:8]}"
    with pytest.raises(ModelError, match="is another file"):
        open_features(f"vgg16:{vgg16}", 3, sha256="397923af")
    with pytest.raises(ModelError, match="does not hold VGG-19"):
        open_features(f"vgg19:{vgg16}", 3)


@pytest.mark.parametrize("config", [PatchGAN(base_channels=8, num_layers=2), PixelGAN(base_channels=8)])
def test_layers_of_a_trained_discriminator(tmp_path: Path, config: PatchGAN | PixelGAN) -> None:
    state = run_folder(tmp_path, config)
    features = open_features(f"discriminator:{tmp_path}", 3)
    check(features, images())
    network = config.build(3)
    network.load_state_dict(state)
    assert torch.equal(features(images(), ["layer1"])["layer1"], network.layers[:2](images()))  # type: ignore[union-attr,index]
    assert features.title == f"the discriminator of B in {tmp_path.name}"
    checkpoint = tmp_path / "checkpoints" / "step-00000005"
    assert open_features(f"discriminator:{checkpoint}", 3).sha256 == features.sha256


def test_several_discriminators_give_the_features_of_the_first(tmp_path: Path) -> None:
    run_folder(tmp_path, PatchGAN(base_channels=8, num_layers=1, num_discriminators=2))
    assert open_features(f"discriminator:{tmp_path}", 3).layers == ("layer1", "layer2")


def test_refusals_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source of features 'vgg'; choose"):
        open_features("vgg", 3)
    with pytest.raises(ConfigError, match="names no file"):
        open_features("vgg19:", 3)
    with pytest.raises(ModelError, match="Cannot read"):
        open_features(f"vgg19:{tmp_path / 'none.pth'}", 3)
    with pytest.raises(ModelError, match="is no run, checkpoint or model folder"):
        open_features(f"discriminator:{tmp_path}", 3)
    run_folder(tmp_path, PatchGAN(base_channels=8), channels=4)
    with pytest.raises(ModelError, match="no discriminator of images with 3 channels"):
        open_features(f"discriminator:{tmp_path}", 3)
    weights = next(tmp_path.glob("checkpoints/*/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="is damaged"):
        open_features(f"discriminator:{tmp_path}", 4)


def test_images_that_are_too_small_or_layers_that_do_not_exist() -> None:
    features = open_features("random", 3)
    with pytest.raises(ConfigError, match="at least 16x16 pixels, not 8x8"):
        features(images(size=8))
    with pytest.raises(ValueError, match="has no layer relu1_1"):
        features(images(), ["relu1_1"])


def test_opening_draws_no_random_numbers_and_works_without_values(vgg16: Path) -> None:
    before = torch.random.get_rng_state()
    with FakeTensorMode():
        for source in ("random", f"vgg16:{vgg16}"):
            features = open_features(source, 3)
            assert all(maps.shape[0] == 2 for maps in features(torch.zeros(2, 3, 32, 32)).values())
    assert torch.equal(before, torch.random.get_rng_state())
