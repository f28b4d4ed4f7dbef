"""The trials of each kind of study, from the test images, with the order of their images drawn."""

from __future__ import annotations

from collections.abc import Sequence

from unpaired.evaluation.test_set import TestSet
from unpaired.randomness import rng
from unpaired.study.image_choice import input_images, real_or_fake_images
from unpaired.study.study_images import StudyImages
from unpaired.study.study_key import Part, Trial, TrialSet
from unpaired.study.study_settings import StudySettings


class TrialMaker:
    """Makes the sets of trials. num_models: the number of models; salt: as of `StudyImages`."""

    def __init__(
        self, images: StudyImages, tests: TestSet, settings: StudySettings, num_models: int, salt: int
    ) -> None:
        self._images, self._tests, self._settings, self._salt = images, tests, settings, salt
        self._num_models = num_models

    def sets(self) -> tuple[TrialSet, ...]:
        """Return the sets of trials; every participant gets one of them. Raises DataError for too few images."""
        if self._settings.kind == "real-or-fake":
            return self._real_or_fake()
        return (self._preference() if self._settings.kind == "preference" else self._readers(),)

    def _real_or_fake(self) -> tuple[TrialSet, ...]:
        """One set for each model: a participant sees one of them (CycleGAN, section 5.1.1)."""
        settings = self._settings
        inputs, real = real_or_fake_images(
            self._tests, settings.direction, settings.numbers, self._num_models, settings.seed, self._salt
        )
        return tuple(self._set_of(model, inputs, indices) for model, indices in enumerate(real))

    def _set_of(self, model: int, inputs: Sequence[int], real: Sequence[int]) -> TrialSet:
        counts, images = self._settings.numbers, self._images
        pairs = [(images.real(one, model), images.fake(other, model)) for one, other in zip(real, inputs, strict=False)]
        obvious = [(images.real(index, model), images.obvious(n)) for n, index in enumerate(real[counts.judged :])]
        return self._set((model,), pairs, obvious, [])

    def _preference(self) -> TrialSet:
        counts, images = self._settings.numbers, self._images
        inputs = self._inputs(counts.all)
        pairs = [(images.fake(index, 0), images.fake(index, 1)) for index in inputs[: counts.judged]]
        obvious = [(images.fake(index, n % 2), images.obvious(n)) for n, index in enumerate(inputs[counts.judged :])]
        return self._set((0, 1), pairs, obvious, [images.given(index) for index in inputs])

    def _readers(self) -> TrialSet:
        images, models = self._images, tuple(range(self._num_models))
        inputs, groups = self._inputs(self._settings.numbers.scored), []
        for index in inputs:
            real = [images.real(index)] if self._settings.rank_real else []
            groups.append((*(images.fake(index, model) for model in models), *real))
        return self._set(models, groups, [], [images.given(index) for index in inputs])

    def _inputs(self, count: int) -> list[int]:
        return input_images(self._tests, self._settings.direction, count, self._settings.seed, self._salt)

    def _set(
        self,
        models: tuple[int, ...],
        groups: Sequence[tuple[str, ...]],
        obvious: Sequence[tuple[str, ...]],
        given: Sequence[str],
    ) -> TrialSet:
        """Return the set: the first groups are practice, the other ones scored."""
        num_practice = self._settings.numbers.practice
        trials = [
            *self._trials("practice", groups[:num_practice], models[0]),
            *self._trials("scored", groups[num_practice:], models[0]),
            *self._trials("check", obvious, models[0]),
        ]
        if given:
            trials = [Trial(each.id, each.part, each.images, one) for each, one in zip(trials, given, strict=True)]
        # Sorted by their random ids, trials have lost the order of the files.
        return TrialSet(models, tuple(sorted(trials, key=lambda trial: trial.id)))

    def _trials(self, part: Part, groups: Sequence[tuple[str, ...]], number: int) -> list[Trial]:
        """Return the trials of a part, their images in random order; of pairs, exactly half are swapped."""
        generator = rng(self._settings.seed, f"study order {part}", self._salt, number)
        swapped = generator.permutation(len(groups)) % 2
        trials = []
        for each, group in enumerate(groups):
            pair = len(group) == 2
            order = (swapped[each], 1 - swapped[each]) if pair else generator.permutation(len(group))
            trials.append(Trial(self._images.id(), part, tuple(group[int(index)] for index in order)))
        return trials
