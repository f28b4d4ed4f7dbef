"""The translator: a trained generator as a function from images to images, of any size and kind."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args, overload

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from unpaired import ranks
from unpaired.config import require, to_dict
from unpaired.devices import has_bf16, resolve_device
from unpaired.errors import ConfigError, ImageError
from unpaired.images import Image, ValueRange, as_dtype, bands, from_tensor, kept_where, restore, to_srgb
from unpaired.models.domain_values import DomainValues
from unpaired.models.model_folder import DirectionInfo, ModelInfo, read_model
from unpaired.networks.protocols import makes_from_noise
from unpaired.randomness import torch_seeded
from unpaired.suggestions import unknown
from unpaired.translate.fast import fast_form, fast_type
from unpaired.translate.normalising_input import as_taken
from unpaired.translate.pixel_limit import bytes_per_pixel, pixels_that_fit
from unpaired.translate.precision import AGREEMENT, ASKED_FOR, Choice, Precision, agreement

Array = np.ndarray[Any, np.dtype[Any]]


class Translator:
    """Translates images between two domains with the generators of a model folder.

    info: what model.json says. directions: the names that `direction` may have. precision: as it was asked for.
    max_pixels: the most that are translated at once, None for what the free memory has room for. Make one with `load`.
    """

    def __init__(
        self,
        info: ModelInfo,
        networks: Mapping[str, nn.Module],
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        max_pixels: int | None = None,
    ) -> None:
        known = get_args(Precision)
        require(precision in known, unknown(repr(precision), known, "precision"))
        require(max_pixels is None or max_pixels >= 1, f"max_pixels must be at least 1, not {max_pixels}.")
        if any(makes_from_noise(direction.generator) for direction in info.directions.values()):
            raise ConfigError("This model makes images from noise and translates none; use `unpaired sample` with it.")
        self.info = info
        self.directions = tuple(info.directions)
        self.max_pixels = max_pixels
        self.device = resolve_device(device)
        self.precision = precision
        self._networks = {name: networks[name].to(self.device) for name in self.directions}
        self._fast: dict[tuple[str, torch.dtype], nn.Module] = {}
        self._choices: dict[str, Choice] = {}

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        max_pixels: int | None = None,
    ) -> Translator:
        """Return the translator of a run folder or a model folder.

        device: "auto", "cpu", "cuda", "cuda:N" or "mps". precision: "fp32"; "bf16", faster where the hardware knows it
        and some grey levels off; "auto", which is bf16 where that is near enough, as `choose` says. Images whose
        results have more than 8 bits are translated in fp32 whatever it says; tensors are unless it says "bf16".
        max_pixels: the most pixels that are translated at once, by default what the free memory has room for. Raises
        ModelError, DeviceError.
        """
        return cls(*read_model(path), device=device, precision=precision, max_pixels=max_pixels)

    def fingerprint(self, direction: str) -> str:
        """Return a SHA-256 over all that makes an image of a direction: network, weights, values and background."""
        about = (
            to_dict(self._info(direction)),
            [to_dict(own) | {"range": str(own.range)} for own in self._values(direction)],
        )
        digest = hashlib.sha256(json.dumps([about, self.info.background, self.info.icc]).encode())
        for name, tensor in self._networks[direction].state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.cpu().reshape(-1)  # as the counts of batch norms have no axis
            digest.update(flat.view(torch.uint8).numpy())
        return digest.hexdigest()

    def in_fp32(self) -> Translator:
        """Return a translator that shares the networks of this one and is exact."""
        exact = copy.copy(self)
        exact.precision, exact._choices = "fp32", {}
        return exact

    def choose(self, image: Image, *, direction: str = "AtoB", keep_icc: bool = False) -> Choice:
        """Return the precision in which 8-bit images are translated; "auto" decides it by the first one, for good.

        bf16 it is where the device has instructions for it and what it makes of the image is `AGREEMENT` decibels or
        more from what fp32 does. An image whose result has more than 8 bits decides nothing. Raises as `__call__` does.
        """
        chosen = self.settled(direction)
        if chosen is None and not self.is_coarse(image, direction):
            return Choice("fp32", "results of more than 8 bits keep their depth")
        if chosen is None:
            chosen = self._measured(image, direction, keep_icc)
            self.settle(direction, chosen)
        return chosen

    def settled(self, direction: str) -> Choice | None:
        """Return what was chosen for the 8-bit images of a direction; None while "auto" has not decided."""
        return Choice(self.precision, ASKED_FOR) if self.precision != "auto" else self._choices.get(direction)

    def settle(self, direction: str, choice: Choice) -> None:
        """Decide what "auto" means for the 8-bit images of a direction."""
        self._choices[direction] = choice

    def is_coarse(self, image: Image, direction: str) -> bool:
        """Return whether the result has 8 bits for the whole range, so that bf16 cannot cost it depth."""
        target = self._values(direction)[1].range
        return self.output_dtype(image, direction) == np.uint8 and target.bounds in (None, (0, 255))

    @overload
    def __call__(self, image: PIL.Image.Image, *, direction: str = ...) -> PIL.Image.Image: ...
    @overload
    def __call__(self, image: Image, *, direction: str = ...) -> Image: ...
    @overload
    def __call__(self, image: Array, *, direction: str = ...) -> Array: ...
    @overload
    def __call__(self, image: Tensor, *, direction: str = ...) -> Tensor: ...
    @overload
    def __call__(self, image: Sequence[Any], *, direction: str = ..., batch: int = ...) -> list[Any]: ...
    def __call__(self, image: Any, *, direction: str = "AtoB", batch: int = 1) -> Any:
        """Translate an image, or a list of images, and return the same kind of thing, exactly as large.

        image: a Pillow image (turned as its EXIF says) · an `Image` · an array uint8, uint16, int16, int32 or
        float32, h w or h w c, with alpha last where c is 2 or 4 and not the model's count of channels · a float
        tensor c h w or n c h w in [-1, 1] with the model's channels · a list of the first three kinds, of any
        sizes, translated `batch` at a time where sizes agree. Grey goes through a colour model as RGB and comes
        out in colour. Alpha is kept; beneath it the image is laid over the model's background. The result has
        the image's type, as `output_dtype` says. Raises ConfigError for an unknown direction, kind or
        channel count, ImageError for an image that cannot be held or does not fit the memory.
        """
        if isinstance(image, Tensor):
            return self._translate_tensor(image, direction)
        channels = self._info(direction).in_channels
        if isinstance(image, (list, tuple)):
            images = [_as_image(item, channels) for item in image]
            results = self.translate_images(images, direction=direction, batch=batch)
            return [_as_given(result, given) for result, given in zip(results, image, strict=True)]
        (result,) = self.translate_images([_as_image(image, channels)], direction=direction)
        return _as_given(result, image)

    def translate_images(
        self, images: Sequence[Image], *, direction: str = "AtoB", batch: int = 1, keep_icc: bool = False
    ) -> list[Image]:
        """Translate images of any sizes, in order; neighbours of one size share a batch of up to `batch`.

        Each keeps its size, its alpha and, as `output_dtype` says, its type. keep_icc: take colours with an ICC
        profile as they are, and hand the profile on; without it they are taken as in training, and it is dropped.
        Raises as `__call__` does.
        """
        require(batch >= 1, f"batch must be at least 1, not {batch}.")
        self._info(direction)
        results: list[Image] = []
        by_kind = itertools.groupby(
            images, key=lambda image: (image.height, image.width, self.is_coarse(image, direction))
        )
        for (_, _, coarse), group in by_kind:
            same = list(group)
            fast = None
            if coarse:
                chosen = self.choose(same[0], direction=direction, keep_icc=keep_icc).precision
                fast = fast_type(self._networks[direction], self.device, chosen, same[0].height * same[0].width)
            for start in range(0, len(same), batch):
                results += self._translate_alike(same[start : start + batch], direction, keep_icc, fast)
        return results

    def output_dtype(self, image: Image, direction: str) -> np.dtype[Any]:
        """Return the type of the result: the image's, or the recorded one of the domain that it is translated to.

        The image's if both domains were trained on one type, or if it is a narrower type of whole numbers, and if it
        holds the range of that domain. Floats recorded for that domain stay floats, whatever the image is.
        """
        source, target = self._values(direction)
        if not target.dtype:
            return image.dtype
        recorded = np.dtype(target.dtype)
        if source.dtype == target.dtype and recorded.kind == image.dtype.kind == "f":
            return image.dtype
        if not target.range.fits(image.dtype):
            return recorded
        if source.dtype == target.dtype and recorded.kind != "f":
            return image.dtype
        # Within a range of its own a narrower type holds the same values: one wide file decides nothing for others.
        same = target.range.bounds is not None and recorded.kind != "f" and np.can_cast(image.dtype, recorded)
        return image.dtype if same else recorded

    def _measured(self, image: Image, direction: str, keep_icc: bool) -> Choice:
        """Translate an image both ways and return the precision that follows from it."""
        if not has_bf16(self.device):
            return Choice("fp32", f"this {self.device.type} has no instructions for bf16")
        given = self._given([self._taken(image, keep_icc)], direction)
        found = agreement(self._run(given, direction), self._run(given, direction, torch.bfloat16))
        if found >= AGREEMENT:
            return Choice("bf16", f"{found:.1f} dB from fp32 on the first image", found)
        return Choice(
            "fp32", f"bf16 is {found:.1f} dB from it on the first image, and {AGREEMENT:.0f} are wanted", found
        )

    def _taken(self, image: Image, keep_icc: bool) -> Image:
        return image if keep_icc or self.info.icc == "ignore" else to_srgb(image)

    def _given(self, images: Sequence[Image], direction: str) -> Tensor:
        """Return images of one size as the generator sees them, n c h w in [-1, 1]."""
        channels = self._info(direction).in_channels
        source, target = self._values(direction)
        for image in images:
            require_range(source.range, image.dtype)
            require_range(target.range, self.output_dtype(image, direction))
        return torch.stack([as_taken(image, self.info, direction[0], channels) for image in images])

    def _translate_alike(
        self, images: list[Image], direction: str, keep_icc: bool, fast: torch.dtype | None
    ) -> list[Image]:
        """Translate images of one size at once."""
        source, target = self._values(direction)
        channels = self._info(direction).in_channels
        taken = [bands(self._taken(image, keep_icc), channels) for image in images]
        given = self._given(taken, direction)
        made = self._run(given, direction, fast).cpu()
        results = []
        for before, after, image in zip(given, made, taken, strict=True):
            dtype = self.output_dtype(image, direction)
            result = from_tensor(after, dtype=dtype, values=target.range)
            alike = before.shape == after.shape and image.channels == channels and source.range == target.range
            if alike and dtype == image.dtype:
                result = kept_where(before == after, image, result, source.range)
            result = restore(result, image)
            alpha = None if image.alpha is None else as_dtype(image.alpha, dtype)
            results.append(replace(result, alpha=alpha, icc=image.icc if keep_icc else None))
        return results

    def _values(self, direction: str) -> tuple[DomainValues, DomainValues]:
        """Return what the numbers of the source and of the target of a direction are."""
        return self.info.values[direction[0]], self.info.values[direction[-1]]

    def _translate_tensor(self, tensor: Tensor, direction: str) -> Tensor:
        channels = self._info(direction).in_channels
        if tensor.ndim not in (3, 4) or not tensor.is_floating_point() or tensor.shape[-3] != channels:
            raise ConfigError(
                f"A tensor to translate is float, c h w or n c h w with c = {channels}, not "
                f"{tuple(tensor.shape)} of {tensor.dtype}."
            )
        if tensor.numel() == 0 or not bool((tensor.abs() <= 1.001).all()):
            raise ConfigError("A tensor to translate holds values in [-1, 1], and at least one; scale it first.")
        fast = torch.bfloat16 if self.precision == "bf16" else None
        made = self._run(tensor if tensor.ndim == 4 else tensor[None], direction, fast)
        return (made if tensor.ndim == 4 else made[0]).to(tensor.device)

    def _run(self, images: Tensor, direction: str, fast: torch.dtype | None = None) -> Tensor:
        """Translate n c h w in [-1, 1], of any size; the result is float32 on the translator's device.

        fast: the type of numbers of the fast form to use; None for the network as it is.
        """
        generator = self._info(direction).generator
        height, width = images.shape[-2:]
        self._refuse_large(len(images), height, width, direction)
        padded = _pad(images.to(self.device, torch.float32), generator.multiple, generator.min_size)
        try:
            with torch.inference_mode():
                if fast:
                    padded = padded.to(fast, memory_format=torch.channels_last)
                made = self._forward(padded, self._fast_network(direction, fast) if fast else self._networks[direction])
        except (RuntimeError, MemoryError) as error:  # of torch's, only the text tells which
            if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "memory" not in str(error):
                raise
            raise ImageError(
                f"{len(images)} x {width} x {height} pixels do not fit the memory; {_smaller(len(images))}."
            ) from None
        # Cloned out of inference mode, so that callers may go on computing with it.
        return made[..., :height, :width].float().clone(memory_format=torch.contiguous_format)

    def _fast_network(self, direction: str, dtype: torch.dtype) -> nn.Module:
        if (direction, dtype) not in self._fast:
            self._fast[direction, dtype] = fast_form(self._networks[direction], self.device, dtype)
        return self._fast[direction, dtype]

    def _refuse_large(self, count: int, height: int, width: int, direction: str) -> None:
        """Raise ImageError for more pixels than may, or can, be translated at once."""
        generator = self._info(direction).generator
        limit = self.max_pixels if self.max_pixels is not None else pixels_that_fit(generator, self.device)
        pixels = count * height * width
        if limit is not None and pixels > limit:
            need = pixels * bytes_per_pixel(generator) / 1e9
            raise ImageError(
                f"{count} x {width} x {height} pixels are more than the {limit:,} that are translated at once (they "
                f"take about {need:.1f} GB); {_smaller(count)} or "
                f"{'free some memory' if self.max_pixels is None else 'raise max_pixels (--max-pixels)'}."
            )

    def _forward(self, images: Tensor, network: nn.Module) -> Tensor:
        """Run a generator; one that stays in training mode sees one image at a time, with the same noise for each."""
        if not network.training:
            made: Tensor = network(images)
            return made
        alone = []
        for index in range(len(images)):
            with torch_seeded(0, "translate"), ranks.alone():
                alone.append(network(images[index : index + 1]))
        return torch.cat(alone)

    def _info(self, direction: str) -> DirectionInfo:
        if direction not in self.info.directions:
            raise ConfigError(unknown(repr(direction), self.directions, "direction"))
        return self.info.directions[direction]


def require_range(values: ValueRange, dtype: np.dtype[Any]) -> None:
    """Raise ImageError for images of a type without a range of its own, where a model was trained on whole ranges."""
    if values.bounds is None and not values.fits(dtype):
        raise ImageError(
            f"Images of {dtype} have no range of their own, and the model was trained on the whole range of a type; "
            "convert it to 8 or 16 bits."
        )


def _smaller(count: int) -> str:
    return "lower the batch, scale them down" if count > 1 else "scale it down"


def _pad(images: Tensor, multiple: int, min_size: int) -> Tensor:
    """Mirror n c h w to the right and below, until both sides are multiples and at least `min_size`.

    By index, as torch's own padding refuses to mirror more than one image width: the reflection goes to and
    fro, so that even one pixel fills any size.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        target = -(-max(size, min_size) // multiple) * multiple
        if target != size:
            period = max(2 * size - 2, 1)
            index = torch.arange(target, device=images.device) % period
            images = images.index_select(axis, torch.where(index < size, index, period - index))
    return images


def _as_image(given: Any, channels: int) -> Image:
    if isinstance(given, Image):
        return given
    if isinstance(given, PIL.Image.Image):
        return Image.from_pil(given)
    if isinstance(given, np.ndarray):
        array = given[:, :, None] if given.ndim == 2 else given
        if array.ndim == 3 and array.shape[2] in (2, 4) and array.shape[2] != channels:
            return Image(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]))
        return Image(array)
    raise ConfigError(
        f"Cannot translate {type(given).__name__}; give Pillow images, arrays or tensors, or read the file."
    )


def _as_given(made: Image, given: Any) -> Any:
    """Return `made` as the kind of thing that was given."""
    if isinstance(given, PIL.Image.Image):
        return made.to_pil()
    if isinstance(given, np.ndarray):
        return made.pixels[:, :, 0] if given.ndim == 2 and made.channels == 1 else made.interleaved
    return made
