"""How far a translation can be trusted, without ground truth: four symptoms and one combined score.

    typicality      the input is unlike the training images of its domain (distance to the nearest of them)
    cycle           the reconstruction differs from the input (needs both directions)
    discriminator   the discriminator of the run recognises the output as a translation (needs it published)
    agreement       EMA weights and raw weights make different images of it (needs both published)

Each symptom is compared with those of the training images: its part is the share of them with at least as strong a
symptom, in (0, 1], counting the image itself. The parts are combined, and the combination is ranked likewise: the score
of an image is the share of training images that deserve as little trust or less. As a rank it is valid if the image is
of the same distribution as those. Whether a symptom indicates a bad translation can be checked only with ground truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.headway import Headway
from unpaired.images import Image
from unpaired.images.tensors import as_files
from unpaired.models.input_specs import source_spec, target_spec
from unpaired.translate.resizing import Resizing
from unpaired.translate.translator import Translator
from unpaired.trust.ood import LEAST, DistanceDistribution, OODScore, large_enough

COMPONENTS = ("typicality", "cycle", "discriminator", "agreement")
"""The names of all symptoms."""

_PIXELS = 2**18  # always fits in one forward pass, however little memory is free


@dataclass(frozen=True)
class Trust:
    """The trust in one translation.

    Args:
        score: in (0, 1], more is better.
        parts: by component, in (0, 1], more is better.
        symptoms: the measurements by component; more is worse.
        spreads: the out-of-distribution score of the input, in standard deviations of the log distances of training
            images; None if unknown.
        out_of_distribution: whether the input is out of distribution; None if unknown.
    """

    score: float
    parts: Mapping[str, float]
    symptoms: Mapping[str, float]
    spreads: float | None = None
    out_of_distribution: bool | None = None


@dataclass(frozen=True)
class Reference:
    """The measurements and networks that a translation is compared with.

    Args:
        typical: the out-of-distribution scores by domain.
        symptoms: by direction and component, those of n training images, in one order.
        judges: discriminators by the domain that they judge.
        raw: generators by direction with the raw weights, if EMA weights are published.
    """

    typical: Mapping[str, OODScore]
    symptoms: Mapping[str, Mapping[str, Tensor]]
    judges: Mapping[str, nn.Module]
    raw: Mapping[str, nn.Module]


class Scorer:
    """Computes the trust in translations of one direction."""

    def __init__(self, translator: Translator, reference: Reference, direction: str) -> None:
        self.translator, self.direction = translator, direction
        self.known = reference.symptoms[direction]
        self._typical = reference.typical.get(direction[0])
        self._spread = DistanceDistribution(self.known.get("typicality", torch.zeros(0)))
        self._instruments = Instruments(translator.in_native_size(), direction, reference.judges, reference.raw)
        self._known_sums = _log_sum({name: shares(values, values, own=True) for name, values in self.known.items()})

    def __call__(self, given: Image, made: Image, *, keep_icc: bool = False) -> Trust:
        """Score the translation `made` of an image."""
        return self.of_symptoms(self.symptoms(given, made, keep_icc=keep_icc))

    def symptoms(self, given: Image, made: Image, *, keep_icc: bool = False) -> dict[str, float]:
        """Measure the symptoms of a translation, rounded as in a file, at the size at which it was made.

        At the scale of training, typicality is measured at that of the reference: training enlarges images before it
        crops them, and the reference does not.
        """
        source, target = (
            source_spec(self.translator.info, self.direction),
            target_spec(self.translator.info, self.direction),
        )
        size = self.translator.resizing.size_of(given.height, given.width)
        opaque = source.opaque(source.accept(given, keep_icc=keep_icc))
        before = source.tensor(source.resized(opaque, size))[None]
        after = target.tensor(target.resized(target.opaque(made), size))[None]
        found = {name: float(value) for name, value in self._instruments(before, after).items()}
        if self._typical is not None:
            near = reference_size(self.translator.resizing, given.height, given.width)
            alike = before[0] if near == size else source.tensor(source.resized(opaque, near))
            found["typicality"] = self._typical.distance(alike)
        return {name: found[name] for name in COMPONENTS if name in found and name in self.known}

    def of_symptoms(self, symptoms: Mapping[str, float]) -> Trust:
        """Rank symptoms among those of the training images."""
        parts = {name: shares(torch.tensor([value]), self.known[name]) for name, value in symptoms.items()}
        score = shares(-_log_sum(parts), -self._known_sums)
        distance = symptoms.get("typicality")
        known = (
            (None, None)
            if distance is None
            else (self._spread.spreads(distance), self._spread.out_of_distribution(distance))
        )
        return Trust(float(score), {name: float(part) for name, part in parts.items()}, dict(symptoms), *known)


def reference_size(resizing: Resizing, height: int, width: int) -> tuple[int, int]:
    """Return the size (h, w) at which an image is compared with the training images of the reference.

    These were resized to the side of the crops (`unpaired.trust.fitting`), not to the load size.
    """
    if resizing.resize == "trained" and resizing.scale is not None:
        return replace(resizing.scale, load_size=resizing.scale.crop_size).trained(height, width)
    return resizing.size_of(height, width)


class Instruments:
    """Measures all symptoms but typicality, as tensors n of images n c h w in [-1, 1]; more is worse."""

    def __init__(
        self,
        translator: Translator,
        direction: str,
        judges: Mapping[str, nn.Module],
        raw: Mapping[str, nn.Module],
    ) -> None:
        self._translator, self._direction, self._back = translator, direction, f"{direction[-1]}to{direction[0]}"
        judge = judges.get(direction[-1])
        self._judge = None if judge is None else judge.to(translator.device).eval()
        self._raw: Translator | None = None
        if set(raw) == set(translator.directions):
            limits = {"device": str(translator.device), "max_pixels": translator.max_pixels}
            self._raw = Translator(translator.info, raw, **limits)  # type: ignore[arg-type]

    @torch.no_grad()
    def __call__(self, given: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Measure images and their translations, on the processor."""
        found = {}
        if self._back in self._translator.directions:
            found["cycle"] = _difference(self._translator(made, direction=self._back), given)
        if self._judge is not None:
            found["discriminator"] = -self._judged(self._judge, given, made)
        if self._raw is not None:
            found["agreement"] = _difference(as_files(self._raw(given, direction=self._direction)), made)
        return {name: values.double().cpu() for name, values in found.items()}

    def _judged(self, judge: nn.Module, given: Tensor, made: Tensor) -> Tensor:
        """Return the mean discriminator score of each image; a discriminator of pairs gets input and output."""
        first = next(weight for weight in judge.parameters() if weight.ndim == 4)
        seen = made if first.shape[1] == made.shape[1] else torch.cat([given, made], dim=1)
        # A discriminator may have no output for images smaller than the training crops.
        short = [max(0, (self._translator.info.training.crop_size or 64) - side) for side in seen.shape[-2:]]
        seen = F.pad(seen, (0, short[1], 0, short[0]), mode="replicate")
        scores: Tensor = judge(seen.to(self._translator.device))
        return scores.flatten(1).mean(dim=1)


def measure(
    translator: Translator,
    images: Mapping[str, Tensor],
    judges: Mapping[str, nn.Module],
    raw: Mapping[str, nn.Module],
) -> Reference:
    """Measure the symptoms of training images, by domain n c size size in [-1, 1], as the reference for new images.

    Directions with fewer than 20 images of their source are left out.
    """
    typical = {
        domain: OODScore.of(some)
        for domain, some in images.items()
        if len(some) >= LEAST and large_enough(some.shape[-1])
    }
    symptoms = {}
    for direction in translator.directions:
        given = images.get(direction[0])
        if given is None or len(given) < LEAST:
            continue
        instruments = Instruments(translator, direction, judges, raw)
        step = max(1, min(8, _PIXELS // given[0, 0].numel()))
        batches = [given[start : start + step] for start in range(0, len(given), step)]
        parts, headway = [], Headway(f"Measuring {direction}", len(given))
        for some in batches:
            parts.append(instruments(some, as_files(translator(some, direction=direction).cpu())))
            headway.advance(len(some))
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if direction[0] in typical:
            found["typicality"] = typical[direction[0]].among_themselves().double()
        symptoms[direction] = {name: found[name] for name in COMPONENTS if name in found}
    return Reference(typical, symptoms, judges, raw)


def shares(values: Tensor, known: Tensor, *, own: bool = False) -> Tensor:
    """Return for each value the share of the known ones that are at least as large, counting itself among them.

    own: the values are the known ones, and count only once.
    """
    as_large = len(known) - torch.searchsorted(known.sort().values, values.to(known), side="left")
    return (as_large / len(known)) if own else ((as_large + 1) / (len(known) + 1))


def _log_sum(parts: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of the parts' logarithms: one strong symptom counts more than several weak ones."""
    return torch.stack([part.double().log() for part in parts.values()]).sum(dim=0)


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean absolute difference of each image, in [0, 1]."""
    return (one.cpu() - other.cpu()).abs().flatten(1).mean(dim=1) / 2
