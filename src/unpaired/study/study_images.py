"""The images of a study: real ones, translations and obvious fakes, each under a random id."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from unpaired.evaluation.test_set import TestSet, tested_at
from unpaired.headway import Headway
from unpaired.randomness import rng, torch_seeded
from unpaired.storage import writable
from unpaired.study.page_images import encoded, flat, noise
from unpaired.study.study_key import Origin, Source
from unpaired.translate.translator import Translator


class StudyImages:
    """Prepares images and gives each an id.

    files: the encoded images by id. origins: their origins by id.

    Args:
        translators: the models; all have the direction.
        tests: the test images.
        direction: that of the translations.
        size: the side of all images.
        seed: that of the ids, and of the dropout of pix2pix.
        salt: a number that the page does not contain, so that nobody can recompute the ids from it.
    """

    def __init__(
        self, translators: Sequence[Translator], tests: TestSet, direction: str, size: int, seed: int, salt: int
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.origins: dict[str, Origin] = {}
        self._translators, self._tests, self._size, self._seed = translators, tests, size, seed
        self._direction = direction
        self._headway = Headway("Translating for the study")
        self._ids = rng(seed, "study ids", salt)
        self._noise = rng(seed, "study noise", salt)

    def id(self) -> str:
        """Return a new random id, 16 hexadecimal digits."""
        return self._ids.bytes(8).hex()

    def real(self, index: int, model: int = 0) -> str:
        """Add a real image of the target domain as `model` was trained on it, and return its id."""
        return self._add(self._tested(index, model, self._direction[-1]), "real", -1, index)

    def given(self, index: int) -> str:
        """Add an input of the translations, and return its id."""
        return self._add(self._tested(index, 0, self._direction[0]), "input", -1, index)

    def fake(self, index: int, model: int) -> str:
        """Add the translation of an image by a model, and return its id."""
        image = self._tested(index, model, self._direction[0])
        with torch_seeded(self._seed, "study translation", index):  # pix2pix translates with dropout
            made = self._translators[model](image, direction=self._direction)
        self._headway.advance()
        return self._add(made, "model", model, index)

    def obvious(self, number: int) -> str:
        """Add noise (even numbers) or mid-grey (odd ones) for an attention check, and return its id."""
        size = self._size, self._size
        return self._add(flat(size), "flat") if number % 2 else self._add(noise(size, self._noise), "noise")

    def _tested(self, index: int, model: int, domain: str) -> Tensor:
        """Return a test image as the evaluation takes it, c h w in [-1, 1]."""
        info = self._translators[model].info
        about = info.directions[self._direction]
        channels = about.in_channels if domain == self._direction[0] else about.out_channels
        return tested_at(self._tests.side(domain), index, info, domain, channels, self._size).clamp(-1, 1)

    def _add(self, image: Tensor, source: Source, model: int = -1, index: int | None = None) -> str:
        side = self._tests.side(self._direction[-1 if source == "real" else 0])
        name = self.id()
        self.files[name] = encoded(image)
        self.origins[name] = Origin(source, model, "" if index is None else writable(side.name(index)))
        return name
