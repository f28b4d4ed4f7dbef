"""The translator: a trained generator as a function of images of any size and type."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from unpaired.config import require, to_dict
from unpaired.devices import resolve_device
from unpaired.errors import ConfigError, ImageError, ModelError
from unpaired.headway import Headway
from unpaired.images import Image
from unpaired.models.by_name import located
from unpaired.models.domain_values import DomainValues
from unpaired.models.input_specs import source_spec, target_spec
from unpaired.models.model_folder import DirectionInfo, ModelInfo, description_sha256, find_model, read_info
from unpaired.networks.protocols import makes_from_noise, translates_by_search
from unpaired.storage import shown
from unpaired.suggestions import unknown
from unpaired.translate.backends import BACKENDS, ComputesMasks, LoadedGenerator, RunOptions
from unpaired.translate.backends.backend_protocol import expected_bytes, pixels_that_fit
from unpaired.translate.backends.torch_backend import TorchGenerator
from unpaired.translate.blending import (
    FEATHER,
    blended,
    blended_tensor,
    combined,
    mask_weight,
    masks_for,
    require_strength,
)
from unpaired.translate.finishing import finished, result_dtype
from unpaired.translate.given_kinds import as_given, as_image
from unpaired.translate.precision import Choice, Computed, Precision, PrecisionPolicy, compared
from unpaired.translate.preparing import batch_of, padded, padded_side
from unpaired.translate.resizing import Resize, resized, resizing_of, with_detail

if TYPE_CHECKING:
    from torch import nn

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_AT_ONCE = 32  # images of a batch by default


@dataclass(frozen=True)
class Origin:
    """The folder that a translator was loaded from, and the settings; what a pickled translator consists of.

    path: absolute. sha256: that of model.json, which has those of the weights.
    """

    path: str
    sha256: str
    device: str
    max_pixels: int | None
    backend: str
    resize: Resize
    detail: bool


class Translator:
    """Translates images between two domains with the generators of a model folder. Create one with `load`.

    info: the description in model.json. directions: the valid names of `direction`. policy: resolves the precision.
    max_pixels: the limit per forward pass, None for the limit of the free memory. device: that of torch, "cpu" for
    other backends. resizing: the size at which images are translated.
    """

    def __init__(
        self,
        info: ModelInfo,
        networks: Mapping[str, nn.Module | LoadedGenerator],
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        max_pixels: int | None = None,
        backend: str = "torch",
        resize: Resize = "native",
        detail: bool = False,
    ) -> None:
        """networks: by direction, torch modules, which are moved to `device`, or generators loaded by a backend."""
        self.policy = PrecisionPolicy(precision)
        require(max_pixels is None or max_pixels >= 1, f"max_pixels must be at least 1, not {max_pixels}.")
        if any(makes_from_noise(direction.generator) for direction in info.directions.values()):
            raise ConfigError("This model generates images from noise and cannot translate; use `unpaired sample`.")
        self.info, self.backend = info, backend
        self.resizing = resizing_of(info, resize, detail=detail)
        self.directions = tuple(info.directions)
        self.max_pixels = max_pixels
        self._origin: Origin | None = None
        self._loaded = {name: _loaded(networks[name], info.directions[name], device) for name in self.directions}
        first = next(iter(self._loaded.values()), None)
        self.device: torch.device = getattr(first, "torch_device", torch.device("cpu"))
        for loaded in self._loaded.values():
            known = loaded.capabilities.precisions
            if precision not in ("auto", *known):
                raise ConfigError(
                    f"The backend {backend} computes in {' and '.join(known)} here, not in {precision}; choose "
                    "precision auto.",
                    setting="precision",
                )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        max_pixels: int | None = None,
        backend: str = "torch",
        resize: Resize = "native",
        detail: bool = False,
    ) -> Translator:
        """Return the translator of a run folder, a model folder, or a model by name (`unpaired models` lists them).

        Raises ModelError, DeviceError, and ConfigError for an unknown backend or a `resize` that the model lacks.

        Args:
            path: the folder or the name; a folder of that name precedes a model.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps", or another name of the backend.
            precision: "fp32"; "bf16", which is faster on hardware with such instructions and off by some grey levels;
                or "auto", which is bf16 if its results are close enough, see `choose`. Images with results of more than
                8 bits are always translated in fp32, tensors unless "bf16" is given.
            max_pixels: the most pixels per forward pass, by default as many as fit into the free memory.
            backend: the kind of the runtime, one of `BACKENDS`.
            resize: the size at which images are translated; results are brought back to that of their image. "native":
                their own; "trained": as training resized its images; or the length of the shorter side in pixels.
            detail: add to each result the detail that resizing took from its image; needs a `resize`, and as many
                channels in B as in A.
        """
        part = BACKENDS.get(backend, "backend")
        path = located(Path(path))
        folder = find_model(path)
        info = read_info(folder)
        sha256 = description_sha256(folder)
        origin = Origin(os.fspath(path.absolute()), sha256, device, max_pixels, backend, resize, detail)
        with ThreadPoolExecutor(
            max(len(info.directions), 1)
        ) as pool:  # most of the time is hashing, which releases the GIL
            loading = {
                name: pool.submit(part.load, folder, name, device=device, precision=precision)
                for name in info.directions
            }
            loaded = {name: future.result() for name, future in loading.items()}
        made = cls(
            info, loaded, precision=precision, max_pixels=max_pixels, backend=backend, resize=resize, detail=detail
        )
        made._origin = origin
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the settings, no weights; unpickling loads the folder again, also on another machine.

        A precision that "auto" has chosen is kept, so all workers use the same one. Raises ConfigError for a translator
        that `load` has not made; unpickling raises ModelError if the folder is missing or its model has changed.
        """
        if self._origin is None:
            raise ConfigError(
                "A translator is pickled as the path of its folder, and this one has none; make it with unpaired.load."
            )
        return _reloaded, (self._origin, self.policy)

    def __copy__(self) -> Translator:
        """Return a translator that shares the networks of this one."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    @property
    def precision(self) -> Precision:
        """The requested precision."""
        return self.policy.requested

    @property
    def ranges(self) -> dict[str, DomainValues]:
        """The values of each domain, "A" and "B": `range`, whose ends map to -1 and 1, and `dtype`, "" if unknown."""
        return dict(self.info.values)

    def __repr__(self) -> str:
        names, training = self.info.domains, self.info.training
        arrows = ", ".join(f"{name}: {names[name[0]]} -> {names[name[-1]]}" for name in self.directions)
        kinds = dict.fromkeys(
            f"{to_dict(one.generator)['kind']} {one.in_channels} -> {one.out_channels} channels"
            for one in self.info.directions.values()
        )
        size = "unknown size" if training.crop_size is None else f"{training.crop_size} pixels"
        step = "unknown step" if training.step is None else f"step {training.step}"
        able = next(iter(self._loaded.values())).capabilities
        sized = "" if self.resizing.resize == "native" else f", resized to {self.resizing.resize}"
        sized += ", with detail" if self.resizing.detail else ""
        return shown(
            f"Translator({arrows}; {', '.join(kinds)}, trained at {size}, {step}; {self.backend} on {able.device}, "
            f"precision {self.precision}{sized})"
        )

    def fingerprint(self, direction: str) -> str:
        """Return a SHA-256 of everything that results of a direction depend on: network, weights, values and
        background, and the size of translation.
        """
        about: tuple[Any, ...] = (
            to_dict(self._info(direction)),
            [to_dict(own) | {"range": str(own.range)} for own in self._values(direction)],
        )
        about += () if self.backend == "torch" else (self.backend,)
        about += () if self.resizing.resize == "native" else ("resize", self.resizing.resize)
        about += ("detail",) if self.resizing.detail else ()
        digest = hashlib.sha256(json.dumps([about, self.info.background, self.info.icc]).encode())
        self._loaded[direction].hash_into(digest.update)
        return digest.hexdigest()

    def in_native_size(self) -> Translator:
        """Return a translator without resizing that shares the networks of this one."""
        native = copy.copy(self)
        native.resizing = resizing_of(self.info, "native")
        return native

    def in_fp32(self) -> Translator:
        """Return a translator in fp32 that shares the networks of this one."""
        exact = copy.copy(self)
        exact.policy = PrecisionPolicy("fp32")
        return exact

    def choose(self, image: Image, *, direction: str = "AtoB", keep_icc: bool = False) -> Choice:
        """Return the precision for 8-bit images; under "auto" the first image decides it permanently.

        It is bf16 if the device has instructions for it and the PSNR of the results in bf16 and fp32 is at least
        `AGREEMENT`. An image with a result of more than 8 bits does not decide. Raises as `__call__` does.
        """
        coarse = self.is_coarse(image, direction)
        return self.policy.for_image(direction, coarse, lambda: self._measured(image, direction, keep_icc))

    def is_coarse(self, image: Image, direction: str) -> bool:
        """Return whether the result has 8 bits for the whole range, so that bf16 cannot reduce its depth."""
        target = self._values(direction)[1].range
        return self.output_dtype(image, direction) == np.uint8 and target.bounds in (None, (0, 255))

    def faster_together(self, image: Image, direction: str) -> int:
        """Return how many images of this size are faster as a batch.

        1 if results would depend on their neighbours: in fp32 on a processor, which gains little from batches.
        """
        able = self._loaded[direction].capabilities
        chosen = self.policy.decided(direction)
        coarse = self.is_coarse(image, direction)
        precision = chosen.precision if chosen is not None and coarse else "fp32"
        if precision in able.one_by_one:
            return 1
        height, width = self.resizing.size_of(image.height, image.width)
        return max(1, min(_MOST_AT_ONCE, able.pixels_at_once // (height * width)))

    @overload
    def __call__(
        self,
        image: str | os.PathLike[str],
        *,
        direction: str = ...,
        strength: float = ...,
        mask: Any = ...,
        feather: int = ...,
    ) -> Image: ...
    @overload
    def __call__(
        self,
        image: PIL.Image.Image,
        *,
        direction: str = ...,
        strength: float = ...,
        mask: Any = ...,
        feather: int = ...,
    ) -> PIL.Image.Image: ...
    @overload
    def __call__(
        self, image: Image, *, direction: str = ..., strength: float = ..., mask: Any = ..., feather: int = ...
    ) -> Image: ...
    @overload
    def __call__(
        self, image: Array, *, direction: str = ..., strength: float = ..., mask: Any = ..., feather: int = ...
    ) -> Array: ...
    @overload
    def __call__(
        self, image: Tensor, *, direction: str = ..., strength: float = ..., mask: Any = ..., feather: int = ...
    ) -> Tensor: ...
    @overload
    def __call__(
        self,
        image: Sequence[Any],
        *,
        direction: str = ...,
        batch: int = ...,
        strength: float = ...,
        mask: Any = ...,
        feather: int = ...,
    ) -> list[Any]: ...
    def __call__(
        self,
        image: Any,
        *,
        direction: str = "AtoB",
        batch: int = 1,
        strength: float = 1.0,
        mask: Any = None,
        feather: int = FEATHER,
    ) -> Any:
        """Translate an image, or a list of images; results have the type and the size of their inputs.

        image: one of

        - a path, `str` or `os.PathLike`: the file is read, and an `Image` is returned;
        - a Pillow image, rotated according to its EXIF orientation;
        - an `Image`;
        - an array h w or h w c, with alpha last if c is 2 or 4 and not the model's number of channels: uint8 0..255,
          uint16 0..65535, int16, int32 or float32, or the source domain's range in `ranges`; int32 and float32 have no
          default range and need one there;
        - a float tensor c h w or n c h w in [-1, 1] with the model's channels; the result is float32, on its device;
        - a list or tuple of these, of any types and sizes; a list is returned, [] for []. Up to `batch` neighbours of
          one size are translated together.

        Grey images are converted to RGB for a colour model, and the result is in colour. Alpha is kept; for translation
        the image is composited over the model's background. See `output_dtype` for the dtype of the result. Raises
        ConfigError for an unknown direction, type or number of channels, and for a strength or mask with a model whose
        domains differ in channels; ImageError for an image or mask that is invalid, unreadable or too large for the
        memory.

        Args:
            image: see above.
            direction: "AtoB" or "BtoA".
            batch: the most images per batch.
            strength: 0 gives the input and 1 the translation, both bit for bit; values are monotone between them, and
                up to 1.5 extrapolated and clipped to the range.
            mask: an array h w, an `Image`, a tensor or a path, or a list with one for each image: 0 keeps a pixel bit
                for bit, the largest value of its type (1 for floats) translates it, values between are weights.
            feather: pixels over which the translation fades towards the kept area, inside of the mask.
        """
        blends = strength != 1 or mask is not None
        if blends:
            self.require_blending(direction)
            require_strength(strength)
        if isinstance(image, (list, tuple)):
            if not blends:
                return self._translate_list(image, direction, batch)
            masks = masks_for(mask, len(image))
            taken = [item if isinstance(item, Tensor) else self._as_image(item, direction) for item in image]
            made = self._translate_list(taken, direction, batch)
            rows = zip(image, taken, made, masks, strict=True)
            return [
                as_given(self._blend(one, to, direction, strength, its, feather), own) for own, one, to, its in rows
            ]
        if isinstance(image, Tensor):
            translated = self._translate_tensor(image, direction)
            return self._blend(image, translated, direction, strength, mask, feather) if blends else translated
        given = self._as_image(image, direction)
        (result,) = self.translate_images([given], direction=direction)
        return as_given(self._blend(given, result, direction, strength, mask, feather) if blends else result, image)

    def variants(
        self,
        image: Any,
        strengths: Sequence[float],
        *,
        direction: str = "AtoB",
        mask: Any = None,
        feather: int = FEATHER,
    ) -> list[Any]:
        """Return an image in each of several strengths; it is translated once. Raises as `__call__` does.

        Each result equals `translator(image, strength=...)`. image: one image of any type that `__call__` takes.
        """
        require(not isinstance(image, (list, tuple)), "variants takes one image; call it for each of a list.")
        self.require_blending(direction)
        for strength in strengths:
            require_strength(strength)
        given = image if isinstance(image, Tensor) else self._as_image(image, direction)
        made = self(given, direction=direction)
        return [as_given(self._blend(given, made, direction, strength, mask, feather), image) for strength in strengths]

    def require_blending(self, direction: str) -> None:
        """Raise ConfigError if the domains of a direction differ in channels, so that no values lie between them."""
        info = self._info(direction)
        if info.in_channels != info.out_channels:
            raise ConfigError(
                f"The input of {direction} has {info.in_channels} channels and its result {info.out_channels}, so a "
                "result cannot be blended with its input; leave out strength and mask."
            )

    def blend(
        self,
        image: Image,
        made: Image,
        *,
        direction: str = "AtoB",
        strength: float = 1.0,
        weight: Array | None = None,
        keep_icc: bool = False,
    ) -> Image:
        """Return the blend of an image and its translation by `translate_images`; raises ConfigError.

        Args:
            image: the input.
            made: its whole translation.
            direction: "AtoB" or "BtoA".
            strength: 0 gives the input, 1 the translation.
            weight: from `mask_weight`, float64 h w in [0, 1], multiplied by the strength.
            keep_icc: as for `translate_images`.
        """
        self.require_blending(direction)
        taken = source_spec(self.info, direction).accept(image, keep_icc=keep_icc)
        return blended(taken, made, combined(strength, weight), *self._values(direction))

    def _blend(self, given: Any, made: Any, direction: str, strength: float, mask: Any, feather: int) -> Any:
        """Return the blend of an `Image` or a tensor and its translation."""
        given_size = given.shape[-2:] if isinstance(given, Tensor) else (given.height, given.width)
        weight = None
        if mask is not None:
            if isinstance(mask, (str, os.PathLike)):
                mask = as_image(mask, 1, self.max_pixels)
            weight = mask_weight(mask, (int(given_size[0]), int(given_size[1])), feather)
        if isinstance(given, Tensor):
            share = combined(strength, weight)
            return blended_tensor(given, made, share if isinstance(share, float) else torch.from_numpy(share))
        return self.blend(given, made, direction=direction, strength=strength, weight=weight)

    def translate_images(
        self, images: Sequence[Image], *, direction: str = "AtoB", batch: int = 1, keep_icc: bool = False
    ) -> list[Image]:
        """Translate images of any sizes, in order; neighbours of one size share a batch of up to `batch`.

        Each result has the size and the alpha of its input; see `output_dtype` for its dtype. Raises as `__call__`
        does.

        Args:
            images: the inputs.
            direction: "AtoB" or "BtoA".
            batch: the most images per batch.
            keep_icc: skip the conversion of colours with an ICC profile, and copy the profile to the result; by default
                they are converted as in training, and the profile is dropped.
        """
        require(batch >= 1, f"batch must be at least 1, not {batch}.")
        self._info(direction)
        results: list[Image] = []
        # A stack, for example; the files of a folder are counted by the caller.
        headway = Headway(f"Translating {direction}", len(images)) if len(images) > batch else None
        by_kind = itertools.groupby(
            images, key=lambda image: (image.height, image.width, self.is_coarse(image, direction))
        )
        for (_, _, coarse), group in by_kind:
            same = list(group)
            precision: Computed = "fp32"
            if coarse:
                precision = self.choose(same[0], direction=direction, keep_icc=keep_icc).precision
            for start in range(0, len(same), batch):
                part = same[start : start + batch]
                results += self._translate_alike(part, direction, keep_icc, precision, eight_bit=coarse)
                if headway is not None:
                    headway.reach(len(results))
        return results

    def masks(self, image: Any, *, direction: str = "AtoB") -> Any:
        """Return the mask of an image, for generators with masks such as the kind attention.

        A tensor c h w or n c h w in [-1, 1] gives a float32 tensor 1 h w or n 1 h w in [0, 1], on its device: 0 for
        pixels that a translation keeps, 1 for those that it replaces. Anything else that `__call__` takes gives a
        float32 array h w, and a list gives a list. Raises ConfigError for a generator without masks, else as
        `__call__` does.
        """
        self.require_masks(direction)
        if isinstance(image, (list, tuple)):
            return [self.masks(item, direction=direction) for item in image]
        if isinstance(image, Tensor):
            given = self._checked(image, direction)
            mask = self._masks(given if image.ndim == 4 else given[None], direction).to(image.device)
            return mask if image.ndim == 4 else mask[0]
        whole = self._as_image(image, direction)
        given = self._given([source_spec(self.info, direction).accept(whole)], direction)
        mask = self._run(given, direction, masks=True)
        return resized(mask, (whole.height, whole.width), "bicubic", (0, 1))[0, 0].cpu().numpy()

    def _masks(self, given: Tensor, direction: str) -> Tensor:
        size = given.shape[-2], given.shape[-1]
        return resized(self._run(self._at_size(given, direction), direction, masks=True), size, "bicubic", (0, 1))

    def has_masks(self, direction: str) -> bool:
        """Return whether the generator of a direction has masks. Raises ConfigError for an unknown direction."""
        self._info(direction)
        loaded = self._loaded[direction]
        return loaded.capabilities.masks and isinstance(loaded, ComputesMasks)

    def require_masks(self, direction: str) -> None:
        """Raise ConfigError unless the generator of a direction has masks."""
        if not self.has_masks(direction):
            kind = self._info(direction).generator.kind
            raise ConfigError(
                f"The generator {kind} of {direction} has no masks on the backend {self.backend}; train one with "
                "generator.kind attention, or use the backend torch."
            )

    def output_dtype(self, image: Image, direction: str) -> np.dtype[Any]:
        """Return the dtype of the result, see `result_dtype`."""
        return result_dtype(image.dtype, *self._values(direction))

    def _measured(self, image: Image, direction: str, keep_icc: bool) -> Choice:
        """Translate an image in both precisions and return the choice that follows."""
        able = self._loaded[direction].capabilities
        if translates_by_search(self._info(direction).generator):
            return Choice("fp32", "a generator that searches needs its digits")
        if "bf16" not in able.fast_precisions:
            return Choice("fp32", f"this {able.device.partition(':')[0]} has no instructions for bf16")
        given = self._given([source_spec(self.info, direction).accept(image, keep_icc=keep_icc)], direction)
        return compared(self._run(given, direction), self._run(given, direction, "bf16"))

    def _given(self, images: Sequence[Image], direction: str) -> Tensor:
        """Return accepted images of one size as the input of the generator, n c h w in [-1, 1], resized."""
        source, target = source_spec(self.info, direction), target_spec(self.info, direction)
        for image in images:
            source.require_range(image.dtype)
            target.require_range(self.output_dtype(image, direction))
        size = self._size(len(images), images[0].height, images[0].width, direction)
        return batch_of(images, source, size)

    def _at_size(self, images: Tensor, direction: str) -> Tensor:
        """Return n c h w at the size of translation."""
        size = self._size(len(images), images.shape[-2], images.shape[-1], direction)
        return resized(images, size, source_spec(self.info, direction).resize)

    def _size(self, count: int, height: int, width: int, direction: str) -> tuple[int, int]:
        """Return the size (h, w) of translation. Raises ImageError before resizing if `count` images do not fit."""
        size = self.resizing.size_of(height, width)
        if size != (height, width):
            self._refuse_pass(count, *size, direction)
        return size

    def _translate_alike(
        self, images: list[Image], direction: str, keep_icc: bool, precision: Computed, *, eight_bit: bool
    ) -> list[Image]:
        """Translate images of one size as a batch: prepare, run, finish."""
        spec = source_spec(self.info, direction)
        taken = [spec.accept(image, keep_icc=keep_icc) for image in images]
        given = self._given(taken, direction)
        made = self._run(given, direction, precision, eight_bit=eight_bit).cpu()
        made = resized(made, (images[0].height, images[0].width), target_spec(self.info, direction).resize)
        if self.resizing.detail:
            full = batch_of(taken, spec, (images[0].height, images[0].width))
            made = with_detail(made, full, given.cpu(), spec.resize)
        values = self._values(direction)
        return [
            finished(before, after, image, *values, keep_icc=keep_icc)
            for before, after, image in zip(given, made, taken, strict=True)
        ]

    def _values(self, direction: str) -> tuple[DomainValues, DomainValues]:
        """Return the values of the source and the target domain of a direction."""
        return self.info.values[direction[0]], self.info.values[direction[-1]]

    def _translate_list(self, items: Sequence[Any], direction: str, batch: int) -> list[Any]:
        """Translate neighbours of one kind together: tensors of one shape, and everything that converts to an image."""
        self._info(direction)
        results: list[Any] = []
        require(batch >= 1, f"batch must be at least 1, not {batch}.")

        def kind(item: Any) -> Any:
            return (item.shape, item.dtype, item.device) if isinstance(item, Tensor) else None

        for alike, group in itertools.groupby(items, kind):
            same = list(group)
            if alike is None:
                images = [self._as_image(item, direction) for item in same]
                made = self.translate_images(images, direction=direction, batch=batch)
                results += [as_given(result, item) for result, item in zip(made, same, strict=True)]
            elif same[0].ndim == 3:
                parts = [same[start : start + batch] for start in range(0, len(same), batch)]
                results += [made for part in parts for made in self._translate_tensor(torch.stack(part), direction)]
            else:
                results += [self._translate_tensor(tensor, direction) for tensor in same]
        return results

    def _translate_tensor(self, tensor: Tensor, direction: str) -> Tensor:
        given = self._checked(tensor, direction)
        batch = self._at_size(given if given.ndim == 4 else given[None], direction)
        made = self._run(batch, direction, self.policy.for_tensors)
        made = resized(made, (given.shape[-2], given.shape[-1]), target_spec(self.info, direction).resize)
        if self.resizing.detail:
            full = given if given.ndim == 4 else given[None]
            made = with_detail(made.cpu(), full.cpu(), batch.cpu(), source_spec(self.info, direction).resize)
        return (made if tensor.ndim == 4 else made[0]).to(tensor.device)

    def _checked(self, tensor: Tensor, direction: str) -> Tensor:
        """Return a tensor to translate, c h w or n c h w. Raises ConfigError if it is none."""
        channels = self._info(direction).in_channels
        if tensor.ndim not in (3, 4) or not tensor.is_floating_point() or tensor.shape[-3] != channels:
            raise ConfigError(
                f"A tensor to translate is float, c h w or n c h w with c = {channels}, not "
                f"{tuple(tensor.shape)} of {tensor.dtype}."
            )
        if tensor.is_meta:
            raise ConfigError("A tensor to translate has values, and one on the device meta has none; give real ones.")
        if tensor.numel() == 0 or not bool((tensor.abs() <= 1.001).all()):
            raise ConfigError("A tensor to translate holds values in [-1, 1], and at least one; scale it first.")
        return tensor

    def _run(
        self,
        images: Tensor,
        direction: str,
        precision: Computed = "fp32",
        *,
        eight_bit: bool = False,
        masks: bool = False,
    ) -> Tensor:
        """Translate n c h w in [-1, 1], of any size, or compute its masks; float32, on the backend's device."""
        info, loaded = self._info(direction), self._loaded[direction]
        height, width = images.shape[-2:]
        self._refuse_pass(len(images), height, width, direction, precision)
        options = RunOptions(precision=precision, eight_bit=eight_bit, size=(height, width))
        batch = padded(images.float(), info.generator.multiple, info.generator.min_size)
        most = loaded.capabilities.max_batch or len(batch)
        try:
            run = self._run_masks if masks else self._run_batch
            made = [run(part, direction, options) for part in torch.split(batch, most)]
        except MemoryError:
            raise ImageError(
                f"{len(images)} x {width} x {height} pixels do not fit into memory; {_smaller(len(images))}."
            ) from None
        # Cloned out of inference mode, so that callers may use it in autograd.
        whole = made[0] if len(made) == 1 else torch.cat(made)
        return whole[..., :height, :width].float().clone(memory_format=torch.contiguous_format)

    def _run_masks(self, images: Tensor, direction: str, options: RunOptions) -> Tensor:
        """Return the masks n 1 h w of padded images n c h w."""
        loaded = self._loaded[direction]
        assert isinstance(loaded, ComputesMasks)
        return torch.tensor(loaded.run_masks(images.detach().cpu().numpy()))

    def _run_batch(self, images: Tensor, direction: str, options: RunOptions) -> Tensor:
        """Run the backend on padded images n c h w: on tensors if it supports them, else on arrays."""
        loaded = self._loaded[direction]
        run_tensor = getattr(loaded, "run_tensor", None)
        if run_tensor is not None:
            tensor: Tensor = run_tensor(images, options)
            return tensor
        made = loaded.run(images.cpu().numpy(), options)
        wanted = (len(images), self._info(direction).out_channels, *images.shape[-2:])
        if made.shape != wanted:
            raise ModelError(
                f"The backend {self.backend} made {made.shape} of images {tuple(images.shape)}, not {wanted}; use "
                "another backend with this model."
            )
        return torch.tensor(made)

    def refuse_large(
        self, width: int, height: int, direction: str = "AtoB", precision: Computed | None = None, *, count: int = 1
    ) -> None:
        """Raise ImageError if images of this size exceed the limit per forward pass, at the size of translation.

        precision: that of the pass; by default the one of 8-bit images, fp32 if that is undecided.
        count: the images of the batch.
        """
        self._refuse_pass(count, *self.resizing.size_of(height, width), direction, precision)

    def _refuse_pass(
        self, count: int, height: int, width: int, direction: str, precision: Computed | None = None
    ) -> None:
        loaded, limit = self._loaded[direction], self.max_pixels
        if precision is None:
            decided = self.policy.decided(direction)
            precision = "fp32" if decided is None else decided.precision
        pixels = count * height * width
        taken = pixels
        if limit is None:  # memory is that of the padded images
            limit = pixels_that_fit(loaded, precision)
            generator = self._info(direction).generator
            sides = (padded_side(side, generator.multiple, generator.min_size) for side in (height, width))
            taken = count * math.prod(sides)
        if limit is not None and taken > limit:
            need = expected_bytes(loaded, taken, precision) / 1e9
            raise ImageError(
                f"{count} x {width} x {height} pixels are more than the limit of {limit:,} per forward pass (they need "
                f"about {need:.1f} GB); {self._smaller(count, height, width, limit)} or "
                f"{'free some memory' if self.max_pixels is None else 'raise max_pixels'}.",
                setting="max_pixels",
            )

    def _smaller(self, count: int, height: int, width: int, limit: int) -> str:
        """Return the advice for images that exceed the limit."""
        if isinstance(self.resizing.resize, int):
            return "give a smaller resize"
        scale = self.info.scale
        if self.resizing.resize == "native" and scale is not None and scale.resizes:
            high, wide = scale.trained(height, width)
            if count * high * wide <= limit:
                return (
                    f"{_smaller(count)}, translate it at the scale of training ({wide} x {high}) with --resize trained"
                )
        return _smaller(count)

    def _as_image(self, given: Any, direction: str) -> Image:
        """Return an input that is no tensor as an `Image`; a file too large to translate is not decoded."""
        refuse = partial(self.refuse_large, direction=direction)
        return as_image(given, self._info(direction).in_channels, self.max_pixels, refuse)

    def _info(self, direction: str) -> DirectionInfo:
        if direction not in self.info.directions:
            raise ConfigError(unknown(repr(direction), self.directions, "direction"))
        return self.info.directions[direction]


def _reloaded(origin: Origin, policy: PrecisionPolicy) -> Translator:
    """Return the translator of an unpickled origin. Raises ModelError if the model has changed since it was pickled."""
    made = Translator.load(
        origin.path,
        device=origin.device,
        precision=policy.requested,
        max_pixels=origin.max_pixels,
        backend=origin.backend,
        resize=origin.resize,
        detail=origin.detail,
    )
    assert made._origin is not None
    if made._origin.sha256 != origin.sha256:
        raise ModelError(
            f"The model in {shown(origin.path)} has changed since its translator was sent to this process; give a copy "
            "of the model folder that nothing writes to, the same on every machine."
        )
    made.policy = policy
    return made


def _loaded(network: nn.Module | LoadedGenerator, info: DirectionInfo, device: str) -> LoadedGenerator:
    """Return the generator as loaded by a backend, or a torch module wrapped for the torch backend."""
    if isinstance(network, torch.nn.Module):
        return TorchGenerator(network, info, resolve_device(device))
    return network


def _smaller(count: int) -> str:
    return "lower the batch, scale them down" if count > 1 else "scale it down"
