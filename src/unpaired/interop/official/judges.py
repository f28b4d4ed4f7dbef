"""Reads the discriminators beside generators of the official code, for a run that starts from them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from torch import Tensor

from unpaired.errors import ModelError
from unpaired.interop.official.importing import direction_of, find_files
from unpaired.interop.official.options import read_options
from unpaired.interop.official.recognising import recognise
from unpaired.interop.official.weight_names import from_official
from unpaired.networks import PatchGAN, PixelGAN
from unpaired.untrusted.torch_files import load, modernised

Judge = tuple[PatchGAN | PixelGAN, dict[str, Tensor]]


def read_judges(path: Path) -> dict[str, Judge]:
    """Return settings and weights of the discriminators beside the generator files at `path`, by the domain they judge.

    The official D_A judges the results of G_A, images of B. Missing files and other networks are left out.
    """
    found: dict[str, Judge] = {}
    for name, file in find_files(path).items():
        beside = file.with_name(file.name.replace("_net_G", "_net_D"))
        if beside == file or not beside.is_file():
            continue
        with suppress(ModelError):
            loaded = load(beside)
            state, _ = modernised(loaded.plain(loaded.content))
            network = recognise(state, loaded.name)
            if isinstance(network.config, (PatchGAN, PixelGAN)):
                domain = direction_of(name, read_options(file.parent))[-1]
                found[domain] = (network.config, from_official(network.config, state, network.layout))
    return found
