"""A network of a user's own that does not fit is refused before training; unusual ones that fit work throughout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

import unpaired
from unpaired.config import override
from unpaired.errors import ConfigError
from unpaired.images import Image
from unpaired.recipes import Config, named
from unpaired.runs import train
from unpaired.runs.trial_step import try_own_parts

pytestmark = pytest.mark.usefixtures("clean_registries")

CPU = torch.device("cpu")

FILE = """
from dataclasses import dataclass, replace
from typing import ClassVar
import torch
from torch import nn
from unpaired.recipes import paper

class Module(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.first, self.last = nn.Conv2d(i, 3, 3, padding=1), nn.Conv2d(3, o, 3, padding=1)
        INIT

    def forward(self, x):
        y = self.last(self.first(x)).tanh()
        FORWARD

@dataclass(frozen=True, kw_only=True)
class Own:
    kind: ClassVar[str] = "own"
    multiple: ClassVar[int] = 1
    min_size: ClassVar[int] = 8

    def build(self, i, o):
        BUILD

def own():
    return replace(paper(), generator=Own())
"""


def own(folder: Path, *, init: str = "pass", forward: str = "return y", build: str = "return Module(i, o)") -> Config:
    """Return a small configuration with the generator of a file written into `folder`."""
    text = dedent(FILE).replace("INIT", init).replace("FORWARD", forward).replace("BUILD", build)
    (folder / "own.py").write_text(text)
    return small(named(f"{folder / 'own.py'}:own"))


def small(config: Config) -> Config:
    built_in = "discriminator" if config.generator.kind == "own" else "generator"
    settings = {
        f"{built_in}.base_channels": 4,
        "data.load_size": 36,
        "data.crop_size": 32,
        "schedule.num_steps": 2,
        "run.device": "cpu",
        "run.held_out_every": 0,
        "run.trust_images": 0,
    }
    return override(config, settings)


FAULTS = {
    "another size": (
        {"forward": "return y[:, :, ::2]"},
        r"must return n c h w \(1, 3, 32, 32\) .* not \(1, 3, 16, 32\)",
    ),
    "another number of channels": ({"forward": "return y[:, :1]"}, r"not \(1, 1, 32, 32\)"),
    "another type": ({"forward": "return y.double()"}, "of torch.float32 for images .* of torch.float64"),
    "no tensor": ({"forward": "return y, x"}, "not tuple"),
    "no gradient": ({"forward": "return y.detach()"}, r"has no gradient; remove detach\(\)"),
    "a mistake in its forward": ({"forward": "return self.no"}, "fails in line 16 of own.py .AttributeError"),
    "a mistake in its build": ({"build": "return 1 / 0"}, "fails in line 25 of own.py .ZeroDivisionError"),
    "no module": ({"build": "Module(i, o)"}, "returned NoneType; it must return a torch.nn.Module"),
    "infinite numbers": (
        {"init": 'self.register_buffer("far", torch.tensor(torch.inf))'},
        r"translators.AtoB.far of generator own of the file own.py .* is NaN or infinite",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_network_that_does_not_fit_is_refused_with_its_name(fault: str, tmp_path: Path) -> None:
    text, words = FAULTS[fault]
    config = own(tmp_path, **text)
    with pytest.raises(ConfigError, match=words):
        try_own_parts(config, CPU)


def test_the_trial_comes_before_a_new_run_and_leaves_no_folder_that_training_would_refuse(
    two_folders: Path, tmp_path: Path
) -> None:
    config = override(own(tmp_path, forward="return y[:, :1]"), {"data.root": str(two_folders)})
    with pytest.raises(ConfigError, match="must return n c h w"):
        train(config, out=tmp_path / "run")
    config = override(own(tmp_path), {"data.root": str(two_folders)})
    assert train(config, out=tmp_path / "run").finished


def test_built_in_parts_are_not_tried_and_the_trial_draws_no_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_rng_state()
    try_own_parts(own(tmp_path), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr("unpaired.runs.trial_step.build_objective", lambda config: pytest.fail("built"))
    try_own_parts(small(Config()), CPU)


UNUSUAL = {
    "one layer under two names": ({"init": "self.again = self.last"}, "return (self.again(self.first(x)) + y).tanh()"),
    "a buffer that is not saved": (
        {"init": 'self.register_buffer("gain", torch.tensor(0.5), persistent=False)'},
        "return self.gain * y",
    ),
    "a tensor as an attribute": ({"init": "self.gain = torch.tensor(0.5)"}, "return self.gain * y"),
    "a mask of booleans": (
        {"init": 'self.register_buffer("mask", torch.tensor([True, False, True])[:, None, None])'},
        "return self.mask * y",
    ),
    "numbers read from a tensor": ({"init": "self.gain = [x.item() for x in torch.rand(2)][0] * 0 + 1"}, "return y"),
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_an_unusual_network_trains_resumes_and_translates(case: str, two_folders: Path, tmp_path: Path) -> None:
    text, forward = UNUSUAL[case]
    config = override(
        own(tmp_path, **text, forward=forward), {"data.root": str(two_folders), "optimizer.ema_decay": 0.5}
    )
    config = replace(config, run=replace(config.run, trust_images=16, checkpoint_every=1))
    found = train(config, out=tmp_path / "run")
    again = train(override(config, {"schedule.num_steps": 3}), out=tmp_path / "run", allow_config_change=True)
    assert (found.step, again.step) == (2, 3)
    before = torch.get_rng_state()
    translator = unpaired.load(tmp_path / "run", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert translator(Image(np.zeros((33, 40, 3), np.uint8))).pixels.shape == (33, 40, 3)
    assert all(not finding.problem and not finding.missing for finding in unpaired.verify(tmp_path / "run"))


def test_weights_that_a_discriminator_keeps_fixed_stay_fixed(two_folders: Path, tmp_path: Path) -> None:
    text = """
    from dataclasses import dataclass, replace
    from typing import ClassVar
    from torch import nn
    from unpaired.recipes import paper

    @dataclass(frozen=True, kw_only=True)
    class Fixed:
        kind: ClassVar[str] = "fixed"
        min_size: ClassVar[int] = 8

        def build(self, channels):
            network = nn.Sequential(nn.Conv2d(channels, 4, 4, 2, 1), nn.Conv2d(4, 1, 3))
            network[0].requires_grad_(False)
            return network

    def fixed():
        return replace(paper(), discriminator=Fixed())
    """
    (tmp_path / "own.py").write_text(dedent(text))
    config = override(
        small(named(f"{tmp_path / 'own.py'}:fixed")), {"data.root": str(two_folders), "run.checkpoint_every": 1}
    )
    kept = []

    class Watch:
        every = 1

        def after_step(self, view: unpaired.StepView) -> None:
            judge = dict(view.state.objective.discriminators["A"].named_parameters())
            kept.append({name: weight.detach().clone() for name, weight in judge.items()})

    train(config, out=tmp_path / "run", callbacks=[Watch()])
    first, second = kept
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"1.weight", "1.bias"}
