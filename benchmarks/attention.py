"""Content that no training image shows: drawn strangers in test scenes, translated with and without an attention gate.

    python benchmarks/attention.py OUT [--b winter] [--steps 1500] [--seeds 0 1 2] [--only gated] [--any-hue]

Each run is kept in OUT/B-SYSTEM-SEED and continues when it was interrupted; a finished one is not run again. All
systems have the demo's networks, optimizer and data, and the cycle weights of the recipe `fast`. The translation T of a
gated generator is trained as without a gate, bit for bit, so "gated, open" is T alone: the ungated generator of the
same seed. --only ungated trains that one by itself, with generator.kind resnet. Measured on 100 unseen scenes, in both
directions: the error on strangers and the PSNR on the other pixels, with one stranger in each scene,
and the PSNR on the same scenes without strangers; pixels at the edges of strangers do not count. "changing" is the
error on pixels that differ between the styles by more than 16 grey levels, divided by that of the unchanged input: a
generator that changes nothing has 1. Prints means over the seeds [smallest, largest], writes OUT/B.json and a picture,
OUT/B.png. --any-hue measures strangers whose colours may be those of the scenes. With --validation other scenes are
measured, for comparisons of settings.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from unpaired.config import override
from unpaired.images import Image, to_tensor
from unpaired.models.model_folder import find_model, read_model
from unpaired.networks import AttentionGenerator
from unpaired.networks.protocols import GeneratorConfig
from unpaired.objectives import CycleGAN
from unpaired.recipes import Config, demo
from unpaired.reproduce.tables import spread
from unpaired.runs import train
from unpaired.scenes.draw import draw_dataset
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.scenes.strangers import draw_strangers
from unpaired.training.schedule import ScheduleConfig
from unpaired.translate.translator import Translator

SIZE, A, OPEN = 64, "summer", "gated, open"
TEST, VALIDATION = 0, 77
"""Seeds of the worlds whose test scenes are measured; training scenes are of world 0."""

SYSTEMS: dict[str, tuple[bool, float]] = {
    "ungated": (False, 1.0),
    "gated": (True, 1.0),
    "gated, mask by all losses": (True, 0.0),
}
"""Whether the generator has a mask, and the weight of the mask's loss on planted objects."""


def config_of(system: str, data: Path, b: str, steps: int, seed: int) -> Config:
    """Return the demo's configuration with the generator and the weights of a system."""
    gated, weight = SYSTEMS[system]
    base = demo()
    generator: GeneratorConfig = base.generator
    if gated:
        generator = AttentionGenerator(**asdict(base.generator), mask_weight=weight)  # type: ignore[call-overload]
    config = replace(
        base,
        generator=generator,
        objective=CycleGAN(cycle_weight_a=3, cycle_weight_b=3),
        schedule=ScheduleConfig(num_steps=steps),
    )
    return override(
        config,
        {
            "data.root": str(data),
            "data.name_a": A,
            "data.name_b": b,
            "run.seed": seed,
            "run.num_threads": 1,
            "run.device": "cpu",
            "run.sample_every": steps,
            "run.checkpoint_every": 500,
        },
    )


def pictures(arrays: list[np.ndarray]) -> Tensor:  # type: ignore[type-arg]
    """Return RGB pictures as n 3 h w in [-1, 1]."""
    return torch.stack([to_tensor(Image(array), 3) for array in arrays])


class Scenes:
    """Test scenes in both styles, with and without strangers; n 3 h w by style."""

    def __init__(self, b: str, world: int, *, any_hue: bool, count: int = 100) -> None:
        seeds = scene_seeds("test", count, world)
        strangers = [draw_strangers(seed, SIZE, any_hue=any_hue) for seed in seeds]
        drawn = {style: [draw_scene(seed, style, SIZE) for seed in seeds] for style in (A, b)}
        self.plain = {style: pictures(drawn[style]) for style in (A, b)}
        self.with_strangers = {
            style: pictures([one.pasted(scene) for one, scene in zip(strangers, drawn[style], strict=True)])
            for style in (A, b)
        }
        mask = torch.stack([torch.from_numpy(one.mask) for one in strangers])[:, None]
        self.inside, self.outside = (mask == 255).float(), (mask == 0).float()


def figures_of(translator: Translator, scenes: Scenes, b: str) -> dict[str, dict[str, float]]:
    """Return the figures of a model by direction; errors in grey levels."""
    figures = {}
    for direction in translator.directions:
        source, target = (A, b) if direction == "AtoB" else (b, A)
        given, truth = scenes.with_strangers[source], scenes.with_strangers[target]
        made, plain = (translated(translator, images, direction) for images in (given, scenes.plain[source]))
        error = (made - truth).abs().mean(1, keepdim=True) * 127.5
        square = ((made - truth) / 2).square().mean(1, keepdim=True)
        plain_square = ((plain - scenes.plain[target]) / 2).square().mean((1, 2, 3))
        changing = ((scenes.plain[source] - scenes.plain[target]).abs().amax(1, keepdim=True) * 127.5 > 16).float()
        to_truth, unchanged = (
            float(((one - scenes.plain[target]).square() * changing).sum().sqrt())
            for one in (plain, scenes.plain[source])
        )
        figures[direction] = {
            "error on strangers": float((error * scenes.inside).sum() / scenes.inside.sum()),
            "RMSE on strangers": 255 * float(((square * scenes.inside).sum() / scenes.inside.sum()).sqrt()),
            "PSNR of the rest": decibels((square * scenes.outside).sum((1, 2, 3)) / scenes.outside.sum((1, 2, 3))),
            "PSNR without strangers": decibels(plain_square),
            "changing": to_truth / unchanged,
        }
    return figures


class Open(nn.Module):
    """The translation of a gated generator without its gate."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Translate n c h w."""
        made: Tensor = self.network.network(image)  # type: ignore[operator]
        return made


def translators_of(system: str, run: Path) -> dict[str, Translator]:
    """Return the translators to measure of a run, by name: itself, and without its gate."""
    info, networks = read_model(find_model(run))
    found = {system: Translator(info, networks, device="cpu")}
    if SYSTEMS[system] == (True, 1.0):
        found = {OPEN: Translator(info, {name: Open(one) for name, one in networks.items()}, device="cpu"), **found}
    return found


def translated(translator: Translator, images: Tensor, direction: str) -> Tensor:
    """Translate n c h w in parts."""
    return torch.cat([translator(part, direction=direction) for part in images.split(10)])


def decibels(mean_squares: Tensor) -> float:
    """Return the mean PSNR of images from their mean squared errors on the scale [0, 1]; none is better than 60 dB."""
    return float((-10 * mean_squares.clamp_min(1e-6).log10()).mean())


def picture(translators: dict[str, Translator], scenes: Scenes, b: str, count: int = 8) -> PIL.Image.Image:
    """Return rows for the input, each system (with its mask) and the truth, for both directions beside one another."""
    blocks = []
    for direction, source, target in (("AtoB", A, b), ("BtoA", b, A)):
        given = scenes.with_strangers[source][:count]
        rows = [given]
        for translator in translators.values():
            rows.append(translated(translator, given, direction))
            if translator.has_masks(direction):
                rows.append((2 * translator.masks(given, direction=direction) - 1).expand(-1, 3, -1, -1))
        rows.append(scenes.with_strangers[target][:count])
        blocks.append(torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1))
    gap = torch.ones(3, blocks[0].shape[1], 8)
    sheet = torch.cat([blocks[0], gap, blocks[1]], dim=2).clamp(-1, 1)
    return PIL.Image.fromarray(((sheet + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def main() -> None:
    """Draw, train what is missing, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--b", default="winter")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=["gated"])
    parser.add_argument("--any-hue", action="store_true")
    parser.add_argument("--validation", action="store_true")
    given = parser.parse_args()
    data = given.out / f"{A}2{given.b}"
    draw_dataset(data, a=A, b=given.b, count=600, size=SIZE, num_test=1)
    scenes = Scenes(given.b, VALIDATION if given.validation else TEST, any_hue=given.any_hue)
    results: dict[str, list[dict[str, dict[str, float]]]] = {}
    first: dict[str, Translator] = {}
    for seed in given.seeds:
        for system in given.only:
            run = given.out / f"{given.b}-{system.replace(', ', '-').replace(' ', '-')}-{seed}"
            train(config_of(system, data, given.b, given.steps, seed), out=run)
            for name, translator in translators_of(system, run).items():
                results.setdefault(name, []).append(figures_of(translator, scenes, given.b))
                first.setdefault(name, translator)
                print(name, seed, results[name][-1], flush=True)
    (given.out / f"{given.b}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    picture(first, scenes, given.b).save(given.out / f"{given.b}.png")
    names = list(next(iter(results.values()))[0]["AtoB"])
    print("| direction | system | " + " | ".join(names) + " |\n|" + "---|" * (2 + len(names)))
    for direction in ("AtoB", "BtoA"):
        for system, found in results.items():
            cells = (spread([one[direction][name] for one in found], 3 if name == "changing" else 2) for name in names)
            print(f"| {direction} | {system} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
