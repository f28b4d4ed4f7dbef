"""Files of the official code: read without a flag and without running anything, written and read back bit for bit.

The networks below are plain torch, laid out as the official code lays them out (RECIPE: its entries are counted),
so that their names and outputs are those of official files.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import re
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unpaired
from unpaired import cli
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.config import flatten, override, to_dict
from unpaired.data.datasets import DataConfig
from unpaired.errors import ModelError, OutputError
from unpaired.interop.official import (
    export_official,
    from_official,
    import_official,
    read_state,
    recognise,
    to_official,
)
from unpaired.interop.official.exporting import _check_known
from unpaired.models.scale_info import ScaleInfo
from unpaired.networks import DCGANGenerator, ImageGAN, PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from unpaired.recipes import RECIPES, Config
from unpaired.runs import train
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, Translator, read_model, write_model

ROOT = Path(__file__).parent.parent

# --- the official layout, in plain torch -----------------------------------------------------------


def norm_layer(norm: str, width: int) -> nn.Module:
    return {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}[norm](width) if norm != "none" else nn.Identity()


class Block(nn.Module):
    def __init__(self, width: int, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = norm == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
            nn.ReLU(True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Resnet(nn.Module):
    def __init__(self, a: int, b: int, ngf: int, blocks: int, norm: str = "instance", dropout: bool = False) -> None:
        super().__init__()
        bias, entries = norm == "instance", [nn.ReflectionPad2d(3)]
        entries += [nn.Conv2d(a, ngf, 7, bias=bias), norm_layer(norm, ngf), nn.ReLU(True)]
        for width in (ngf, 2 * ngf):
            entries += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), norm_layer(norm, 2 * width), nn.ReLU(True)]
        entries += [Block(4 * ngf, norm, dropout) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            entries += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=bias)]
            entries += [norm_layer(norm, width // 2), nn.ReLU(True)]
        self.model = nn.Sequential(*entries, nn.ReflectionPad2d(3), nn.Conv2d(ngf, b, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Level(nn.Module):
    """One level of the U-Net around the next one (None: the innermost)."""

    def __init__(self, outer: int, inner: int, inside: Level | None, norm: str, **more: Any) -> None:
        super().__init__()
        self.outermost, bias = "images" in more, norm == "instance"
        down = nn.Conv2d(more.get("images", outer), inner, 4, 2, 1, bias=bias)
        if self.outermost:
            assert inside is not None
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1)
            entries = [down, inside, nn.ReLU(True), up, nn.Tanh()]
        elif inside is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            entries = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, norm_layer(norm, outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            entries = [nn.LeakyReLU(0.2, True), down, norm_layer(norm, inner), inside]
            entries += [nn.ReLU(True), up, norm_layer(norm, outer)]
            entries += [nn.Dropout(0.5)] if more.get("dropout") else []
        self.model = nn.Sequential(*entries)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Unet(nn.Module):
    def __init__(self, a: int, b: int, ngf: int, depth: int, norm: str = "batch", dropout: bool = True) -> None:
        super().__init__()
        level = Level(8 * ngf, 8 * ngf, None, norm)
        for _ in range(depth - 5):
            level = Level(8 * ngf, 8 * ngf, level, norm, dropout=dropout)
        for outer in (4 * ngf, 2 * ngf, ngf):
            level = Level(outer, 2 * outer, level, norm)
        self.model = Level(b, ngf, level, norm, images=a)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Patch(nn.Module):
    def __init__(self, channels: int, ndf: int, layers: int, norm: str = "instance") -> None:
        super().__init__()
        bias, widths = norm == "instance", [ndf * min(2**n, 8) for n in range(layers + 1)]
        entries: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for n, (before, after) in enumerate(itertools.pairwise(widths), 1):
            entries += [nn.Conv2d(before, after, 4, 2 if n < layers else 1, 1, bias=bias)]
            entries += [norm_layer(norm, after), nn.LeakyReLU(0.2, True)]
        self.model = nn.Sequential(*entries, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Pixel(nn.Module):
    def __init__(self, channels: int, ndf: int, norm: str = "instance") -> None:
        super().__init__()
        bias = norm == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(channels, ndf, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias),
            norm_layer(norm, 2 * ndf),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def lived_in(network: nn.Module) -> nn.Module:
    """Return the network in eval mode, with batch-norm weights and statistics as training would leave them."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(1234)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.ndim == 1:
            tensor.normal_(0.2, 0.3)
    return network.eval()


def picture(channels: int, size: int) -> Tensor:
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


GENERATORS: dict[str, tuple[Callable[[], nn.Module], ResNetGenerator | UNetGenerator, tuple[int, int], int]] = {
    "resnet_9": (lambda: Resnet(3, 3, 4, 9), ResNetGenerator(base_channels=4), (3, 3), 32),
    "resnet_6": (lambda: Resnet(1, 4, 8, 6), ResNetGenerator(base_channels=8, num_blocks=6), (1, 4), 32),
    "resnet_6 dropout": (
        lambda: Resnet(3, 1, 4, 6, dropout=True),
        ResNetGenerator(base_channels=4, num_blocks=6, dropout=True),
        (3, 1),
        32,
    ),
    "resnet_9 batch": (
        lambda: Resnet(3, 3, 4, 9, "batch"),
        ResNetGenerator(base_channels=4, norm="batch"),
        (3, 3),
        32,
    ),
    "resnet_9 batch dropout": (
        lambda: Resnet(3, 3, 4, 9, "batch", dropout=True),
        ResNetGenerator(base_channels=4, norm="batch", dropout=True),
        (3, 3),
        32,
    ),
    "resnet_6 none": (
        lambda: Resnet(3, 3, 4, 6, "none"),
        ResNetGenerator(base_channels=4, num_blocks=6, norm="none"),
        (3, 3),
        32,
    ),
    "unet_256": (lambda: Unet(3, 3, 4, 8), UNetGenerator(base_channels=4), (3, 3), 256),
    "unet_256 instance": (
        lambda: Unet(3, 1, 4, 8, "instance"),
        UNetGenerator(base_channels=4, norm="instance"),
        (3, 1),
        512,
    ),
    "unet_128": (lambda: Unet(1, 3, 8, 7), UNetGenerator(base_channels=8, num_downs=7), (1, 3), 128),
    "unet_128 instance": (
        lambda: Unet(3, 3, 4, 7, "instance"),
        UNetGenerator(base_channels=4, num_downs=7, norm="instance"),
        (3, 3),
        256,
    ),
    "unet_128 none": (
        lambda: Unet(3, 3, 4, 7, "none"),
        UNetGenerator(base_channels=4, num_downs=7, norm="none"),
        (3, 3),
        128,
    ),
}

DISCRIMINATORS: dict[str, tuple[Callable[[], nn.Module], PatchGAN | PixelGAN]] = {
    **{
        f"patch {layers}{norm}": (
            lambda layers=layers, norm=norm: Patch(3, 4, layers, norm),  # type: ignore[misc]
            PatchGAN(base_channels=4, num_layers=layers, norm=norm),  # type: ignore[arg-type]
        )
        for layers in range(1, 6)
        for norm in ("instance", "batch", "none")
    },
    **{
        f"pixel {norm}": (lambda norm=norm: Pixel(3, 4, norm), PixelGAN(base_channels=4, norm=norm))  # type: ignore[arg-type, misc]
        for norm in ("instance", "batch", "none")
    },
}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two state dicts have the same keys in the same order and the same bits."""
    return list(first) == list(second) and all(
        first[key].dtype == second[key].dtype and first[key].equal(second[key]) for key in first
    )


# --- outputs and round trips -----------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_an_imported_generator_gives_what_the_official_one_gives(name: str, tmp_path: Path) -> None:
    build, config, channels, size = GENERATORS[name]
    official = lived_in(build())
    torch.save(official.state_dict(), tmp_path / "latest_net_G.pth")
    made = import_official(tmp_path / "latest_net_G.pth", tmp_path / "model")
    (direction,) = made.info.directions.values()
    expected = to_dict(config) | ({"dropout": True} if isinstance(config, UNetGenerator) else {})
    assert to_dict(direction.generator) == expected
    assert (direction.in_channels, direction.out_channels) == channels
    info, networks = read_model(tmp_path / "model")
    assert info == made.info
    image = picture(channels[0], size)
    with torch.inference_mode():
        ours, theirs = networks["AtoB"].eval()(image), official(image)
    assert theirs.std() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("name", GENERATORS)
def test_official_to_ours_to_official_is_the_same_to_the_bit_and_in_order(name: str) -> None:
    build, config, channels, _ = GENERATORS[name]
    state = dict(lived_in(build()).state_dict())
    found = recognise(state)
    assert (found.config, found.in_channels, found.out_channels) == (config, *channels)
    ours = config.build(*channels)
    ours.load_state_dict(from_official(config, state), strict=True)
    assert same(to_official(config, ours.state_dict()), state)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_map_both_ways_with_equal_scores(name: str) -> None:
    build, config = DISCRIMINATORS[name]
    official = lived_in(build())
    state = dict(official.state_dict())
    found = recognise(state)
    assert (found.config, found.in_channels) == (config, 3)
    ours = config.build(3).eval()
    ours.load_state_dict(from_official(config, state), strict=True)
    assert same(to_official(config, ours.state_dict()), state)
    image = picture(3, 64 * 2 ** max(0, getattr(config, "num_layers", 0) - 3))
    with torch.inference_mode():
        assert (ours(image) - official(image)).abs().max() <= 1e-5


def test_pix2pix_is_translated_in_training_mode_as_the_official_script_does(tmp_path: Path) -> None:
    official = lived_in(Unet(3, 3, 4, 7, dropout=False))
    torch.save(official.state_dict(), tmp_path / "latest_net_G.pth")
    options(tmp_path, model="pix2pix", netG="unet_128", no_dropout=True, direction="BtoA")
    made = import_official(tmp_path, tmp_path / "model")
    assert {name: entry.mode for name, entry in made.info.directions.items()} == {"BtoA": "training"}
    image = picture(3, 128)
    ours = Translator.load(tmp_path / "model", device="cpu")(image, direction="BtoA")
    with torch.inference_mode():
        assert (ours - official.train()(image)).abs().max() <= 1e-5
        assert (ours - official.eval()(image)).abs().max() > 1e-3


# --- the published layouts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "channels", "num_keys", "num_parameters"),
    [
        (ResNetGenerator(), (3, 3), 48, 11_378_179),
        (ResNetGenerator(num_blocks=6), (3, 3), 36, 7_837_699),
        (ResNetGenerator(norm="batch"), (3, 3), 140, None),
        (UNetGenerator(), (3, 3), 82, 54_413_955),
        (UNetGenerator(norm="instance"), (3, 3), 32, None),
        (UNetGenerator(num_downs=7), (3, 3), 70, 41_828_995),
        (PatchGAN(), (3,), 10, 2_764_737),
        (PixelGAN(), (3,), 6, None),
    ],
)
def test_the_files_have_the_published_numbers_of_tensors(
    config: Any, channels: tuple[int, ...], num_keys: int, num_parameters: int | None
) -> None:
    with torch.device("meta"):
        state = to_official(config, config.build(*channels).state_dict())
    assert len(state) == num_keys
    weights = sum(t.numel() for key, t in state.items() if not key.endswith(("mean", "var", "tracked")))
    assert num_parameters in (None, weights)


def test_the_names_are_those_of_the_published_files() -> None:
    def shapes(config: Any, *channels: int) -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            return {k: tuple(v.shape) for k, v in to_official(config, config.build(*channels).state_dict()).items()}

    resnet = shapes(ResNetGenerator(), 3, 3)
    assert resnet["model.1.weight"] == (64, 3, 7, 7)
    assert resnet["model.18.conv_block.5.weight"] == (256, 256, 3, 3)
    assert resnet["model.19.weight"] == (256, 128, 3, 3)
    assert list(resnet)[-2:] == ["model.26.weight", "model.26.bias"]
    assert "model.10.conv_block.6.weight" in shapes(ResNetGenerator(dropout=True), 3, 3)
    batch = shapes(ResNetGenerator(norm="batch", num_blocks=6, dropout=True), 3, 3)
    assert "model.10.conv_block.7.running_var" in batch
    assert {"model.20.weight", "model.17.num_batches_tracked"} <= set(batch)
    assert [key for key in batch if key.endswith("bias") and f"{key[:-4]}running_mean" not in batch] == [
        "model.23.bias"
    ]
    unet = shapes(UNetGenerator(), 3, 3)
    deep = "model.model.1.model.3.model.3.model.3.model.3.model.3.model.3.model"
    assert unet["model.model.3.bias"] == (3,)
    assert unet["model.model.1.model.5.weight"] == (256, 64, 4, 4)
    assert unet[f"{deep}.1.weight"] == (512, 512, 4, 4)
    assert unet[f"{deep}.4.running_mean"] == (512,)
    assert [key for key in unet if key.endswith("bias") and f"{key[:-4]}running_mean" not in unet] == [
        "model.model.3.bias"
    ]
    patch = shapes(PatchGAN(), 6)
    assert {key: patch[f"model.{key}.weight"] for key in (0, 2, 5, 8, 11)} == {
        0: (64, 6, 4, 4),
        2: (128, 64, 4, 4),
        5: (256, 128, 4, 4),
        8: (512, 256, 4, 4),
        11: (1, 512, 4, 4),
    }
    assert shapes(PixelGAN(), 3)["net.5.weight"] == (1, 128, 1, 1)


# --- which files, which direction ------------------------------------------------------------------


def options(folder: Path, name: str = "train_opt.txt", **values: object) -> None:
    lines = [f"{key:>25}: {value!s:<30}\t[default: x]" for key, value in values.items()]
    text = "\n".join(["----------------- Options ---------------", *lines, "----------------- End -------------------"])
    (folder / name).write_text(text)


def save(folder: Path, name: str, network: nn.Module | None = None, ngf: int = 4) -> nn.Module:
    folder.mkdir(parents=True, exist_ok=True)
    network = lived_in(network or Resnet(3, 3, ngf, 6))
    torch.save(network.state_dict(), folder / name)
    return network


def test_a_folder_of_the_official_code_becomes_a_model_with_both_directions(tmp_path: Path) -> None:
    folder = tmp_path / "horse2zebra"
    forward, back = save(folder, "latest_net_G_A.pth"), save(folder, "latest_net_G_B.pth", Resnet(3, 3, 8, 9))
    for name in ("D_A", "D_B"):
        save(folder, f"latest_net_{name}.pth", Patch(3, 4, 3))
    save(folder, "5_net_G_A.pth", ngf=2)
    (folder / "loss_log.txt").write_text("not ours")
    options(
        folder, model="cycle_gan", load_size=143, crop_size=128, direction="AtoB", dataroot="./datasets/apple2orange/"
    )
    made = import_official(folder, tmp_path / "model")
    assert made.info.domains == {"A": "apple", "B": "orange"}
    assert (made.info.training.load_size, made.info.training.crop_size) == (143, 128)
    assert (made.info.training.step, made.info.training.objective) == (None, "cyclegan")
    translator = Translator.load(tmp_path / "model", device="cpu")
    image = picture(3, 36)
    with torch.inference_mode():
        assert (translator(image) - forward(image)).abs().max() <= 1e-5
        assert (translator(image, direction="BtoA") - back(image)).abs().max() <= 1e-5
    assert "not recorded" in (tmp_path / "model" / "README.md").read_text()


def test_one_of_a_pair_brings_the_other_and_a_file_of_any_name_is_one_generator(tmp_path: Path) -> None:
    save(tmp_path / "x", "40_net_G_A.pth")
    save(tmp_path / "x", "40_net_G_B.pth")
    save(tmp_path, "winter2summer_yosemite.pth")
    pair = import_official(tmp_path / "x" / "40_net_G_B.pth", tmp_path / "pair")
    assert list(pair.info.directions) == ["AtoB", "BtoA"]
    single = import_official(tmp_path / "winter2summer_yosemite.pth", tmp_path / "single")
    assert list(single.info.directions) == ["AtoB"]
    assert single.info.domains == {"A": "winter", "B": "summer"}
    assert "AtoB" in single.notes[0]


def test_the_newest_generators_of_a_folder_are_taken(tmp_path: Path) -> None:
    for epoch, ngf in (("5", 2), ("100", 3), ("20", 4), ("iter_9000", 5)):
        save(tmp_path, f"{epoch}_net_G.pth", ngf=ngf)
    assert import_official(tmp_path, tmp_path / "a").info.directions["AtoB"].generator.base_channels == 3  # type: ignore[union-attr]
    save(tmp_path, "latest_net_G.pth", ngf=6)
    assert import_official(tmp_path, tmp_path / "b").info.directions["AtoB"].generator.base_channels == 6  # type: ignore[union-attr]


def test_with_direction_b_to_a_the_official_a_is_the_datas_b(tmp_path: Path) -> None:
    save(tmp_path, "latest_net_G_A.pth", Resnet(1, 3, 4, 6))
    save(tmp_path, "latest_net_G_B.pth", Resnet(3, 1, 4, 6))
    options(tmp_path, "opt.txt", which_direction="BtoA", fineSize=64)
    made = import_official(tmp_path, tmp_path / "model")
    assert {name: entry.in_channels for name, entry in made.info.directions.items()} == {"AtoB": 3, "BtoA": 1}
    assert made.info.training.crop_size == 64


def test_options_that_contradict_the_weights_are_named_and_not_followed(tmp_path: Path) -> None:
    save(tmp_path, "latest_net_G.pth")
    options(tmp_path, netG="resnet_9blocks", crop_size="a lot", no_dropout="perhaps")
    made = import_official(tmp_path, tmp_path / "model")
    assert made.info.directions["AtoB"].generator.num_blocks == 6  # type: ignore[union-attr]
    assert any("netG resnet_9blocks; the network of the weights is used" in note for note in made.notes)
    assert made.info.training.crop_size is None


def test_the_scale_of_training_comes_from_the_options_of_training_alone(tmp_path: Path) -> None:
    save(tmp_path, "latest_net_G.pth")
    known = {"preprocess": "resize_and_crop", "load_size": 286, "crop_size": 256}
    options(tmp_path, "test_opt.txt", **known)
    assert import_official(tmp_path, tmp_path / "tested").info.scale is None
    options(tmp_path, **known)
    scale = import_official(tmp_path, tmp_path / "trained").info.scale
    assert scale == ScaleInfo(preprocess="resize_and_crop", load_size=286, crop_size=256)
    card = (tmp_path / "trained" / "README.md").read_text()
    assert "| scale of training | resized to 286 x 286; `--resize trained` translates at that scale |" in card
    for number, change in enumerate(({"preprocess": "zoom"}, {"load_size": 10**8}, {"crop_size": "a lot"})):
        options(tmp_path, **{**known, **change})
        assert import_official(tmp_path, tmp_path / str(number)).info.scale is None


def test_two_unets_are_a_cyclegan_and_leave_training_mode(tmp_path: Path) -> None:
    save(tmp_path, "latest_net_G_A.pth", Unet(3, 3, 2, 7))
    save(tmp_path, "latest_net_G_B.pth", Unet(3, 3, 2, 7))
    made = import_official(tmp_path, tmp_path / "model")
    assert made.info.training.objective == "cyclegan"
    assert {entry.mode for entry in made.info.directions.values()} == {"evaluation"}
    assert made.notes[-1].startswith("Translated as test.py --eval does")


def test_the_dropout_of_a_unet_comes_from_the_options_or_is_that_of_pix2pix(tmp_path: Path) -> None:
    save(tmp_path, "latest_net_G.pth", Unet(3, 3, 2, 7))
    first = import_official(tmp_path, tmp_path / "on")
    assert first.info.directions["AtoB"].generator.dropout is True  # type: ignore[union-attr]
    assert any("no_dropout is not recorded" in note for note in first.notes)
    options(tmp_path, no_dropout=True)
    second = import_official(tmp_path, tmp_path / "off")
    assert second.info.directions["AtoB"].generator.dropout is False  # type: ignore[union-attr]


# --- old and wrapped files -------------------------------------------------------------------------


def test_statistics_of_instance_norms_in_old_files_are_dropped(tmp_path: Path) -> None:
    network = lived_in(Resnet(3, 3, 4, 9))
    state = OrderedDict()
    for key, value in network.state_dict().items():
        state[key] = value
        layer, _, leaf = key.rpartition(".")
        if leaf == "bias" and layer != "model.26":
            *before, number = layer.split(".")
            norm = ".".join([*before, str(int(number) + 1)])
            state |= {f"{norm}.running_mean": torch.ones(len(value)), f"{norm}.running_var": torch.ones(len(value))}
            state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    made = import_official(tmp_path / "old.pth", tmp_path / "model")
    assert any("69 statistics" in note for note in made.notes)
    image = picture(3, 32)
    with torch.inference_mode():
        assert (Translator.load(tmp_path / "model", device="cpu")(image) - network(image)).abs().max() <= 1e-5


def test_batch_norms_that_did_not_count_are_given_a_counter(tmp_path: Path) -> None:
    network = lived_in(Unet(3, 3, 2, 7))
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("tracked")}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    import_official(tmp_path / "old.pth", tmp_path / "model")
    image = picture(3, 128)
    with torch.inference_mode():
        assert (read_model(tmp_path / "model")[1]["AtoB"].eval()(image) - network(image)).abs().max() <= 1e-5


def test_prefixes_metadata_parameters_and_half_precision_are_taken(tmp_path: Path) -> None:
    state = {f"module.{key}": nn.Parameter(value.half()) for key, value in Resnet(3, 3, 2, 6).state_dict().items()}
    torch.save({**state, "_metadata": {"": {"version": 1}}}, tmp_path / "x.pth")
    read = read_state(tmp_path / "x.pth")
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in read.values())
    assert recognise(read).config == ResNetGenerator(base_channels=2, num_blocks=6)


# --- files that are not to be trusted --------------------------------------------------------------


class Payload:
    """Calls a function when unpickled, like a hostile file."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def nested(payload: Payload) -> bytes:
    return pickle.dumps(payload)


def tar_of(payload: Payload) -> bytes:
    """The form that torch wrote before 0.2: a tar of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(payload)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def script_of(payload: Payload) -> bytes:
    """The form of a TorchScript program."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(payload))
        archive.writestr("x/constants.pkl", pickle.dumps(payload))
        archive.writestr("x/code/__torch__.py", "import os")
        archive.writestr("x/version", "3\n")
    return buffer.getvalue()


def zip_of(payload: Payload, name: str = "x/data.pkl") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, pickle.dumps(payload, protocol=2))
        archive.writestr("x/version", "3\n")
    return buffer.getvalue()


def saved(content: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def attacks(sentinel: Path) -> dict[str, Callable[[Payload], bytes]]:
    return {
        "plain": nested,
        "torch zip": lambda p: saved({"model.1.weight": p}),
        "torch legacy": lambda p: saved({"model.1.weight": p}, zipped=False),
        "as the key": lambda p: saved([(p, torch.ones(1))]),
        "beside good weights": lambda p: saved({**Resnet(3, 3, 2, 6).state_dict(), "model.27.bias": p}),
        "as metadata": lambda p: saved({**Resnet(3, 3, 2, 6).state_dict(), "_metadata": p}),
        "tar": tar_of,
        "TorchScript": script_of,
        "bare zip": zip_of,
        "inside a storage": lambda p: pickle.dumps(Payload(torch.storage._load_from_bytes, pickle.dumps(p))),
        "inside a zip's storage": lambda p: saved({"w": Payload(torch.storage._load_from_bytes, saved(p, False))}),
    }


CALLS: dict[str, Callable[[Path], Payload]] = {
    "os.system": lambda sentinel: Payload(os.system, f"touch {sentinel}"),
    "builtins.eval": lambda sentinel: Payload(eval, f"__import__('pathlib').Path({str(sentinel)!r}).touch()"),
    "builtins.exec": lambda sentinel: Payload(exec, f"__import__('pathlib').Path({str(sentinel)!r}).touch()"),
}


@pytest.mark.parametrize("file_name", ["latest_net_G.pth", "weights.safetensors"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("attack", attacks(Path()))
def test_code_in_a_file_is_refused_and_not_run(attack: str, call: str, file_name: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "run"
    file = tmp_path / file_name
    file.write_bytes(attacks(sentinel)[attack](CALLS[call](sentinel)))
    with pytest.raises(ModelError) as caught:
        import_official(file, tmp_path / "model")
    assert not sentinel.exists()
    message = str(caught.value)
    assert message.startswith(str(file))
    assert re.search(
        r"it calls (posix\.system|eval|exec|torch\.storage\._load_from_bytes)\)|not run|nothing in it was run", message
    )
    assert not (tmp_path / "model").exists()


def test_a_whole_network_instead_of_its_weights_is_refused_by_its_name(tmp_path: Path) -> None:
    torch.save(Resnet(3, 3, 2, 6), tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"code beside weights \(it calls .*Resnet\).*state_dict"):
        import_official(tmp_path / "net.pth", tmp_path / "model")


def deflated() -> bytes:
    source, target = io.BytesIO(saved({"model.1.weight": torch.zeros(1000, 1000)})), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return target.getvalue()


def changed() -> bytes:
    """A good file with one bit of one weight flipped."""
    state = good()
    content = bytearray(saved(state))
    content[content.index(state["model.4.weight"].numpy().tobytes()) + 1] ^= 1
    return bytes(content)


def good(**changes: Any) -> dict[str, Any]:
    state: dict[str, Any] = dict(Resnet(3, 3, 2, 6).state_dict())
    for key, value in changes.items():
        key = key.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


def shared() -> dict[str, Tensor]:
    state = good()
    return {**state, "model.10.conv_block.1.bias": state["model.10.conv_block.5.bias"]}


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "empty": (lambda: b"", "0 bytes"),
    "a page": (lambda: b"<html>404</html>" * 10, "is a web page, not the weights"),
    "text": (lambda: b"weights of the horse" * 10, "damaged, or no file of torch.save"),
    "truncated": (lambda: saved(good())[:-2000], "damaged"),
    "changed": (changed, "the checksum of"),
    "truncated legacy": (lambda: saved(good(), zipped=False)[:-300], "damaged"),
    "deflated": (deflated, "unpack to more"),
    "a list": (lambda: [torch.ones(3)], "holds a list"),
    "a tensor": (lambda: torch.ones(3), "holds a Tensor"),
    "nothing": (dict, "0 tensors"),
    "numbers by name": (
        lambda: {"epoch": 3, "loss": 0.5},
        "is no state dict of one network, nor does it hold one: its ",
    ),
    "whole numbers": (
        lambda: good(model__26__bias=torch.ones(3, dtype=torch.int32)),
        "no plain weights in model.26.bias",
    ),
    "complex": (lambda: good(model__26__bias=torch.ones(3, dtype=torch.complex64)), "complex64"),
    "sparse": (lambda: good(model__26__bias=torch.ones(3).to_sparse()), "model.26.bias"),
    "on meta": (lambda: good(model__26__bias=torch.ones(3, device="meta")), "model.26.bias"),
    "expanded": (lambda: good(model__1__weight=torch.ones(1).expand(1 << 20, 3, 7, 7)), "repeats or skips memory"),
    "strided": (lambda: good(model__26__bias=torch.ones(6)[::2]), "repeats or skips memory"),
    "shared": (shared, "in one memory"),
    "not a number": (
        lambda: good(model__26__bias=torch.tensor([0, torch.nan, 0])),
        "NaN or infinite weights in model.26",
    ),
    "too large for float": (
        lambda: good(model__26__bias=torch.full((3,), 1e300, dtype=torch.float64)),
        "NaN or infinite",
    ),
    "one missing": (lambda: good(model__16__weight=None), "model.16.weight is missing"),
    "one too many": (lambda: good(more=torch.ones(2)), "more is unknown"),
    "control characters": (lambda: good(**{"\x1b[31m": torch.ones(2)}), r"\x1b[31m is unknown"),
    "one shape": (
        lambda: good(model__19__weight=torch.ones(4, 3, 3, 3)),
        "model.19.weight is [4, 3, 3, 3] instead of [4, 2, 3, 3]",
    ),
    "no head": (lambda: good(model__23__weight=None), "lacks model.23.weight"),
    "no stem": (lambda: good(model__1__weight=None), "lacks model.1.weight"),
    "absurd width": (lambda: good(model__1__weight=torch.ones(9000, 3, 1, 1)), "model.1.weight is [9000, 3, 1, 1]"),
    "no width": (lambda: good(model__1__weight=torch.ones(0, 3, 7, 7)), "model.1.weight is [0, 3, 7, 7]"),
    "flat": (lambda: good(model__1__weight=torch.ones(7)), "model.1.weight is [7]"),
    "antialiased": (lambda: good(model__6__filt=torch.ones(3)), "model.6.filt is unknown"),
    "another layout": (
        lambda: {"conv1.0.weight": torch.ones(32, 3, 4, 4), "conv1.1.bias": torch.ones(32)},
        "in no layout of the official code: its first tensor is conv1.0.weight [32, 3, 4, 4]",
    ),
    "a discriminator": (lambda: Patch(3, 4, 3).state_dict(), "is a discriminator (patchgan, 3 channels)"),
    "a pixel discriminator": (lambda: Pixel(3, 4).state_dict(), "is a discriminator (pixelgan, 3 channels)"),
    "shallow U-Net": (lambda: {"model.model.0.weight": torch.ones(4, 3, 4, 4)}, "num_downs must be 2"),
    "not nested": (
        lambda: {"model.model.0.weight": torch.ones(4, 3, 4, 4), "model.model.3.weight": torch.ones(8, 3, 4, 4)},
        "num_downs must be 2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence_that_says_where(name: str, tmp_path: Path) -> None:
    content, words = WRONG[name][0](), WRONG[name][1]
    file = tmp_path / "latest_net_G.pth"
    file.write_bytes(content if isinstance(content, bytes) else saved(content))
    with pytest.raises(ModelError) as caught:
        import_official(file, tmp_path / "model")
    message = str(caught.value)
    assert message.startswith(str(file)), message
    assert words in message, message
    assert message.isprintable()
    assert len(message) < 600
    assert not (tmp_path / "model").exists()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no file or folder"):
        import_official(tmp_path / "absent", tmp_path / "model")
    with pytest.raises(ModelError, match=r"holds no latest_net_G_A.pth.*\(no .pth file\)"):
        import_official(tmp_path, tmp_path / "model")
    save(tmp_path, "a.pth")
    save(tmp_path, "b.pth")
    with pytest.raises(ModelError, match=r"\(a.pth, b.pth\)"):
        import_official(tmp_path, tmp_path / "model")
    save(tmp_path, "latest_net_G.pth")
    save(tmp_path, "latest_net_G_B.pth")
    with pytest.raises(ModelError, match="beside G_A or G_B"):
        import_official(tmp_path, tmp_path / "model")
    (tmp_path / "latest_net_G.pth").unlink()
    save(tmp_path, "latest_net_G_A.pth", Resnet(3, 1, 2, 6))
    with pytest.raises(ModelError, match="do not belong together"):
        import_official(tmp_path, tmp_path / "model")


def test_an_import_replaces_nothing(tmp_path: Path) -> None:
    save(tmp_path, "latest_net_G.pth")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary.txt").touch()
    with pytest.raises(OutputError, match="exists already"):
        import_official(tmp_path, tmp_path / "home")
    with pytest.raises(OutputError, match="exists already"):
        import_official(tmp_path, tmp_path / "latest_net_G.pth")


@pytest.mark.parametrize("call", CALLS)
def test_the_payloads_would_run_where_nobody_guards_against_them(call: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "run"
    pickle.loads(pickle.dumps(CALLS[call](sentinel)))
    assert sentinel.exists()


# --- writing ---------------------------------------------------------------------------------------


def model(folder: Path, config: Any, *names: str, channels: tuple[int, int] = (3, 3), mode: Any = "evaluation") -> Path:
    entry = DirectionInfo(generator=config, in_channels=channels[0], out_channels=channels[1], mode=mode)
    directions = dict.fromkeys(names, entry)
    training = TrainingInfo(step=1, seed=0, load_size=70, crop_size=64, objective="pix2pix")
    networks = {name: config.build(*channels) for name in names}
    write_model(folder, ModelInfo(directions=directions, domains={"A": "a", "B": "b"}, training=training), networks)
    return folder


def test_a_run_is_exported_with_its_discriminators_and_comes_back_the_same(
    toy_config: Config, two_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {
        "generator.num_blocks": 6,
        "generator.num_downs": 2,
        "schedule.num_steps": 2,
        "data.root": str(two_folders),
        "discriminator.norm": "batch",
    }
    run = train(override(toy_config, small), out=tmp_path / "run").path
    for arguments in (
        ["export", str(run), "--out", str(tmp_path / "checkpoints" / "mine")],
        ["import", str(tmp_path / "checkpoints" / "mine"), "--out", str(tmp_path / "model")],
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        assert left.value.code == 0
    printed = capsys.readouterr().out
    command = (
        f"python test.py --dataroot DATA --checkpoints_dir {tmp_path / 'checkpoints'} --name mine --model cycle_gan"
    )
    assert f"{command} --netG resnet_6blocks --ngf 4 --norm instance" in printed
    assert f"unpaired translate {tmp_path / 'model'} IMAGE..." in printed
    folder = tmp_path / "checkpoints" / "mine"
    assert sorted(path.name for path in folder.glob("*.pth")) == [
        f"latest_net_{n}.pth" for n in ("D_A", "D_B", "G_A", "G_B")
    ]
    first, second = read_model(run)[1], read_model(tmp_path / "model")[1]
    for name in ("AtoB", "BtoA"):
        assert same(first[name].state_dict(), second[name].state_dict())
    weights = load_checkpoint(list_checkpoints(run / "checkpoints")[0]).parts["weights"]
    judge = torch.load(folder / "latest_net_D_A.pth", weights_only=True)
    assert judge["model.0.weight"].equal(weights["discriminators.B.layers.0.weight"])
    official = Patch(3, 4, 1, "batch")
    official.load_state_dict(judge, strict=True)
    assert (Translator.load(tmp_path / "model").info.training.crop_size) == 32


@pytest.mark.parametrize("name", [name for name in GENERATORS if "none" not in name])
def test_the_official_network_loads_what_is_exported(name: str, tmp_path: Path) -> None:
    build, config, channels, size = GENERATORS[name]
    made = export_official(model(tmp_path / "model", config, "AtoB", channels=channels), tmp_path / "out")
    assert [file.name for file in made.files] == ["latest_net_G.pth", "train_opt.txt"]
    network = build().eval()
    network.load_state_dict(torch.load(made.files[0], weights_only=True), strict=True)
    image = picture(channels[0], size)
    with torch.inference_mode():
        ours = read_model(tmp_path / "model")[1]["AtoB"](image)
        assert (ours - network(image)).abs().max() <= 1e-5
    assert (
        f"--netG {name.split()[0]}".replace("_9", "_9blocks").replace("_6", "_6blocks").split("_1")[0] in made.command
    )
    assert ("--eval" in made.command) == (config.norm == "batch" or config.dropout)
    back = import_official(tmp_path / "out", tmp_path / "back")
    assert back.info.directions["AtoB"].generator == config
    assert (back.info.training.load_size, back.info.training.crop_size) == (70, 64)


def test_the_printed_command_suits_the_network(tmp_path: Path) -> None:
    unet = model(tmp_path / "unet", UNetGenerator(num_downs=7, base_channels=2, dropout=True), "BtoA", mode="training")
    command = export_official(unet, tmp_path / "my unet").command
    assert "--name 'my unet' --model test --netG unet_128" in command
    assert "--load_size 128 --crop_size 128" in command
    assert "--eval" not in command
    assert "--no_dropout" not in command
    assert "direction: BtoA" in (tmp_path / "my unet" / "train_opt.txt").read_text()
    dropout = model(tmp_path / "r", ResNetGenerator(base_channels=2, num_blocks=6, dropout=True), "AtoB", "BtoA")
    assert "--model test --model_suffix _A" in export_official(dropout, tmp_path / "dropout").command


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ResNetGenerator(base_channels=2, num_blocks=3), "no resnet_3blocks"),
        (ResNetGenerator(base_channels=2, num_downs=1), "num_downs 2"),
        (ResNetGenerator(base_channels=2, upsampling="resize"), "upsampling resize"),
        (ResNetGenerator(base_channels=2, norm="none"), "is not zero"),
        (UNetGenerator(base_channels=2, num_downs=5), "no unet_32"),
        (UNetGenerator(base_channels=2, num_downs=7, num_skips=4), "generator.num_skips"),
        (ResNetGenerator(base_channels=2, num_blocks=6, num_deformable_blocks=1), "generator.num_deformable_blocks"),
        (ResNetGenerator(base_channels=2, num_blocks=6, displacement=True), "generator.displacement"),
        (ResNetGenerator(base_channels=2, num_blocks=6, num_attention_blocks=1), "generator.num_attention_blocks"),
        (UNetGenerator(base_channels=2, num_downs=7, upsampling="resize"), "upsampling resize"),
    ],
)
def test_what_the_official_code_does_not_have_is_not_exported(config: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        export_official(model(tmp_path / "model", config, "AtoB"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_manual_lists_the_recipes_of_each_format(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "choosing-a-method.md").read_text(encoding="utf-8")
    rows = page.partition("| `unpaired export` |")[2].partition("\n\n")[0].split("\n")[2:]
    listed = [set(re.findall(r"`([\w-]+)`", row.split("|")[1])) for row in rows]
    offers: list[set[str]] = [set(), set(), set()]
    for name, recipe in RECIPES.items():
        entry = DirectionInfo(generator=recipe().generator)
        try:
            _check_known(entry, tmp_path)
            offers[0].add(name)
        except ModelError as error:
            offers[1 if "format torch-export" in str(error) else 2].add(name)
    assert listed == offers


@pytest.mark.parametrize("config", [ImageGAN(), PatchGAN(num_discriminators=2), DCGANGenerator(), DataConfig()])
def test_networks_without_an_official_layout_are_named(config: Any) -> None:
    with pytest.raises(ModelError, match="official"):
        to_official(config, {})


def test_weights_of_another_network_are_not_mapped() -> None:
    config = ResNetGenerator(base_channels=2, num_blocks=6)
    state = config.build(3, 3).state_dict()
    with pytest.raises(ModelError, match=r"blocks\.6\.body\.1\.weight is missing"):
        to_official(ResNetGenerator(base_channels=2, num_blocks=7), state)
    with pytest.raises(ModelError, match=r"model\.1\.weight is missing"):
        from_official(config, state)


def test_an_export_replaces_nothing(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", ResNetGenerator(base_channels=2, num_blocks=6), "AtoB")
    export_official(folder, tmp_path / "out")
    before = (tmp_path / "out" / "latest_net_G.pth").read_bytes()
    with pytest.raises(OutputError, match=r"latest_net_G\.pth exists already"):
        export_official(folder, tmp_path / "out")
    assert (tmp_path / "out" / "latest_net_G.pth").read_bytes() == before


# --- the documents and the rules -------------------------------------------------------------------


def test_the_page_for_those_who_come_from_the_official_code_names_settings_that_exist() -> None:
    text = (ROOT / "docs" / "from-official.md").read_text(encoding="utf-8")
    dotted = {name.replace("-", "_") for name in re.findall(r"`(?:--)?((?:data|generator|objective)\.[\w-]+)", text)}
    assert {"objective.l1_weight", "generator.num_downs"} <= dotted
    assert dotted <= {*flatten(RECIPES["paper"]()), *flatten(RECIPES["pix2pix"]())}
    verbs = set(re.findall(r"unpaired ((?:data |models )?[a-z]+) ", text))
    assert verbs == {"train", "translate", "import", "export", "data download", "models get"}
    assert set(re.findall(r"--recipe (\w+)", text)) <= set(RECIPES)


def test_torch_files_are_read_and_written_in_one_place() -> None:
    source = Path(unpaired.__file__).parent
    users = {
        path.name
        for path in source.rglob("*.py")
        if re.search(r"(?<!safetensors\.)torch\.(load|save)\(", path.read_text())
    }
    assert users == {"torch_files.py", "exporting.py"}
    assert "weights_only=True" in (source / "untrusted" / "torch_files.py").read_text()
