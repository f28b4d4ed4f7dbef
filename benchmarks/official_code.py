"""Beside a checkout of the official code: the same networks, the same files, the same training steps.

    python benchmarks/official_code.py CHECKOUT

CHECKOUT is a clone of junyanz/pytorch-CycleGAN-and-pix2pix; 2a7afba (2025) and c941617 (2020) were run. Only its
`models` and `util` are imported, so torchvision is not needed. Prints three tables: what imported networks answer
(float32), whether exported files are the imported ones to the bit and load there, and how far losses and weights are
apart after three training steps from the same weights on the same images (float64; convolution biases in front of
instance norm are left out, as they have no effect and Adam moves them by rounding noise alone).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.interop.official import export_official, import_official
from unpaired.interop.official.weight_names import to_official
from unpaired.models.model_folder import read_model
from unpaired.recipes import Config, at_size, paper, pix2pix
from unpaired.runs import build_objective
from unpaired.training.state import TrainingState
from unpaired.training.step import train_step

STEPS = 3


def quietly(call: Any, *arguments: Any) -> Any:
    """Return what `call` returns, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*arguments)


def exchange(networks: Any) -> None:
    """Print, for every generator of the official code, the difference of outputs and whether files survive."""
    print("| generator | norm | dropout | largest difference of outputs | file after import and export |")
    print("|---|---|---|---|---|")
    for name, side in (("resnet_9blocks", 64), ("resnet_6blocks", 64), ("unet_128", 128), ("unet_256", 256)):
        for norm in ("instance", "batch"):
            for dropout in (False, True):
                torch.manual_seed(0)
                theirs = quietly(networks.define_G, 3, 3, 16, name, norm, dropout, "normal", 0.02)
                quietly(networks.init_weights, theirs, "normal", 0.02)  # since 2025 define_G leaves that to setup
                theirs.eval()
                with tempfile.TemporaryDirectory() as scratch:
                    folder = Path(scratch)
                    torch.save(theirs.state_dict(), folder / "latest_net_G.pth")
                    import_official(folder / "latest_net_G.pth", folder / "model")
                    _, generators = read_model(folder / "model")
                    export_official(folder / "model", folder / "out")
                    back = torch.load(next((folder / "out").glob("*_net_G*.pth")))
                theirs.load_state_dict(back)
                kept = all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())
                images = torch.randn(2, 3, side, side).clamp(-1, 1)
                with torch.no_grad():
                    apart = (generators["AtoB"].eval()(images) - theirs(images)).abs().max().item()
                print(
                    f"| {name} | {norm} | {'yes' if dropout else 'no'} | {apart:.1e} | {'same' if kept else 'OTHER'} |"
                )


def options(kind: str, adversarial: str) -> SimpleNamespace:
    """Return the official options of a small model; what is not here has no part in a step."""
    cycle = kind == "cycle_gan"
    return SimpleNamespace(
        isTrain=True, gpu_ids=[], device=torch.device("cpu"), checkpoints_dir=tempfile.gettempdir(), name="none",
        preprocess="none",
        model=kind, direction="AtoB", input_nc=3, output_nc=3, ngf=8, ndf=8, netD="basic", n_layers_D=3,
        netG="resnet_6blocks" if cycle else "unet_128", norm="instance" if cycle else "batch", no_dropout=True,
        init_type="normal", init_gain=0.02, gan_mode={"lsgan": "lsgan", "cross_entropy": "vanilla"}[adversarial],
        pool_size=50 if cycle else 0, lr=2e-4, beta1=0.5, lambda_A=10.0, lambda_B=10.0, lambda_identity=0.5,
        lambda_L1=100.0, lr_policy="linear", epoch_count=1, n_epochs=100, n_epochs_decay=100, continue_train=False,
        verbose=False,
    )  # fmt: skip


def ours(kind: str, adversarial: str) -> Config:
    """Return our configuration of the same model."""
    small = {"generator.base_channels": 8, "discriminator.base_channels": 8, "objective.adversarial": adversarial}
    if kind == "cycle_gan":
        return override(at_size(paper(), 64), small)
    config = at_size(pix2pix(), 128)
    return override(replace(config, generator=replace(config.generator, dropout=False)), small)


def step_apart(module: Any, kind: str, adversarial: str) -> tuple[float, float]:
    """Return the largest relative difference of losses, and of weights, over STEPS steps of both codes."""
    config = ours(kind, adversarial)
    state = TrainingState(build_objective(config).double(), config.optimizer)
    chosen = options(kind, adversarial)
    theirs = quietly(module.create_model, chosen)
    quietly(theirs.setup, chosen)
    pairs = _pairs(kind, state.objective, theirs)
    for network, settings, official in pairs:
        official.double().load_state_dict(to_official(settings(config), network.state_dict()))
    theirs.criterionGAN.double()
    worst_loss = 0.0
    for _ in range(STEPS):
        a, b = (torch.rand(1, 3, config.data.crop_size, config.data.crop_size).double() * 2 - 1 for _ in "ab")
        theirs.set_input({"A": a, "B": b, "A_paths": "", "B_paths": ""})
        quietly(theirs.optimize_parameters)
        terms = train_step(state, Batch(a=a, b=b), "fp32")
        state.step += 1
        for mine, name, share in LOSSES[kind]:
            other = share * sum(getattr(theirs, f"loss_{part}").item() for part in name.split("+"))
            worst_loss = max(worst_loss, abs(float(terms[mine]) - other) / abs(other))
    worst = 0.0
    for network, settings, official in pairs:
        mine = to_official(settings(config), network.state_dict())
        for key, value in official.named_parameters():  # statistics of discriminators' norms are never used
            if not _is_dead(official, key):
                worst = max(worst, _relative(mine[key], value.detach()))
    return worst_loss, worst


LOSSES = {
    "cycle_gan": (
        ("adversarial_b", "G_A", 1.0), ("adversarial_a", "G_B", 1.0), ("cycle_a", "cycle_A", 1.0),
        ("cycle_b", "cycle_B", 1.0), ("identity_b", "idt_A", 1.0), ("identity_a", "idt_B", 1.0),
        ("discriminator_b", "D_A", 1.0), ("discriminator_a", "D_B", 1.0),
    ),
    "pix2pix": (
        ("adversarial_b", "G_GAN", 1.0), ("l1_b", "G_L1", 1.0), ("discriminator_b", "D_real+D_fake", 0.5),
    ),
}  # fmt: skip
"""Our name of a loss, the official code's, and the factor between them."""


def _pairs(kind: str, objective: Any, theirs: Any) -> list[tuple[nn.Module, Any, nn.Module]]:
    generator, judge = (lambda config: config.generator), (lambda config: config.discriminator)
    if kind == "pix2pix":
        translators, judges = list(objective.translators.values()), list(objective.discriminators.values())
        return [(translators[0], generator, theirs.netG), (judges[0], judge, theirs.netD)]
    return [
        (objective.translators["AtoB"], generator, theirs.netG_A),
        (objective.translators["BtoA"], generator, theirs.netG_B),
        (objective.discriminators["B"], judge, theirs.netD_A),
        (objective.discriminators["A"], judge, theirs.netD_B),
    ]


def _is_dead(network: nn.Module, key: str) -> bool:
    """Whether a tensor is the bias of a convolution that an instance norm follows."""
    name, _, leaf = key.rpartition(".")
    modules = dict(network.named_modules())
    parent, _, place = name.rpartition(".")
    following = modules.get(f"{parent}.{int(place) + 1}") if place.isdigit() else None
    return leaf == "bias" and isinstance(following, nn.InstanceNorm2d)


def _relative(mine: Tensor, other: Tensor) -> float:
    return float(((mine - other).abs().max() / other.abs().max().clamp(min=1e-12)).item())


def main() -> None:
    """Compare, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    checkout = parser.parse_args().checkout.resolve()
    sys.path.insert(0, str(checkout))
    os.chdir(checkout)
    module = importlib.import_module("models")
    exchange(importlib.import_module("models.networks"))
    print("\n| steps of | adversarial loss | losses apart, relative | weights apart, relative |\n|---|---|---|---|")
    for kind in ("cycle_gan", "pix2pix"):
        for adversarial in ("lsgan", "cross_entropy"):
            losses, weights = step_apart(module, kind, adversarial)
            print(f"| {kind} | {adversarial} | {losses:.1e} | {weights:.1e} |")


if __name__ == "__main__":
    main()
