"""The Inception network of FID and KID in plain torch, with weights from a file of the user.

Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, as stored in TensorFlow's file
of 2015-12-05 and ported in pytorch-fid. Unlike the published architecture, average pooling inside blocks does not count
the padding, and the last block uses max pooling. Names of tensors are those of the port.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.images.tensors import as_files
from unpaired.untrusted.weights import Weights, fill, read_weights

PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of pt_inception-2015-12-05-6726825d.pth, the published file."""

SIZE = 299
FEATURES = 2048

Branch = list[str | tuple[str, ...]]
"""Units one after the other, by name; those in a tuple stand side by side and share their input."""


class Inception:
    """The Inception network of FID and the origin of its weights."""

    def __init__(self, network: InceptionModule, weights: Weights) -> None:
        self.network = network
        self.sha256 = weights.sha256

    @classmethod
    def load(cls, path: str | Path, *, sha256: str | None = None, device: str = "cpu") -> Inception:
        """Read the weights from a file in the layout of pytorch-fid; a classifier in it is ignored.

        sha256: the required hash of the file, None for any. Raises ModelError if it differs or the weights do not fit.
        """
        weights = read_weights(path, sha256=sha256)
        network = InceptionModule()
        fill(network, weights, "FID's Inception network", unused=lambda key: key in ("fc.weight", "fc.bias"))
        return cls(network.to(device), weights)

    @property
    def is_published(self) -> bool:
        """Whether the weights are bit-identical to the published file: only then is a figure FID or KID."""
        return self.sha256 == PUBLISHED

    @property
    def title(self) -> str:
        """The name of the network, shown with each of its figures."""
        known = "Inception 2015-12-05 (pytorch-fid)" if self.is_published else "Inception with other weights"
        return f"{known}, SHA-256 {self.sha256[:8]}"

    def figure_name(self, figure: str) -> str:
        """Return the name of "frechet" or "kernel": FID and KID with the published weights, else a generic one."""
        published = {"frechet": "FID", "kernel": "KID"}
        plain = {"frechet": "Fréchet distance", "kernel": "kernel distance"}
        return f"{(published if self.is_published else plain)[figure]} ({self.title})"

    @torch.inference_mode()
    def features(self, batches: Iterable[Tensor]) -> Tensor:
        """Return n 2048 features, float32, of batches n c h w in [-1, 1] or uint8, rounded as in 8-bit files.

        c is 1 or 3. Images are resized to 299 x 299 as in pytorch-fid: bilinear, without antialiasing. (Programs that
        resize differently get other values; only compare values of one program.)

        Raises ValueError for other channels or no image.
        """
        device = next(self.network.parameters()).device
        found = []
        for batch in batches:
            if batch.ndim != 4 or batch.shape[1] not in (1, 3):
                raise ValueError(f"Inception needs images n 3 h w or n 1 h w, not {(*batch.shape,)}.")
            images = as_files(batch).float().to(device).expand(-1, 3, -1, -1)
            resized = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
            found.append(self.network(resized).cpu())
        if not found:
            raise ValueError("Features need at least one image.")
        return torch.cat(found)


class InceptionModule(nn.ModuleDict):
    """Maps images n 3 299 299 in [-1, 1] to the 2048 features before the classifier, which is left out."""

    def __init__(self) -> None:
        super().__init__(
            {
                "Conv2d_1a_3x3": _Unit(3, 32, 3, stride=2),
                "Conv2d_2a_3x3": _Unit(32, 32, 3, padded=False),
                "Conv2d_2b_3x3": _Unit(32, 64, 3),
                "Conv2d_3b_1x1": _Unit(64, 80, 1),
                "Conv2d_4a_3x3": _Unit(80, 192, 3, padded=False),
                "Mixed_5b": _wide_block(192, 32),
                "Mixed_5c": _wide_block(256, 64),
                "Mixed_5d": _wide_block(288, 64),
                "Mixed_6a": _first_reduction(288),
                "Mixed_6b": _long_block(128),
                "Mixed_6c": _long_block(160),
                "Mixed_6d": _long_block(160),
                "Mixed_6e": _long_block(192),
                "Mixed_7a": _second_reduction(768),
                "Mixed_7b": _fanned_block(1280, "average"),
                "Mixed_7c": _fanned_block(2048, "max"),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return n 2048, averaged over positions."""
        for name, layer in self.items():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, stride=2)
        return x.mean(dim=(2, 3))


class _Unit(nn.Module):
    """Convolution without bias, batch norm (epsilon .001), ReLU. Padded to keep the size, unless it has a stride."""

    def __init__(
        self, inputs: int, outputs: int, size: int | tuple[int, int], *, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        h, w = (size, size) if isinstance(size, int) else size
        padding = (h // 2, w // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (h, w), stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Block(nn.Module):
    """Branches side by side, their outputs stacked; the last one pools: "average" or "max", then the unit
    `branch_pool`, or "reduce", to half the size, with no unit behind it.
    """

    def __init__(self, units: dict[str, _Unit], branches: list[Branch], pool: str) -> None:
        super().__init__()
        for name, unit in units.items():
            self.add_module(name, unit)
        self.branches, self.pool = branches, pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(self._branch(branch, x) for branch in self.branches), self._pooled(x)], dim=1)

    def _branch(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            names = (step,) if isinstance(step, str) else step
            x = torch.cat([self.get_submodule(name)(x) for name in names], dim=1)
        return x

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "reduce":
            return F.max_pool2d(x, 3, stride=2)
        if self.pool == "max":
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        result: Tensor = self.get_submodule("branch_pool")(pooled)
        return result


def _wide_block(inputs: int, pooled: int) -> _Block:
    units = {
        "branch1x1": _Unit(inputs, 64, 1),
        "branch5x5_1": _Unit(inputs, 48, 1),
        "branch5x5_2": _Unit(48, 64, 5),
        "branch3x3dbl_1": _Unit(inputs, 64, 1),
        "branch3x3dbl_2": _Unit(64, 96, 3),
        "branch3x3dbl_3": _Unit(96, 96, 3),
        "branch_pool": _Unit(inputs, pooled, 1),
    }
    double: Branch = ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"]
    return _Block(units, [["branch1x1"], ["branch5x5_1", "branch5x5_2"], double], "average")


def _first_reduction(inputs: int) -> _Block:
    units = {
        "branch3x3": _Unit(inputs, 384, 3, stride=2),
        "branch3x3dbl_1": _Unit(inputs, 64, 1),
        "branch3x3dbl_2": _Unit(64, 96, 3),
        "branch3x3dbl_3": _Unit(96, 96, 3, stride=2),
    }
    return _Block(units, [["branch3x3"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"]], "reduce")


def _long_block(width: int) -> _Block:
    units = {
        "branch1x1": _Unit(768, 192, 1),
        "branch7x7_1": _Unit(768, width, 1),
        "branch7x7_2": _Unit(width, width, (1, 7)),
        "branch7x7_3": _Unit(width, 192, (7, 1)),
        "branch7x7dbl_1": _Unit(768, width, 1),
        "branch7x7dbl_2": _Unit(width, width, (7, 1)),
        "branch7x7dbl_3": _Unit(width, width, (1, 7)),
        "branch7x7dbl_4": _Unit(width, width, (7, 1)),
        "branch7x7dbl_5": _Unit(width, 192, (1, 7)),
        "branch_pool": _Unit(768, 192, 1),
    }
    single: Branch = [f"branch7x7_{number}" for number in (1, 2, 3)]
    double: Branch = [f"branch7x7dbl_{number}" for number in (1, 2, 3, 4, 5)]
    return _Block(units, [["branch1x1"], single, double], "average")


def _second_reduction(inputs: int) -> _Block:
    units = {
        "branch3x3_1": _Unit(inputs, 192, 1),
        "branch3x3_2": _Unit(192, 320, 3, stride=2),
        "branch7x7x3_1": _Unit(inputs, 192, 1),
        "branch7x7x3_2": _Unit(192, 192, (1, 7)),
        "branch7x7x3_3": _Unit(192, 192, (7, 1)),
        "branch7x7x3_4": _Unit(192, 192, 3, stride=2),
    }
    long: Branch = [f"branch7x7x3_{number}" for number in (1, 2, 3, 4)]
    return _Block(units, [["branch3x3_1", "branch3x3_2"], long], "reduce")


def _fanned_block(inputs: int, pool: str) -> _Block:
    units = {
        "branch1x1": _Unit(inputs, 320, 1),
        "branch3x3_1": _Unit(inputs, 384, 1),
        "branch3x3_2a": _Unit(384, 384, (1, 3)),
        "branch3x3_2b": _Unit(384, 384, (3, 1)),
        "branch3x3dbl_1": _Unit(inputs, 448, 1),
        "branch3x3dbl_2": _Unit(448, 384, 3),
        "branch3x3dbl_3a": _Unit(384, 384, (1, 3)),
        "branch3x3dbl_3b": _Unit(384, 384, (3, 1)),
        "branch_pool": _Unit(inputs, 192, 1),
    }
    single: Branch = ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")]
    double: Branch = ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")]
    return _Block(units, [["branch1x1"], single, double], pool)
