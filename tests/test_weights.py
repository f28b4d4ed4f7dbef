"""Weights of other programs: the network inside any wrapper is imported, or named if it is unsupported.

The networks below are plain torch, with the layout of CUT's code, PyTorch-GAN and mmagic; their outputs were compared
with those programs' own (docs/from-official.md).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from test_official import Level, Patch, Pixel, Resnet, Unet, lived_in, norm_layer, options, picture, saved
from unpaired import cli
from unpaired.errors import ModelError
from unpaired.interop.official import export_official, from_official, import_official, recognise, to_official
from unpaired.networks import ResNetGenerator, UNetGenerator
from unpaired.networks.resnet import ResNetModule
from unpaired.recipes import at_size, cut
from unpaired.translate import Translator, read_model

# --- the layouts, in plain torch ---------------------------------------------------------------------


class Fixed(nn.Module):
    """A blur with its filter as a buffer: of three taps it halves, of four it doubles."""

    def __init__(self, channels: int, taps: list[float]) -> None:
        super().__init__()
        self.up = len(taps) == 4
        square = torch.tensor([[a * b for b in taps] for a in taps])
        self.register_buffer("filt", (square / square.sum() * (4 if self.up else 1)).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.filt, Tensor)
        if self.up:
            padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
            return F.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class Cut(nn.Module):
    """The default ResNet of CUT's code; `down` and `up`: whether it blurs there."""

    def __init__(self, ngf: int, blocks: int, norm: str = "instance", down: bool = True, up: bool = True) -> None:
        super().__init__()
        plain, bias = Resnet(3, 3, ngf, blocks, norm).model, norm == "instance"
        entries = list(plain[:4])
        for at, width in ((4, ngf), (7, 2 * ngf)):
            stride1 = [nn.Conv2d(width, 2 * width, 3, 1, 1, bias=bias), norm_layer(norm, 2 * width), nn.ReLU()]
            entries += [*stride1, Fixed(2 * width, [1, 2, 1])] if down else list(plain[at : at + 3])
        entries += list(plain[10 : 10 + blocks])
        for at, width in ((10 + blocks, 4 * ngf), (13 + blocks, 2 * ngf)):
            stride1 = [nn.Conv2d(width, width // 2, 3, 1, 1, bias=bias), norm_layer(norm, width // 2), nn.ReLU()]
            entries += [Fixed(width, [1, 3, 3, 1]), *stride1] if up else list(plain[at : at + 3])
        self.model = nn.Sequential(*entries, *plain[-3:])

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PyTorchGanBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.block = nn.Sequential(*half, nn.ReLU(), *again)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class PyTorchGan(nn.Module):
    """PyTorch-GAN's ResNet: 7 x 7 convolutions are padded by the number of channels."""

    def __init__(self, blocks: int, channels: int = 3, ngf: int = 8) -> None:
        super().__init__()
        entries = [nn.ReflectionPad2d(channels), nn.Conv2d(channels, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            entries += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
        entries += [PyTorchGanBlock(4 * ngf) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            entries += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width // 2, 3, 1, 1)]
            entries += [nn.InstanceNorm2d(width // 2), nn.ReLU()]
        self.model = nn.Sequential(*entries, nn.ReflectionPad2d(channels), nn.Conv2d(ngf, channels, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def of_mmagic(network: Resnet | Unet) -> dict[str, Tensor]:
    """The weights of an official network under mmagic's names: a convolution and its norm are one entry there."""
    made: dict[str, Tensor] = {}

    def entry(at: str, modules: list[nn.Module]) -> None:
        for module in modules:
            kind = "bn" if isinstance(module, nn.BatchNorm2d) else "conv"
            made.update({f"{at}.{kind}.{key}": value for key, value in module.state_dict().items()})

    def level(module: Level, at: str) -> None:
        inside = [child for child in module.model if isinstance(child, Level)]
        convs = [k for k, child in enumerate(module.model) if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d))]
        down, up = convs
        split = next(k for k, child in enumerate(module.model) if k > down and isinstance(child, (Level, nn.ReLU)))
        entry(f"{at}.0", list(module.model[down:split]))
        if inside:
            level(inside[0], f"{at}.1.model")
        entry(f"{at}.{2 if inside else 1}", list(module.model[up:]))

    if isinstance(network, Unet):
        level(network.model, "model.model")
        return made
    at = 0
    for index, module in enumerate(network.model):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            entry(f"model.{at}", [module, network.model[index + 1]])
            at += 1
        elif hasattr(module, "conv_block"):
            body = list(module.conv_block)
            half = 5 if len(body) == 8 else 4
            entry(f"model.{at}.block.0", body[:half])
            entry(f"model.{at}.block.{2 if len(body) == 8 else 1}", body[half:])
            at += 1
    return made


def imported(
    content: Any, folder: Path, name: str = "weights.pth", **settings: Any
) -> tuple[Any, dict[str, nn.Module]]:
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / name)
    made = import_official(folder / name, folder / "model", **settings)
    return made, read_model(folder / "model")[1]


@torch.inference_mode()
def equal(ours: nn.Module, theirs: nn.Module, size: int = 32) -> bool:
    """Whether two networks in evaluation give the same image to 1e-5, which is not the same everywhere."""
    image = F.pad(picture(3, size), (0, 12)) if size < 100 else picture(3, size)
    expected = theirs.eval()(image)
    return bool(expected.std() > 1e-3 and (ours.eval()(image) - expected).abs().max() <= 1e-5)


# --- CUT -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("blocks", [6, 9])
def test_a_generator_of_cut_gives_what_it_gives_there_and_goes_back_to_the_bit(
    norm: Any, blocks: int, tmp_path: Path
) -> None:
    theirs = lived_in(Cut(4, blocks, norm))
    made, networks = imported(theirs.state_dict(), tmp_path)
    assert made.info.directions["AtoB"].generator == ResNetGenerator(
        base_channels=4, num_blocks=blocks, norm=norm, antialias=True
    )
    assert equal(networks["AtoB"], theirs)
    back = torch.load(export_official(tmp_path / "model", tmp_path / "out").files[0], weights_only=True)
    before = theirs.state_dict()
    assert list(back) == list(before)
    assert all(back[key].dtype == value.dtype and back[key].equal(value) for key, value in before.items())


def test_the_filters_and_names_in_a_file_of_cut_are_the_published_ones(tmp_path: Path) -> None:
    config = ResNetGenerator(antialias=True)
    with torch.device("meta"):
        network = config.build(3, 3)
    state = to_official(config, network.state_dict())
    assert len(state) == 52
    assert {key: tuple(value.shape) for key, value in state.items() if key.endswith("filt")} == {
        "model.7.filt": (128, 1, 3, 3),
        "model.11.filt": (256, 1, 3, 3),
        "model.21.filt": (256, 1, 4, 4),
        "model.25.filt": (128, 1, 4, 4),
    }
    assert state["model.7.filt"][5, 0].tolist() == [
        [1 / 16, 1 / 8, 1 / 16],
        [1 / 8, 1 / 4, 1 / 8],
        [1 / 16, 1 / 8, 1 / 16],
    ]
    assert state["model.21.filt"].sum((2, 3)).eq(4).all()
    assert tuple(state["model.22.weight"].shape) == (128, 256, 3, 3)
    assert list(state)[-2:] == ["model.30.weight", "model.30.bias"]


def test_the_features_that_cut_contrasts_are_its_layers_0_4_8_12_and_16() -> None:
    theirs = lived_in(Cut(4, 9))
    config = ResNetGenerator(base_channels=4, antialias=True)
    ours = config.build(3, 3).eval()
    assert isinstance(ours, ResNetModule)
    ours.load_state_dict(from_official(config, theirs.state_dict()))
    x, expected = picture(3, 32), []
    with torch.inference_mode():
        made = ours.features(x)
        for index, module in enumerate(theirs.model):
            x = module(x)
            if index in (0, 4, 8, 12, 16):
                expected.append(x)
    assert [features.shape for features in made] == [features.shape for features in expected]
    assert all(one.allclose(other, rtol=0, atol=1e-5) for one, other in zip(made, expected, strict=True))


def test_an_export_of_blurs_is_for_the_code_of_cut(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "grumpycat_CUT"
    folder.mkdir(parents=True)
    torch.save(lived_in(Cut(4, 6)).state_dict(), folder / "latest_net_G.pth")
    options(folder, model="cut", netG="resnet_6blocks", direction="BtoA", normG="instance", crop_size=256)
    made = import_official(folder, tmp_path / "model")
    assert made.info.training.objective == "cut"
    exported = export_official(tmp_path / "model", tmp_path / "out")
    text = (tmp_path / "out" / "train_opt.txt").read_text()
    assert all(line in text for line in ("normG: instance", "no_antialias: False", "no_antialias_up: False"))
    assert "--model cut --netG resnet_6blocks --ngf 4 --normG instance" in exported.command
    assert "--direction BtoA" in exported.command


@pytest.mark.parametrize(("down", "up", "flag"), [(True, False, "--no_antialias_up"), (False, True, "--no_antialias ")])
def test_a_network_that_blurs_one_way_alone_is_named(down: bool, up: bool, flag: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"is a ResNet of CUT's code that blurs .*{flag}"):
        imported(Cut(4, 6, down=down, up=up).state_dict(), tmp_path)


def test_without_blurs_the_two_codes_have_the_same_files(tmp_path: Path) -> None:
    theirs = lived_in(Cut(4, 6, down=False, up=False))
    assert equal(imported(theirs.state_dict(), tmp_path)[1]["AtoB"], theirs)


def test_another_filter_is_refused(tmp_path: Path) -> None:
    state = Cut(4, 6).state_dict()
    state["model.7.filt"] = state["model.7.filt"].flip(0) * 1.01
    with pytest.raises(ModelError, match=r"model\.7\.filt is another filter than \(1\.0, 2\.0, 1\.0\)"):
        imported(state, tmp_path)


def test_the_recipe_cut_blurs_where_it_is_asked_to() -> None:
    assert not cut().generator.antialias  # type: ignore[union-attr]
    blurred = replace(cut(), generator=ResNetGenerator(antialias=True))
    assert at_size(blurred, 128).generator == ResNetGenerator(antialias=True, num_blocks=6)
    assert at_size(blurred, 256).generator == ResNetGenerator(antialias=True)


# --- PyTorch-GAN and mmagic --------------------------------------------------------------------------


def test_the_generators_of_pytorch_gan_come_in_as_a_pair_with_their_borders(tmp_path: Path) -> None:
    folder = tmp_path / "monet2photo"
    folder.mkdir()
    forward, back = lived_in(PyTorchGan(2)), lived_in(PyTorchGan(3, ngf=4))
    for epoch in (9, 10):
        torch.save(forward.state_dict(), folder / f"G_AB_{epoch}.pth")
        torch.save((back if epoch == 10 else forward).state_dict(), folder / f"G_BA_{epoch}.pth")
        torch.save(Patch(3, 4, 3).state_dict(), folder / f"D_A_{epoch}.pth")
    made = import_official(folder, tmp_path / "model")
    assert made.info.domains == {"A": "monet", "B": "photo"}
    assert made.info.training.objective == "cyclegan"
    generator = made.info.directions["AtoB"].generator
    assert generator == ResNetGenerator(base_channels=8, num_blocks=2, upsampling="resize_zeros")
    networks = read_model(tmp_path / "model")[1]
    assert equal(networks["AtoB"], forward)
    assert equal(networks["BtoA"], back)
    with pytest.raises(ModelError, match="official code has no resnet with upsampling resize_zeros"):
        to_official(generator, networks["AtoB"].state_dict())


def test_a_generator_of_pytorch_gan_that_changes_the_size_of_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="PyTorch-GAN's GeneratorResNet for 1-channel images"):
        imported(PyTorchGan(2, channels=1).state_dict(), tmp_path)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_resnet_of_mmagic_is_the_official_one_under_other_names(norm: str, dropout: bool, tmp_path: Path) -> None:
    theirs = lived_in(Resnet(3, 3, 4, 6, norm, dropout))
    made, networks = imported({"state_dict": of_mmagic(theirs)}, tmp_path)  # type: ignore[arg-type]
    assert made.info.directions["AtoB"].generator == ResNetGenerator(
        base_channels=4,
        num_blocks=6,
        norm=norm,  # type: ignore[arg-type]
        dropout=dropout,
    )
    assert equal(networks["AtoB"], theirs)


def test_a_checkpoint_of_mmagic_holds_both_directions_and_the_names_of_the_domains(tmp_path: Path) -> None:
    to_horse, to_zebra = lived_in(Resnet(3, 3, 4, 6)), lived_in(Resnet(3, 3, 8, 6))
    state = {f"generators.horse.{key}": value for key, value in of_mmagic(to_horse).items()}  # type: ignore[arg-type]
    state |= {f"generators.zebra.{key}": value for key, value in of_mmagic(to_zebra).items()}  # type: ignore[arg-type]
    state |= {f"discriminators.zebra.model.{k}.conv.weight": torch.ones(4, 3, 4, 4) for k in range(3)}
    meta = {"mmagic_version": "1.2.0", "iter": 270000, "cfg": "model = dict(type='CycleGAN')"}
    made, networks = imported({"meta": meta, "state_dict": state, "message_hub": {}, "optimizer": {}}, tmp_path)
    assert made.info.domains == {"A": "horse", "B": "zebra"}
    assert equal(networks["AtoB"], to_zebra)
    assert equal(networks["BtoA"], to_horse)
    assert "Left out: state_dict.discriminators.zebra." in made.notes


def test_a_unet_of_mmagic_is_pix2pix(tmp_path: Path) -> None:
    theirs = lived_in(Unet(3, 3, 4, 7))
    state = {f"generators.photo.{key}": value for key, value in of_mmagic(theirs).items()}  # type: ignore[arg-type]
    made, networks = imported({"meta": {}, "state_dict": state}, tmp_path)
    assert made.info.directions["AtoB"].generator == UNetGenerator(base_channels=4, num_downs=7, dropout=True)
    assert made.info.domains == {"A": "A", "B": "photo"}
    assert equal(networks["AtoB"], theirs, 128)


# --- wrappers --------------------------------------------------------------------------------------

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: lived_in(Resnet(3, 3, 4, 6)),
    "unet": lambda: lived_in(Unet(3, 3, 4, 7, dropout=False)),
    "cut": lambda: lived_in(Cut(4, 6)),
    "pytorch-gan": lambda: lived_in(PyTorchGan(2)),
}

Wrap = Callable[[dict[str, Tensor]], dict[str, Any]]


def under(*prefixes: str) -> Wrap:
    return lambda state: {"".join(prefixes) + key: value for key, value in state.items()}


def training_state(state: dict[str, Tensor]) -> dict[str, Any]:
    weight = nn.Parameter(torch.ones(3, 3))
    adam = torch.optim.Adam([weight])
    weight.sum().backward()
    adam.step()
    return {"epoch": 3, "loss": torch.tensor(0.5), "optimizer": adam.state_dict(), "state_dict": state}


def lightning(state: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "pytorch-lightning_version": "2.5.0",
        "epoch": 1,
        "state_dict": {**under("generator.")(state), **under("discriminator.")(dict(Patch(3, 4, 3).state_dict()))},
        "hyper_parameters": {"lr": 2e-4, "blocks": 6},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.1), "best_model_path": "x"}},
        "optimizer_states": [training_state({})["optimizer"]],
        "loops": {"fit_loop": {"state_dict": {}}},
    }


WRAPPERS: dict[str, Wrap] = {
    "as it is": under(),
    "DataParallel": under("module."),
    "compiled": under("_orig_mod."),
    "compiled in DDP": under("module.", "_orig_mod."),
    "DDP compiled": under("_orig_mod.", "module."),
    "an attribute": under("netG."),
    "an attribute in DDP": under("netG.", "module."),
    "attributes in attributes": under("trainer.", "model.", "netG."),
    "an attribute called model": under("model."),
    "of some of its entries": lambda state: {
        key.replace("model.4.", "model.4._orig_mod."): v for key, v in state.items()
    },
    "a bare sequence": lambda state: {key.removeprefix("model."): value for key, value in state.items()},
    "a training state": training_state,
    "in two mappings": lambda state: {"checkpoint": {"generator": under("module.")(state)}, "step": 7},
    "the same twice": lambda state: {"model": state, "state_dict": state},
    "Lightning": lightning,
    "AveragedModel": lambda state: {"n_averaged": torch.tensor(5), **under("module.")(state)},
    "beside a discriminator": lambda state: {"G": state, "D": dict(Patch(3, 4, 3).state_dict())},
    "beside a network of a loss": lambda state: {
        **under("netG.")(state),
        **{f"vgg.features.{k}.weight": torch.ones(8, 3, 3, 3) for k in (0, 2)},
    },
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_network_is_found_in_whatever_it_is_wrapped_in(wrapper: str, kind: str, tmp_path: Path) -> None:
    if (wrapper, kind) == ("a bare sequence", "unet"):
        pytest.skip("a U-Net is no sequence")
    theirs = NETWORKS[kind]()
    state = dict(theirs.state_dict())
    made, networks = imported(WRAPPERS[wrapper](state), tmp_path)
    assert list(networks) == ["AtoB"]
    assert networks["AtoB"].state_dict().keys()
    plain = imported(state, tmp_path / "plain")[1]["AtoB"].state_dict()
    assert {key: value.tolist() for key, value in networks["AtoB"].state_dict().items()} == {
        key: value.tolist() for key, value in plain.items()
    }
    assert equal(networks["AtoB"], theirs, 128 if kind == "unet" else 32)
    assert any("Left out" in note for note in made.notes) == (wrapper in LEFT_OUT)


LEFT_OUT = ("Lightning", "beside a discriminator", "beside a network of a loss")


def test_a_file_of_averaged_weights_as_torch_writes_it(tmp_path: Path) -> None:
    theirs = lived_in(Resnet(3, 3, 4, 6))
    average = torch.optim.swa_utils.AveragedModel(theirs)
    assert equal(imported(average.state_dict(), tmp_path)[1]["AtoB"], theirs)


@pytest.mark.parametrize(
    "names",
    [
        ("G_A", "G_B"),
        ("netG_A", "netG_B"),
        ("G_AB", "G_BA"),
        ("netG_A2B", "netG_B2A"),
        ("genA2B", "genB2A"),
        ("generator_AtoB", "generator_BtoA"),
        ("gen_a_to_b", "gen_b_to_a"),
        ("model.gen_AB", "model.gen_BA"),
    ],
)
def test_both_directions_of_one_file_come_in_by_their_names(names: tuple[str, str], tmp_path: Path) -> None:
    forward, back = lived_in(Resnet(3, 3, 4, 6)), lived_in(Resnet(3, 3, 8, 6))
    flat = {**under(f"{names[1]}.")(dict(back.state_dict())), **under(f"{names[0]}.")(dict(forward.state_dict()))}
    for number, content in enumerate(
        (flat, {"state_dict": flat}, {names[0]: forward.state_dict(), names[1]: back.state_dict()})
    ):
        made, networks = imported(content, tmp_path / str(number))
        assert equal(networks["AtoB"], forward)
        assert equal(networks["BtoA"], back)
        assert made.info.training.objective == "cyclegan"


def test_of_two_that_nothing_tells_apart_one_has_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = lived_in(Resnet(3, 3, 4, 6)), lived_in(Resnet(3, 3, 8, 6))
    both = {"photo_generator": first.state_dict(), "monet_generator": second.state_dict()}
    with pytest.raises(
        ModelError, match=r"holds 2 generators, photo_generator, monet_generator; select one with --network"
    ):
        imported(both, tmp_path)
    with pytest.raises(ModelError, match="holds no network monet; it holds photo_generator, monet_generator"):
        imported(both, tmp_path, network="monet")
    with pytest.raises(SystemExit) as left:
        cli.main(
            ["import", str(tmp_path / "weights.pth"), "--out", str(tmp_path / "model"), "--network", "monet_generator"]
        )
    assert left.value.code == 0
    assert "monet_generator in weights.pth is AtoB" in capsys.readouterr().out
    assert equal(read_model(tmp_path / "model")[1]["AtoB"], second)


@pytest.mark.parametrize(
    "names", [("params", "params_ema"), ("netG", "netG_ema"), ("model", "ema"), ("online_model", "ema_model")]
)
def test_ema_weights_are_taken_before_raw_ones_and_that_is_said(names: tuple[str, str], tmp_path: Path) -> None:
    raw, average = lived_in(Resnet(3, 3, 4, 6)), lived_in(Resnet(3, 3, 8, 6))
    content = {names[0]: raw.state_dict(), names[1]: average.state_dict()}
    made, networks = imported(content, tmp_path)
    assert equal(networks["AtoB"], average)
    assert f"Taken: the EMA weights {names[1]}; the raw weights are there with --network {names[0]}." in made.notes
    assert equal(imported(content, tmp_path / "raw", network=names[0])[1]["AtoB"], raw)


def test_a_pair_in_files_named_as_its_directions(tmp_path: Path) -> None:
    forward, back = lived_in(Resnet(3, 3, 4, 6)), lived_in(Resnet(3, 3, 8, 6))
    torch.save(forward.state_dict(), tmp_path / "netG_A2B.pth")
    torch.save(back.state_dict(), tmp_path / "netG_B2A.pth")
    import_official(tmp_path / "netG_B2A.pth", tmp_path / "model")
    networks = read_model(tmp_path / "model")[1]
    assert equal(networks["AtoB"], forward)
    assert equal(networks["BtoA"], back)


def test_images_are_translated_with_a_wrapped_network_of_cut(tmp_path: Path) -> None:
    theirs = lived_in(Cut(4, 6))
    imported(under("module.", "_orig_mod.")(dict(theirs.state_dict())), tmp_path)
    image = picture(3, 36)
    with torch.inference_mode():
        made = Translator.load(tmp_path / "model", device="cpu")(image)
        assert (made - theirs(image)).abs().max() <= 1e-5


# --- unsupported files -----------------------------------------------------------------------------


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 20)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def keys(*names: str) -> bytes:
    return saved({name: torch.ones(4, 4, 3, 3) for name in names})


FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "Git LFS": (
        "net.pth",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 45\n",
        "git lfs pull",
    ),
    "a page": ("net.pth", lambda: b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page"),
    "an answer of a server": ("net.pth", lambda: b'{"error": "not found"}', "is JSON text"),
    "safetensors": (
        "net.safetensors",
        lambda: safetensors.torch.save({"model.1.weight": torch.ones(3)}),
        "is a file of safetensors",
    ),
    "ONNX": ("net.pth", lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.9.0", "is a network of ONNX"),
    "ONNX by name": ("net.onnx", lambda: b"\x3a\x00", "is a network of ONNX"),
    "Keras": ("net.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "is a file of HDF5"),
    "Keras 3": ("net.keras", lambda: zipped("config.json", "model.weights.h5"), "is a file of Keras 3"),
    "TensorFlow's data": ("net.ckpt.data-00000-of-00001", lambda: bytes(100), "part of a checkpoint of TensorFlow"),
    "TensorFlow's index": ("net.index", lambda: b"\x00" * 40 + bytes.fromhex("57fb808b247547db"), "TensorFlow"),
    "TensorFlow Lite": ("net.tflite", lambda: b"\x1c\x00\x00\x00TFL3" + bytes(30), "TensorFlow Lite"),
    "NumPy": ("net.npy", array, "is an array of NumPy"),
    "NumPy's archive": ("net.npz", lambda: zipped("w.npy"), "is an archive of NumPy arrays"),
    "a zip": ("net.zip", lambda: zipped("checkpoints/latest_net_G.pth"), "is a zip of other files; unpack"),
    "torch.export": ("net.pt2", lambda: zipped("net/archive_format", "net/data.x"), "is a program of torch.export"),
    "gzip": ("net.pth.gz", lambda: b"\x1f\x8b\x08" + bytes(30), "is packed with gzip; unpack it"),
    "StyleGAN's": ("net.pkl", lambda: b"\x80\x04\x95" + bytes(30), "StyleGAN's networks are such files"),
    "an image": ("net.pth", lambda: b"\x89PNG\r\n\x1a\n" + bytes(30), "is an image"),
    "a diffusion U-Net": (
        "net.pth",
        lambda: keys("down_blocks.0.resnets.0.conv1.weight"),
        "U-Net of a diffusion model",
    ),
    "a latent diffusion": (
        "net.ckpt",
        lambda: saved({"state_dict": {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(2, 4, 3, 3)}}),
        "U-Net of a diffusion model",
    ),
    "LoRA": ("net.pth", lambda: keys("unet.down.0.lora_A.weight"), "LoRA"),
    "StyleGAN": ("net.pt", lambda: saved({"g_ema": {"style.1.weight": torch.ones(4, 4)}}), "network of StyleGAN"),
    "U-GAT-IT": ("net.pt", lambda: saved({"genA2B": {"DownBlock.1.weight": torch.ones(2, 3, 7, 7)}}), "U-GAT-IT"),
    "heads of CUT": ("net.pth", lambda: saved({"mlp_0.0.weight": torch.ones(4, 3)}), "netF"),
    "VGG": ("vgg.pth", lambda: keys("features.0.weight", "classifier.0.weight"), "classifies images"),
    "a classifier": ("r.pth", lambda: keys("conv1.weight", "layer1.0.conv1.weight"), "classifies images"),
    "PyTorch-GAN's U-Net": ("g.pth", lambda: keys("down1.model.0.weight"), "PyTorch-GAN's GeneratorUNet"),
    "an optimizer": ("o.pth", lambda: saved(training_state({})["optimizer"]), "state of an optimizer"),
    "a tensor": ("x.pth", lambda: saved(torch.ones(3)), "holds a Tensor"),
    "a discriminator": (
        "d.pth",
        lambda: saved(under("netD.")(dict(Patch(3, 4, 3).state_dict()))),
        "is a discriminator",
    ),
    "a nested discriminator": (
        "d.pth",
        lambda: saved({"epoch": 1, "model": under("module.")(dict(Pixel(3, 4).state_dict()))}),
        "is a discriminator",
    ),
    "CUT's discriminator": ("d.pth", lambda: keys("model.0.weight", "model.2.filt"), "is a discriminator"),
    "mmagic's discriminator": ("d.pth", lambda: keys("model.0.conv.weight"), "is a discriminator"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_not_read_is_called_what_it_is_and_never_damaged(kind: str, tmp_path: Path) -> None:
    name, content, words = FILES[kind]
    (tmp_path / name).write_bytes(content())
    with pytest.raises(ModelError) as caught:
        import_official(tmp_path / name, tmp_path / "model")
    message = str(caught.value)
    assert words in message, message
    assert message.startswith(str(tmp_path / name))
    assert "damaged" not in message
    assert "\n" not in message
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: nn.DataParallel(nn.Conv2d(3, 3, 3)), r"a whole network with its code.*it calls torch\.nn"),
        (lambda: {"hyper": Path("x"), "state_dict": {}}, r"settings of its training.*it calls pathlib"),
        (lambda: {"loss": np.float64(3), "state_dict": {}}, r"numbers of NumPy.*it calls numpy"),
    ],
)
def test_code_beside_weights_is_called_what_it_is(network: Any, words: str, tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "net.pth")
    with pytest.raises(ModelError, match=rf"{words}.*nothing of it was run.*state_dict"):
        import_official(tmp_path / "net.pth", tmp_path / "model")


FOLDERS: dict[str, tuple[str, str]] = {
    "a model folder": ("model.json", "is a model folder already"),
    "diffusers": ("model_index.json", "pipeline of diffusers"),
    "SavedModel": ("saved_model.pb", "SavedModel of TensorFlow"),
    "TensorFlow": ("cyclegan.ckpt-1000.index", "checkpoints of TensorFlow"),
    "safetensors": ("model.safetensors", "files of safetensors"),
    "ONNX": ("net.onnx", "networks of ONNX"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_without_a_generator_are_called_what_they_are(kind: str, tmp_path: Path) -> None:
    name, words = FOLDERS[kind]
    (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(ModelError, match=words):
        import_official(tmp_path, tmp_path / "model")


def test_mappings_that_hold_themselves_end(tmp_path: Path) -> None:
    state: dict[str, Any] = {"epoch": 1}
    state["self"] = state
    with pytest.raises(ModelError, match="is no state dict of one network"):
        imported(state, tmp_path)
    state["model"] = dict(Resnet(3, 3, 4, 6).state_dict())
    imported(state, tmp_path)


def test_a_name_of_two_wrappers_that_collides_is_refused(tmp_path: Path) -> None:
    state = dict(Resnet(3, 3, 4, 6).state_dict())
    state["module.model.1.bias"] = state["model.1.bias"].clone()
    with pytest.raises(ModelError, match=r"holds model\.1\.bias twice"):
        imported(state, tmp_path)


def test_hostile_names_take_no_time(tmp_path: Path) -> None:
    names = ["1" * 250 + f".conv_block.{k}" for k in range(300)] + ["model." * 40 + str(k) for k in range(300)]
    (tmp_path / "net.pth").write_bytes(saved({name: torch.ones(1, 1, 1, 1) for name in [*names, "x" * 100_000]}))
    with pytest.raises(ModelError):
        import_official(tmp_path / "net.pth", tmp_path / "model")


def test_a_recognised_network_says_whose_layout_it_has() -> None:
    assert recognise(dict(PyTorchGan(2).state_dict())).layout == "pytorch-gan"
    assert recognise(of_mmagic(Resnet(3, 3, 4, 6))).layout == "mmagic"
    assert recognise(dict(Cut(4, 6).state_dict())).layout == "official"
