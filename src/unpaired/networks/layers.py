"""Layers shared by all networks: norms, dropout, upsampling, downsampling and weight initialisation.

Instance norm is implemented as group norm with one channel per group. Its gradient is correct in every memory layout;
torch's instance norm returns a wrong gradient for a single image if the incoming gradient is channels_last. For
channels_last images the statistics come from `unpaired.networks.channels_last`, because torch's are inaccurate.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired import ranks
from unpaired.config import require
from unpaired.networks.channels_last import is_channels_last, moments, normalise

NormKind = Literal["instance", "batch", "none"]
Upsampling = Literal["transposed", "resize", "resize_zeros"]

MAX_BASE_CHANNELS = 1024
"""Maximum width of the first layer: 16 times the published width."""

MAX_CHANNELS = 4096
"""Maximum number of channels of an image, or of noise and classes together."""


def require_count(name: str, count: int, most: int) -> None:
    """Raise ConfigError unless a setting that costs memory or time is in 1 to `most`; `name` is its dotted path."""
    require(1 <= count <= most, f"{name} must be 1 to {most}, not {count}.")


class InstanceNorm(nn.Module):
    """Instance norm: each channel of each image has mean 0 and variance 1; no parameters, no running statistics.

    Ulyanov et al. 2016, as the official code uses it: affine=False, track_running_stats=False, eps 1e-5. The
    result for an image does not depend on the others in the batch, and is the same in training and evaluation mode.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images; x and the result are n c h w."""
        if is_channels_last(x):
            return normalise(x, *moments(x), self.eps)
        return F.group_norm(x, self.num_channels, eps=self.eps)


class BatchNorm(nn.BatchNorm2d):
    """torch's batch norm, with accurate batch statistics for any image size and memory layout."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images; x and the result are n c h w."""
        if not self.training or not is_channels_last(x):
            return super().forward(x)
        means, variances = moments(x)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        self._track(mean, variance, count=x.numel() // x.shape[1])
        if not torch.is_grad_enabled():
            return F.batch_norm(x, mean.float(), variance.float(), self.weight, self.bias, eps=self.eps)
        y = normalise(x, mean[None], variance[None], self.eps)
        return torch.addcmul(self.bias[:, None, None], y, self.weight[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics like torch, with the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.float(), self.momentum)
        self.running_var.lerp_((variance * count / (count - 1)).float(), self.momentum)


class Dropout(nn.Dropout):
    """Dropout whose mask does not depend on the number of ranks; with a single process it is torch's dropout."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations n c h w with dropout applied."""
        if not self.training or self.p == 0 or ranks.world_size() == 1:
            return super().forward(x)
        kept = ranks.draw_for_own_images(lambda count: x.new_empty(count, *x.shape[1:]).bernoulli_(1 - self.p), len(x))
        return x * kept.div_(1 - self.p)


def make_norm(kind: NormKind, num_channels: int) -> nn.Module:
    """Return the norm layer of the given kind for n c h w activations with `num_channels` channels."""
    match kind:
        case "instance":
            return InstanceNorm(num_channels)
        case "batch":
            return BatchNorm(num_channels)
        case "none":
            return nn.Identity()


def needs_bias(kind: NormKind) -> bool:
    """Return whether a convolution before this norm has a bias: not before batch norm, which has its own.

    Before instance norm the bias has no effect, but the published networks and their weight files contain one.
    """
    return kind != "batch"


def resize_convolution(in_channels: int, out_channels: int, *, bias: bool, zeros: bool = False) -> list[nn.Module]:
    """Return layers that double n c h w without checkerboard artefacts: nearest neighbour, then a 3 x 3 convolution.

    Source: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts". Sides are at least one pixel.

    zeros: zero padding instead of reflection padding.
    """
    convolution = nn.Conv2d(in_channels, out_channels, 3, bias=bias)
    padding: nn.Module = nn.ZeroPad2d(1) if zeros else nn.ReflectionPad2d(1)
    return [nn.Upsample(scale_factor=2, mode="nearest"), padding, convolution]


class BlurDown(nn.Module):
    """Anti-aliased downsampling of n c h w by 2: blur with (1, 2, 1) / 4 along both axes, then every second pixel.

    Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", as in CUT's generator (filter size
    3, reflected borders). Sides are at least two pixels; odd sides are rounded up. No learned parameters.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the halved images, n c h/2 w/2."""
        channels = x.shape[1]
        # Created on the images' device: a buffer would be lost on the meta device, and a copy cannot be captured.
        kernel = x.new_full((channels, 1, 3, 3), 1 / 16)
        kernel[:, :, 1].mul_(2)
        kernel[..., 1].mul_(2)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=channels)


class BlurUp(nn.Module):
    """Upsampling of n c h w by 2 with (1, 3, 3, 1) / 4 along both axes and replicated borders; no parameters.

    The weights, 3/4 of a pixel and 1/4 of its neighbour, are those of bilinear interpolation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the doubled images, n c 2h 2w."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def initialise(network: nn.Module, std: float = 0.02) -> None:
    """Initialise the weights in place as published: convolutions N(0, std), biases 0, batch-norm weights N(1, std).

    Source: CycleGAN section 7.1 and the official code's `init_weights` with init_type "normal".
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)
