"""How far a translation can be trusted, without knowing the truth: four symptoms, and one number made of them.

    typicality      the input is unlike the training images of its domain (distance to the nearest of them)
    cycle           translated there and back, the image is not what it was (needs both directions)
    discriminator   the discriminator of the run takes the output for a translation (needs it published)
    agreement       averaged and trained weights make different images of it (needs both published)

Each is compared with what it was on training images: its part is the share of them that show it at least as strongly,
in (0, 1], counting the image itself. The parts that a model has are put together, and so is the result of that: the
score of an image is the share of training images that deserve as little trust or less. As a rank it is right where the
image is one more of the same kind as those, whatever the symptoms are worth; what they are worth, only truth can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.images import Image
from unpaired.images.tensors import as_files
from unpaired.models.input_specs import source_spec, target_spec
from unpaired.translate.translator import Translator
from unpaired.trust.ood import LEAST, Spread, Typicality, can_look

COMPONENTS = ("typicality", "cycle", "discriminator", "agreement")
"""Every symptom by name."""

_PIXELS = 2**18  # what a translator takes at once, however little memory is free


@dataclass(frozen=True)
class Trust:
    """How far to trust one translation. score: in (0, 1], more is better. parts: by component, likewise.

    symptoms: what was measured, by component; more is worse. spreads: how far the input is from the training images of
    its domain, in standard deviations of how far these are from one another. foreign: whether that is out of
    distribution. Both are None if it cannot be told.
    """

    score: float
    parts: Mapping[str, float]
    symptoms: Mapping[str, float]
    spreads: float | None = None
    foreign: bool | None = None


@dataclass(frozen=True)
class Reference:
    """What trust is measured against, and with.

    typical: the training images by domain. symptoms: by direction and component, what n training images showed, in
    one order. judges: discriminators by the domain they judge. trained: generators by direction with the weights as
    trained, where averaged ones are published.
    """

    typical: Mapping[str, Typicality]
    symptoms: Mapping[str, Mapping[str, Tensor]]
    judges: Mapping[str, nn.Module]
    trained: Mapping[str, nn.Module]


class Scorer:
    """Says how far the translations of one direction can be trusted."""

    def __init__(self, translator: Translator, reference: Reference, direction: str) -> None:
        self.translator, self.direction = translator, direction
        self.known = reference.symptoms[direction]
        self._typical = reference.typical.get(direction[0])
        self._spread = Spread(self.known.get("typicality", torch.zeros(0)))
        self._instruments = Instruments(translator, direction, reference.judges, reference.trained)
        self._ranked = _put_together({name: shares(values, values, own=True) for name, values in self.known.items()})

    def __call__(self, given: Image, made: Image, *, keep_icc: bool = False) -> Trust:
        """Judge what was made of an image."""
        return self.of_symptoms(self.symptoms(given, made, keep_icc=keep_icc))

    def symptoms(self, given: Image, made: Image, *, keep_icc: bool = False) -> dict[str, float]:
        """Measure what was made of an image, as a file holds it."""
        source, target = (
            source_spec(self.translator.info, self.direction),
            target_spec(self.translator.info, self.direction),
        )
        before = source.tensor(source.opaque(source.accept(given, keep_icc=keep_icc)))[None]
        after = target.tensor(target.opaque(made))[None]
        found = {name: float(value) for name, value in self._instruments(before, after).items()}
        if self._typical is not None:
            found["typicality"] = self._typical.distance(before[0])
        return {name: found[name] for name in COMPONENTS if name in found and name in self.known}

    def of_symptoms(self, symptoms: Mapping[str, float]) -> Trust:
        """Rank what was measured among the training images."""
        parts = {name: shares(torch.tensor([value]), self.known[name]) for name, value in symptoms.items()}
        score = shares(-_put_together(parts), -self._ranked)
        distance = symptoms.get("typicality")
        known = (None, None) if distance is None else (self._spread.spreads(distance), self._spread.outside(distance))
        return Trust(float(score), {name: float(part) for name, part in parts.items()}, dict(symptoms), *known)


class Instruments:
    """Measures everything but typicality, as tensors n of images n c h w in [-1, 1]; more is worse."""

    def __init__(
        self,
        translator: Translator,
        direction: str,
        judges: Mapping[str, nn.Module],
        trained: Mapping[str, nn.Module],
    ) -> None:
        self._translator, self._direction, self._back = translator, direction, f"{direction[-1]}to{direction[0]}"
        judge = judges.get(direction[-1])
        self._judge = None if judge is None else judge.to(translator.device).eval()
        self._rival: Translator | None = None
        if set(trained) == set(translator.directions):
            limits = {"device": str(translator.device), "max_pixels": translator.max_pixels}
            self._rival = Translator(translator.info, trained, **limits)  # type: ignore[arg-type]

    @torch.no_grad()
    def __call__(self, given: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Measure images and their translations, on the processor."""
        found = {}
        if self._back in self._translator.directions:
            found["cycle"] = _difference(self._translator(made, direction=self._back), given)
        if self._judge is not None:
            found["discriminator"] = -self._judged(self._judge, given, made)
        if self._rival is not None:
            found["agreement"] = _difference(as_files(self._rival(given, direction=self._direction)), made)
        return {name: values.double().cpu() for name, values in found.items()}

    def _judged(self, judge: nn.Module, given: Tensor, made: Tensor) -> Tensor:
        """Return the mean score of each image; a discriminator of pairs sees input and output."""
        first = next(weight for weight in judge.parameters() if weight.ndim == 4)
        seen = made if first.shape[1] == made.shape[1] else torch.cat([given, made], dim=1)
        # A discriminator may have no score for images smaller than it was trained on.
        short = [max(0, (self._translator.info.training.crop_size or 64) - side) for side in seen.shape[-2:]]
        seen = F.pad(seen, (0, short[1], 0, short[0]), mode="replicate")
        scores: Tensor = judge(seen.to(self._translator.device))
        return scores.flatten(1).mean(dim=1)


def measure(
    translator: Translator,
    images: Mapping[str, Tensor],
    judges: Mapping[str, nn.Module],
    trained: Mapping[str, nn.Module],
) -> Reference:
    """Measure what training images, by domain n c size size in [-1, 1], show; the reference of all others.

    A direction of whose source there are fewer than 20 images is left out.
    """
    typical = {
        domain: Typicality.of(some)
        for domain, some in images.items()
        if len(some) >= LEAST and can_look(some.shape[-1])
    }
    symptoms = {}
    for direction in translator.directions:
        given = images.get(direction[0])
        if given is None or len(given) < LEAST:
            continue
        instruments = Instruments(translator, direction, judges, trained)
        step = max(1, min(8, _PIXELS // given[0, 0].numel()))
        batches = [given[start : start + step] for start in range(0, len(given), step)]
        parts = [instruments(some, as_files(translator(some, direction=direction).cpu())) for some in batches]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if direction[0] in typical:
            found["typicality"] = typical[direction[0]].among_themselves().double()
        symptoms[direction] = {name: found[name] for name in COMPONENTS if name in found}
    return Reference(typical, symptoms, judges, trained)


def shares(values: Tensor, known: Tensor, *, own: bool = False) -> Tensor:
    """Return for each value the share of the known ones that are at least as large, counting itself among them.

    own: the values are the known ones, and count but once.
    """
    as_large = len(known) - torch.searchsorted(known.sort().values, values.to(known), side="left")
    return (as_large / len(known)) if own else ((as_large + 1) / (len(known) + 1))


def _put_together(parts: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of the parts' logarithms, so that one strong symptom counts for more than several weak ones."""
    return torch.stack([part.double().log() for part in parts.values()]).sum(dim=0)


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of each image, in [0, 1]."""
    return (one.cpu() - other.cpu()).abs().flatten(1).mean(dim=1) / 2
