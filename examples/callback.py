"""A template of a callback, which watches training after every n-th step and may stop it.

    run = unpaired.train(
        "datasets/summer2winter",
        recipe="demo",
        callbacks=[Film("photo.jpg", "film", every=100), StopBelow("cycle_a", 1.0, every=20)],
    )

A callback has `every`, the steps between two calls, and `after_step`. It leaves training as it is: it reads, and uses
networks inside `view.generators()` only. `unpaired.Callback` describes all that it may be, `unpaired.StepView` all that
it can read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import torch

import unpaired


class Film:
    """Writes the translation of one image every n steps, with the weights that model/ would have."""

    at_start = True  # optional: called before the first step too

    def __init__(self, image: str | Path, folder: str | Path, every: int, *, size: int = 64) -> None:
        self.every = every
        picture = PIL.Image.open(image).convert("RGB").resize((size, size))
        self._input = torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None] / 127.5 - 1  # n c h w in [-1, 1]
        self._folder = Path(folder)

    def after_step(self, view: unpaired.StepView) -> None:
        """Write FOLDER/step-00000100.png."""
        with view.generators() as generators:
            network = generators["AtoB"]
            device = next(network.parameters()).device
            made = network(self._input.to(device))[0].float().cpu()
        pixels = ((made.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
        self._folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(self._folder / f"step-{view.step:08d}.png")


class StopBelow:
    """Stops the run once a loss is below a bound. The run is saved, and the same call goes on with it."""

    at_end = False  # optional: not called after the last step, at which there is nothing to stop

    def __init__(self, loss: str, bound: float, every: int) -> None:
        self.every = every
        self._loss, self._bound = loss, bound

    def after_step(self, view: unpaired.StepView) -> bool:
        """Return whether to stop; a step that was left out has no losses."""
        return view.losses.get(self._loss, self._bound) < self._bound
