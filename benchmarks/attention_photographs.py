"""An attention gate on photographs: what it keeps, and what it costs, by figures.

    unpaired train DATA --recipe attention … --out RUN
    python benchmarks/attention_photographs.py RUN DATA OUT

The translation T of a gated generator is trained as without a gate, bit for bit, so T alone is the ungated generator of
the same run. OUT/ungated receives it as a model of its own, of generator.kind resnet. Three measurements on DATA/testA
and DATA/testB, resized to the side of the training crops:

- strangers: one drawn object in front of each photograph, whose true pixels are those of the input; the error on them
  in grey levels of 0-255, and what the gate changes in the other pixels of the same photographs, against T
- mask: its mean over photographs as they are, and the share of pixels that it keeps (below .5)
- sets: every figure of `unpaired evaluate` of both generators

Prints tables; intervals are bootstrap 95 % over photographs. Writes OUT/figures.json, and OUT/AtoB.png and BtoA.png to
look at: input, ungated, gated and mask, without strangers and with them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from unpaired.evaluation.evaluating import evaluate
from unpaired.evaluation.intervals import Interval, mean_interval
from unpaired.evaluation.test_set import TestSet, batch_of, open_test_set
from unpaired.images import Image, to_tensor
from unpaired.models.model_folder import ModelInfo, find_model, read_model, write_model
from unpaired.networks import AttentionGenerator, ResNetGenerator
from unpaired.scenes.strangers import draw_strangers
from unpaired.translate.translator import Translator


def ungated(info: ModelInfo, networks: dict[str, nn.Module], folder: Path) -> Path:
    """Write the translations T of a gated model as a model of kind resnet; return its folder."""
    directions = {}
    for name, one in info.directions.items():
        assert isinstance(one.generator, AttentionGenerator)
        settings = {key: value for key, value in asdict(one.generator).items() if key != "mask_weight"}
        directions[name] = replace(one, generator=ResNetGenerator(**settings))
    weights = {name: network.network for name, network in networks.items()}
    write_model(folder, replace(info, directions=directions), weights)  # type: ignore[arg-type]
    return folder


def photographs(tests: TestSet, info: ModelInfo, domain: str, size: int) -> Tensor:
    """Return the test images of a domain, n 3 h w in [-1, 1]."""
    source = tests.side(domain)
    return batch_of(source, range(len(source)), info, domain, 3, size)


def with_strangers(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images with one stranger each, and the pixels that it covers entirely and not at all, n 1 h w."""
    strangers = [draw_strangers(seed, images.shape[-1], any_hue=True) for seed in range(len(images))]
    pasted = [to_tensor(Image(one.pasted(picture(image))), 3) for one, image in zip(strangers, images, strict=True)]
    mask = torch.stack([torch.from_numpy(one.mask) for one in strangers])[:, None]
    return torch.stack(pasted), (mask == 255).float(), (mask == 0).float()


def picture(image: Tensor) -> np.ndarray:
    """Return c h w in [-1, 1] as h w c in 0-255."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def within(values: Tensor, pixels: Tensor) -> Interval:
    """Return the mean over images of the mean of n 1 h w over the given pixels, with its interval."""
    return mean_interval((values * pixels).sum((1, 2, 3)) / pixels.sum((1, 2, 3)).clamp_min(1))


def in_parts(call: Callable[..., Any], images: Tensor, **settings: Any) -> Tensor:
    """Translate n c h w in parts."""
    return torch.cat([call(part, **settings) for part in torch.split(images, 10)])


def measured(gated: Translator, plain: Translator, images: Tensor, direction: str, file: Path) -> dict[str, Interval]:
    """Return the figures of a direction, and write its picture."""
    pasted, inside, outside = with_strangers(images)
    kept, changed = (in_parts(one, pasted, direction=direction) for one in (gated, plain))
    grey = {name: (made - pasted).abs().mean(1, keepdim=True) * 127.5 for name, made in (("g", kept), ("u", changed))}
    apart = (kept - changed).abs().mean(1, keepdim=True) * 127.5
    masks = in_parts(gated.masks, images, direction=direction)
    rows = []
    for given in (images, pasted):
        shown = torch.cat([given[:24:6], given[30:54:6]])
        mask = (2 * in_parts(gated.masks, shown, direction=direction) - 1).expand(-1, 3, -1, -1)
        made = [in_parts(one, shown, direction=direction) for one in (plain, gated)]
        rows += [torch.cat(list(row), dim=2) for row in (shown, *made, mask)]
    PIL.Image.fromarray(picture(torch.cat(rows, dim=1))).save(file)
    everywhere = torch.ones_like(outside)
    return {
        "error on strangers, ungated": within(grey["u"], inside),
        "error on strangers, gated": within(grey["g"], inside),
        "change of the rest, ungated": within(grey["u"], outside),
        "change of the rest, gated": within(grey["g"], outside),
        "gated from ungated in the rest": within(apart, outside),
        "mask, mean": within(masks, everywhere),
        "share of pixels kept": within((masks < 0.5).float(), everywhere),
    }


def written(figure: Interval) -> str:
    """Return a figure and its interval as text."""
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def main() -> None:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "data", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    info, networks = read_model(find_model(given.run))
    given.out.mkdir(parents=True, exist_ok=True)
    plain_folder = ungated(info, networks, given.out / "ungated")
    gated, plain = (Translator.load(folder, device="cpu", precision="fp32") for folder in (given.run, plain_folder))
    size, tests = info.training.crop_size, open_test_set(given.data)
    assert size is not None
    found: dict[str, object] = {}
    for direction in gated.directions:
        images = photographs(tests, info, direction[0], size)
        figures = measured(gated, plain, images, direction, given.out / f"{direction}.png")
        found[direction] = {name: one.to_dict() for name, one in figures.items()}
        for name, one in figures.items():
            print(f"| {direction} | {name} | {written(one)} |", flush=True)
    for name, folder in (("ungated", plain_folder), ("gated", given.run)):
        result = evaluate(folder, given.data, device="cpu")
        for direction, part in result.directions.items():
            found[f"{direction} {name}"] = {key: row.to_dict() for key, row in part.rows.items()}
            for key, row in part.rows.items():
                print(f"| {direction} | {name} | {key} | {written(row.made)} |", flush=True)
    (given.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
