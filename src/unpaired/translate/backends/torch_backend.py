"""The torch backend, with fast forms of generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from unpaired import ranks
from unpaired.devices import has_bf16, resolve_device
from unpaired.models.model_folder import DirectionInfo, read_network
from unpaired.networks.protocols import HasMask, translates_by_search
from unpaired.randomness import torch_seeded
from unpaired.translate.backends.backend_protocol import Batch, Capabilities, RunOptions
from unpaired.translate.fast import fast_form, fast_type
from unpaired.translate.pixel_limit import bytes_per_pixel, expected_bytes, pixels_that_fit
from unpaired.translate.precision import Computed, Precision

_PIXELS_AT_ONCE = {"cpu": 2**14, "cuda": 2**21}  # batches speed up small images, and GPUs


class TorchBackend:
    """Runs generators with torch, on processors and GPUs."""

    kind = "torch"
    devices = ("cpu", "cuda", "cuda:N", "mps")

    def load(self, model: Path, direction: str, *, device: str, precision: Precision) -> TorchGenerator:
        """Load one direction of a model folder. Raises ModelError and DeviceError."""
        info, network = read_network(model, direction)
        return TorchGenerator(network, info, resolve_device(device))


class TorchGenerator:
    """A generator in torch, in both precisions; the bfloat16 copy is made on first use."""

    def __init__(self, network: nn.Module, info: DirectionInfo, device: torch.device) -> None:
        self.network, self.torch_device = network.to(device), device
        self._generator = info.generator
        self._fast: dict[torch.dtype, nn.Module] = {}
        # The gradients of a search need the digits of float32.
        able: tuple[Computed, ...] = ("fp32",) if translates_by_search(info.generator) else ("fp32", "bf16")
        self.capabilities = Capabilities(
            device=str(device),
            precisions=able,
            fast_precisions=able if has_bf16(device) else ("fp32",),
            pixels_at_once=_PIXELS_AT_ONCE.get(device.type, 1),
            one_by_one=("fp32",) if device.type == "cpu" else (),
            bytes_per_pixel=bytes_per_pixel(info.generator),
            masks=isinstance(network, HasMask),
        )

    def run(self, images: Batch, options: RunOptions) -> Batch:
        """Translate n c h w, as documented in `LoadedGenerator`."""
        made: Batch = self.run_tensor(torch.from_numpy(images), options).float().cpu().numpy()
        return made

    def run_tensor(self, images: Tensor, options: RunOptions) -> Tensor:
        """Translate n c h w in float32, from any device; the result is on the device of the generator, in inference
        mode.
        """
        fast = None
        if options.eight_bit or options.precision == "bf16":
            height, width = options.size
            fast = fast_type(self.network, self.torch_device, options.precision, height * width)
        with _memory_errors(), torch.inference_mode():
            images = images.to(self.torch_device)
            if fast is None:
                return self._forward(images, self.network)
            return self._forward(images.to(fast, memory_format=torch.channels_last), self._fast_network(fast))

    def run_masks(self, images: Batch) -> Batch:
        """Return the masks n 1 h w, as documented in `ComputesMasks`; the network has `mask(image)`."""
        assert isinstance(self.network, HasMask)
        with _memory_errors(), torch.inference_mode():
            masks: Batch = self.network.mask(torch.from_numpy(images).to(self.torch_device)).cpu().numpy()
        return masks

    def pixels_that_fit(self, precision: Computed = "fp32") -> int | None:
        """Return the pixels of a batch for which there is free memory; None if unknown."""
        return pixels_that_fit(self._generator, self.torch_device, precision)

    def expected_bytes(self, pixels: int, precision: Computed = "fp32") -> int:
        """Return the approximate memory of a batch with this many pixels."""
        return expected_bytes(self._generator, pixels, precision)

    def hash_into(self, update: Callable[[bytes], object]) -> None:
        """Call `update` with the names, types, shapes and bytes of the weights."""
        for name, tensor in self.network.state_dict().items():
            update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.cpu().reshape(-1)  # the counters of batch norms have no axis
            update(flat.view(torch.uint8).numpy())

    def _fast_network(self, dtype: torch.dtype) -> nn.Module:
        if dtype not in self._fast:
            self._fast[dtype] = fast_form(self.network, self.torch_device, dtype)
        return self._fast[dtype]

    def _forward(self, images: Tensor, network: nn.Module) -> Tensor:
        """Run a generator; in training mode on one image at a time, with the same noise for each."""
        if not network.training:
            made: Tensor = network(images)
            return made
        alone = []
        for index in range(len(images)):
            with torch_seeded(0, "translate"), ranks.single_process():
                alone.append(network(images[index : index + 1]))
        return torch.cat(alone)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raise MemoryError for torch's errors of running out of memory, which differ only in their text."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "memory" not in str(error):
            raise
        raise MemoryError from None
