"""Training batches from two sources: pairing, resizing, crops and flips; random draws are indexed by the sample.

Sample k of a run (k = 0, 1, 2, ...) belongs to epoch k // length + 1; the length of an epoch is that of the
larger domain. The images of a sample and their augmentation depend on (seed, k) alone. `noise` has domain A as noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from unpaired.config import free, require
from unpaired.data.normalising import spec_from_config
from unpaired.data.training_masks import MaskCache
from unpaired.errors import DataError
from unpaired.images import Image, Resampling, parse_fill, parse_range
from unpaired.images.input_spec import IccHandling, InputSpec
from unpaired.images.nodata import LOW
from unpaired.randomness import rng
from unpaired.ranks import shard_of_micro_batches
from unpaired.storage import at_home
from unpaired.training_size import WHOLE_IMAGE_MULTIPLE as WHOLE_IMAGE_MULTIPLE
from unpaired.training_size import Preprocess, training_size

if TYPE_CHECKING:
    from unpaired.data.sources import ImageSource
    from unpaired.data.training_masks import MaskSource

Pairing = Literal["unpaired", "paired", "noise"]
Domain = Literal["A", "B"]

WHOLE_IMAGES: tuple[Preprocess, ...] = ("none", "scale_width")
"""Preprocessings that keep the whole image; training images may differ in size."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images and their preprocessing to training samples.

    Preprocessings have the names of the official code.
    """

    root: str = free("")
    """Folder that holds trainA and trainB (and testA and testB for the sample grids), or pairs, or one set of images.
    """
    a: str = free("")
    """Folder of images of domain A, instead of DATA."""
    b: str = free("")
    """Folder of images of domain B, instead of DATA."""
    name_a: str = free("")
    """Name of domain A in reports and model cards. Empty: guessed from the folders, horse from horse2zebra."""
    name_b: str = free("")
    """Name of domain B in reports and model cards. Empty: guessed from the folders, zebra from horse2zebra."""
    pairing: Pairing = "unpaired"
    """Kind of data, which the recipe of a method sets. unpaired: two folders of unmatched images. paired: A and B side
    by side in one file, or files of one name. noise: B are the images, and A is noise.
    """
    noise_channels: int = 100
    """Length of the noise vector for pairing noise: standard normal numbers for each image (DCGAN: 100)."""
    classes: bool = False
    """For pairing noise: folders of images are classes, and the one-hot class of an image follows its noise. channels_a
    is then counted from them.
    """
    load_size: int = 286
    """Size in pixels that images are resized to before the crop; at least crop_size. CycleGAN: 286 for crops of 256."""
    crop_size: int = 256
    """Side in pixels of the square training crops (CycleGAN: 256). Must suit the networks, mostly a multiple of 4;
    --size also scales load_size and the networks.
    """
    preprocess: Preprocess = "resize_and_crop"
    """resize_and_crop: resize to load_size x load_size (bicubic, aspect ratio not kept), then random crop. crop: crop
    only. scale_width: width becomes load_size, ratio kept; scale_width_and_crop crops after that. none: neither.
    Uncropped sides are rounded to multiples of 4.
    """
    flip: bool = True
    """Mirror images left to right with probability 1/2. Switch it off if left and right differ, as in text or anatomy.
    """
    channels_a: int = 3
    """Channels of the images of domain A: 1 for grey, 3 for colour, any number for other bands. Counted, not given, for
    pairing noise.
    """
    channels_b: int = 3
    """Channels of the images of domain B: 1 for grey, 3 for colour, any number for other bands."""
    batch_size: int = 1
    """Images of each domain in a step, over all processes together (CycleGAN and pix2pix: 1). Must be 1 for preprocess
    none and scale_width.
    """
    background: tuple[int, ...] = (255, 255, 255)
    """Colour behind transparent images: red, green and blue in 0..255."""
    range: str = "dtype"
    """Values that become -1 and 1: dtype (the whole range of the images' type), LOW..HIGH as in 0..4095, or percentiles
    over the training images as in p0.5..p99.5; values beyond are clamped. --data.range-a and --data.range-b for one
    domain.
    """
    range_a: str = ""
    """Range of domain A alone, in the form of range. Empty: that of range."""
    range_b: str = ""
    """Range of domain B alone, in the form of range. Empty: that of range."""
    nodata_fill: str = "low"
    """Value that replaces no data (GDAL's no-data value, DICOM's pixel padding) in the networks' input: low, the low
    end of the range, or a number.
    """
    nodata_fill_a: str = ""
    """Replacement for no data in domain A alone. Empty: that of nodata_fill."""
    nodata_fill_b: str = ""
    """Replacement for no data in domain B alone. Empty: that of nodata_fill."""
    resize_a: Resampling = "bicubic"
    """Interpolation for images of domain A. bicubic is antialiased, as published; nearest mixes no values, for label
    maps.
    """
    resize_b: Resampling = "bicubic"
    """Interpolation for images of domain B. bicubic is antialiased, as published; nearest mixes no values, for label
    maps.
    """
    masks: Literal["auto", "on", "off"] = "auto"
    """Masks of the training images, in folders maskA and maskB beside trainA and trainB: white is translated, black
    kept. auto: used if there are any; on: needed; off: ignored.
    """
    icc: IccHandling = "ignore"
    """Colours of files with an ICC profile. ignore: used as stored, as in the official code; convert: converted to
    sRGB.
    """
    dtype_a: str = free("")
    """Smallest type that holds all images of domain A and its range, e.g. uint16. Resolved from the images when a run
    starts; leave it empty.
    """
    dtype_b: str = free("")
    """Smallest type that holds all images of domain B and its range, e.g. uint16. Resolved from the images when a run
    starts; leave it empty.
    """
    num_workers: int = free(0)
    """Loader processes of each training process; 0 loads in the training process itself. Never changes a result."""
    worker_retries: int = free(0)
    """Loader processes that may be lost and are replaced before a run ends with an error."""
    bad_images: Literal["error", "skip"] = free("error")
    """Images that cannot be used. error: stop before step one and name all of them; skip: leave them out and list them
    in data.json.
    """
    cache_mb: int = free(1024)
    """Memory for decoded images in MiB (2^20 bytes), for every loader process; 0 keeps none."""
    follow_symlinks: bool = free(False)
    """Read files that are links to places outside of their folder. Links to folders are never followed below a folder
    of images.
    """

    def __post_init__(self) -> None:
        for name in ("root", "a", "b"):
            if str(getattr(self, name)).startswith("~"):
                object.__setattr__(self, name, str(at_home(getattr(self, name))))
        for name in ("load_size", "crop_size", "channels_a", "channels_b", "batch_size", "noise_channels"):
            require(getattr(self, name) >= 1, f"data.{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("num_workers", "worker_retries", "cache_mb"):
            require(getattr(self, name) >= 0, f"data.{name} must not be negative, not {getattr(self, name)}.")
        require(
            self.preprocess != "resize_and_crop" or self.load_size >= self.crop_size,
            f"data.load_size ({self.load_size}) must be at least data.crop_size ({self.crop_size}).",
        )
        require(
            not self.classes or self.pairing == "noise",
            f"data.classes is for data.pairing noise, which appends the class to the noise, not {self.pairing}.",
        )
        require(
            self.preprocess not in WHOLE_IMAGES or self.batch_size == 1,
            f"data.batch_size must be 1 with data.preprocess {self.preprocess}, whose images may differ in size.",
        )
        for name in ("range", "range_a", "range_b"):
            parse_range(getattr(self, name) or "dtype", f"data.{name}")
        for name in ("nodata_fill", "nodata_fill_a", "nodata_fill_b"):
            parse_fill(getattr(self, name) or LOW, f"data.{name}")
        ok = len(self.background) == 3 and all(0 <= level <= 255 for level in self.background)
        require(ok, f"data.background takes three levels 0..255, e.g. 255,255,255, not {list(self.background)}.")


@dataclass(frozen=True)
class Batch:
    """One training batch: images of both domains, n c h w, float32 in [-1, 1].

    mask_a, mask_b: of training with masks, n 1 h w in [0, 1]: 1 for pixels to translate.
    """

    a: Tensor
    b: Tensor
    mask_a: Tensor | None = None
    mask_b: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        a, b = self.a.to(device, non_blocking=True), self.b.to(device, non_blocking=True)
        if self.mask_a is None or self.mask_b is None:
            return Batch(a=a, b=b)
        return Batch(a, b, self.mask_a.to(device, non_blocking=True), self.mask_b.to(device, non_blocking=True))

    def parts(self, count: int) -> list[Batch]:
        """Split the batch into `count` micro-batches of equal size, in order, as views."""
        if count == 1:
            return [self]
        assert len(self.a) % count == 0
        images = zip(self.a.chunk(count), self.b.chunk(count), strict=True)
        if self.mask_a is None or self.mask_b is None:
            return [Batch(a=a, b=b) for a, b in images]
        masks = zip(self.mask_a.chunk(count), self.mask_b.chunk(count), strict=True)
        return [Batch(*both, *own) for both, own in zip(images, masks, strict=True)]


class StepDataset(Dataset[Batch], ABC):
    """Batches by step number (1, 2, ...); subclasses define the samples.

    length: samples per epoch.
    share: (rank, count) of the training process; it receives the part of that rank of each batch.
    accumulate: number of micro-batches per step, each of which is divided among all ranks.
    """

    share = (0, 1)
    accumulate = 1

    def __init__(self, length: int, config: DataConfig, seed: int) -> None:
        self.length, self._config, self._seed = length, config, seed

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of step `step` >= 1, or this process's part of it."""
        pairs = [
            self._sample(sample) for sample in shard_of_micro_batches(self._samples(step), *self.share, self.accumulate)
        ]
        return Batch(a=torch.stack([a for a, _ in pairs]), b=torch.stack([b for _, b in pairs]))

    def names_of(self, step: int) -> list[str]:
        """Return the names of the images in the whole batch of a step, for messages."""
        return [self._name(sample) for sample in self._samples(step)]

    @abstractmethod
    def preview(self, count: int) -> Batch:
        """Return about `count` samples for sample grids, independent of earlier draws."""

    @abstractmethod
    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        """Return A and B of sample `sample` >= 0, c h w each."""

    @abstractmethod
    def _name(self, sample: int) -> str:
        """Return the name of a sample for messages."""

    def _samples(self, step: int) -> range:
        size = self._config.batch_size
        return range((step - 1) * size, step * size)

    def _shuffled(self, sample: int) -> int:
        """Return the position of a sample, 0 <= position < length, in the order of its epoch."""
        epoch, position = divmod(sample, self.length)
        return int(shuffled(self._seed, epoch, self.length)[position])


class TwoDomainDataset(StepDataset):
    """Batches of images of both domains. purposes: names of the random draws for crops and flips of A and B."""

    purposes: ClassVar[tuple[str, str]]

    def __init__(
        self,
        a: ImageSource,
        b: ImageSource,
        config: DataConfig,
        seed: int,
        masks: tuple[MaskSource, MaskSource] | None = None,
    ) -> None:
        super().__init__(max(len(a), len(b)), config, seed)
        self._a, self._b = a, b
        share_of_masks = config.cache_mb * 2**20 // 4
        self._masks = None if masks is None else tuple(MaskCache(source, share_of_masks // 2) for source in masks)
        budget = config.cache_mb * 2**20
        share = budget * len(a) // (len(a) + len(b))
        self._spec_a, self._spec_b = spec_from_config(config, "A"), spec_from_config(config, "B")
        self._cache_a = ImageCache(a, config, share, self._spec_a)
        self._cache_b = ImageCache(b, config, budget - share, self._spec_b)

    @abstractmethod
    def images_of(self, sample: int) -> tuple[int, int]:
        """Return the indices of the A and the B image that sample `sample` >= 0 is made of."""

    def preview(self, count: int) -> Batch:
        """Return the first `count` images of each domain, resized and cropped in the middle, without randomness."""
        c, count = self._config, min(count, len(self._a), len(self._b))
        a = [crop(self._cache_a[i], c, None) for i in range(count)]
        b = [crop(self._cache_b[i], c, None) for i in range(count)]
        size = min(min(image.height, image.width) for image in a + b)
        if c.preprocess in WHOLE_IMAGES:  # sizes may differ
            a, b = [_centre(image, size, size) for image in a], [_centre(image, size, size) for image in b]
        batch = Batch(
            a=torch.stack(list(map(self._spec_a.tensor, a))), b=torch.stack(list(map(self._spec_b.tensor, b)))
        )
        if self._masks is None:
            return batch
        masks = [[crop(self._mask(domain, i), c, None) for i in range(count)] for domain in (0, 1)]
        if c.preprocess in WHOLE_IMAGES:
            masks = [[_centre(mask, size, size) for mask in every] for every in masks]
        return replace(batch, mask_a=_weights(masks[0]), mask_b=_weights(masks[1]))

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of step `step` >= 1, or this process's part of it, with masks if there are any."""
        batch = super().__getitem__(step)
        if self._masks is None:
            return batch
        samples = shard_of_micro_batches(self._samples(step), *self.share, self.accumulate)
        masks = [self._sample_masks(sample) for sample in samples]
        return replace(batch, mask_a=_weights([a for a, _ in masks]), mask_b=_weights([b for _, b in masks]))

    def _mask(self, domain: int, index: int) -> Image:
        """Return the mask of an image of A (0) or B (1), as large as the resized image."""
        assert self._masks is not None
        image = (self._cache_a, self._cache_b)[domain][index]
        return self._masks[domain].at_size(index, image.height, image.width)

    def _sample_masks(self, sample: int) -> tuple[Image, Image]:
        """Return the masks of a sample with the crops and flips of its images, whose draws are repeated."""
        a, b = (
            crop(self._mask(domain, index), self._config, rng(self._seed, purpose, sample))
            for domain, (index, purpose) in enumerate(zip(self.images_of(sample), self.purposes, strict=True))
        )
        return a, b

    def _prepared(self, sample: int) -> tuple[Image, Image]:
        """Return the images of a sample, resized and not yet cropped."""
        a, b = self.images_of(sample)
        return self._cache_a[a], self._cache_b[b]

    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        a, b = self._prepared(sample)
        draw_a, draw_b = (rng(self._seed, purpose, sample) for purpose in self.purposes)
        image_a, image_b = crop(a, self._config, draw_a), crop(b, self._config, draw_b)
        return self._spec_a.tensor(image_a), self._spec_b.tensor(image_b)

    def _name(self, sample: int) -> str:
        a, b = self.images_of(sample)
        return f"{self._a.name(a)} and {self._b.name(b)}"


class UnpairedDataset(TwoDomainDataset):
    """A in an order shuffled each epoch, B uniformly at random, with independent crops and flips.

    As published: the shuffled index runs to the length of the larger domain, and A uses it modulo its own length.
    """

    purposes = ("augment a", "augment b")

    def images_of(self, sample: int) -> tuple[int, int]:
        """Return the indices of the A and the B image that sample `sample` >= 0 is made of."""
        return self._shuffled(sample) % len(self._a), int(rng(self._seed, "partner", sample).integers(len(self._b)))


class PairedDataset(TwoDomainDataset):
    """Image k of A with image k of B, in an order shuffled each epoch, both with the same crop and the same flip.

    As published for pix2pix. Raises DataError for sources of different lengths, and for a pair whose images differ in
    size unless `preprocess` makes them equal: one crop would not show the same place in both.
    """

    purposes = ("augment", "augment")

    def __init__(self, a: ImageSource, b: ImageSource, config: DataConfig, seed: int) -> None:
        if len(a) != len(b):
            raise DataError(f"Pairs need as many images in A as in B, not {len(a)} and {len(b)}; add what is missing.")
        super().__init__(a, b, config, seed)

    def images_of(self, sample: int) -> tuple[int, int]:
        """Return the index of the pair that sample `sample` >= 0 is made of, twice."""
        index = self._shuffled(sample)
        return index, index

    def _prepared(self, sample: int) -> tuple[Image, Image]:
        a, b = super()._prepared(sample)
        if (a.height, a.width) != (b.height, b.width):
            raise DataError(different_sizes(self._name(sample), (a.height, a.width), (b.height, b.width)))
        return a, b

    def _name(self, sample: int) -> str:
        index = self.images_of(sample)[0]
        a, b = self._a.name(index), self._b.name(index)
        return a if a == b else f"{a} and {b}"  # both halves have the name of their file


class ImageCache:
    """Decoded and resized images of a source, kept until a budget of bytes is full; crops and flips come later."""

    def __init__(self, source: ImageSource, config: DataConfig, budget: int, spec: InputSpec) -> None:
        self._source, self._config, self._spec = source, config, spec
        self._budget = budget
        self._held: dict[int, Image] = {}

    def __getitem__(self, index: int) -> Image:
        """Return image `index`, opaque and resized, in its own type."""
        if index in self._held:
            return self._held[index]
        image = prepare(self._source[index], self._config, self._spec)
        if image.pixels.nbytes <= self._budget:
            self._budget -= image.pixels.nbytes
            self._held[index] = image
        return image


def prepare(image: Image, config: DataConfig, spec: InputSpec | None = None) -> Image:
    """Return the image without alpha and no data, resized by `config.preprocess`, without randomness.

    spec: the input of its domain, by default that of domain A.
    """
    spec = spec or spec_from_config(config, "A")
    opaque = spec.opaque(spec.accept(image))
    size = training_size(
        opaque.height,
        opaque.width,
        preprocess=config.preprocess,
        load_size=config.load_size,
        crop_size=config.crop_size,
    )
    return spec.resized(opaque, size)


def crop(image: Image, config: DataConfig, draw: np.random.Generator | None) -> Image:
    """Return a random crop, possibly mirrored; the centre crop, not mirrored, if `draw` is None."""
    pixels = image.pixels
    if config.preprocess not in WHOLE_IMAGES:
        size = config.crop_size
        if draw is None:
            return _centre(image, size, size)
        top = int(draw.integers(image.height - size + 1))
        left = int(draw.integers(image.width - size + 1))
        pixels = pixels[top : top + size, left : left + size]
    if draw is not None and config.flip and draw.random() < 0.5:
        pixels = pixels[:, ::-1]
    return Image(pixels=np.ascontiguousarray(pixels))


def check_size(name: str, height: int, width: int, config: DataConfig, min_side: int = 1) -> None:
    """Raise DataError if an image of this size cannot give a crop under `config`.

    min_side: the smallest side that the networks accept, for the preprocessings that do not crop.
    """
    side = (
        min(height, width) if config.preprocess == "none" else min(height * config.load_size / width, config.load_size)
    )
    if config.preprocess in WHOLE_IMAGES and side < min_side:
        raise DataError(
            f"{name} is {width}x{height} pixels, but these networks need sides of at least {min_side}: remove it, or "
            "let --data.preprocess resize_and_crop enlarge it."
        )
    if config.preprocess == "crop" and min(height, width) < config.crop_size:
        raise DataError(
            f"{name} is {width}x{height} pixels, smaller than the crop ({config.crop_size}): lower --size, or let "
            "--data.preprocess resize_and_crop enlarge it."
        )
    if config.preprocess == "scale_width_and_crop" and config.load_size < config.crop_size:
        raise DataError(f"data.load_size ({config.load_size}) is smaller than the crop ({config.crop_size}); raise it.")


def different_sizes(name: str, a: tuple[int, int], b: tuple[int, int]) -> str:
    """Return the sentence for a pair whose images are of different sizes, (height, width) each."""
    return (
        f"{name} are a pair of different sizes, {a[1]}x{a[0]} and {b[1]}x{b[0]} pixels: make them equal, or let "
        "--data.preprocess resize_and_crop do it."
    )


def _weights(masks: list[Image]) -> Tensor:
    """Return masks uint8 h w 1 as n 1 h w in [0, 1]."""
    return torch.stack([torch.from_numpy(mask.pixels).permute(2, 0, 1) for mask in masks]).float() / 255


@lru_cache(maxsize=2)
def shuffled(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """Return the order of an epoch (0, 1, ...): a permutation of range(length)."""
    return rng(seed, "order", epoch).permutation(length)


def _centre(image: Image, height: int, width: int) -> Image:
    top, left = (image.height - height) // 2, (image.width - width) // 2
    return Image(pixels=np.ascontiguousarray(image.pixels[top : top + height, left : left + width]))
