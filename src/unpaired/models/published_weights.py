"""The weights that the authors of CycleGAN and pix2pix publish, by name; `unpaired models get NAME` fetches one.

The names and addresses are those of the official download scripts (scripts/download_cyclegan_model.sh and
scripts/download_pix2pix_model.sh of junyanz/pytorch-CycleGAN-and-pix2pix).
"""

from __future__ import annotations

from dataclasses import dataclass

LICENCE = "not stated"
"""The licence of the weights: the download scripts state none."""


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One published file, the generator of a single direction.

    path: below the authors' server. domains: names of the input's and the output's domain.
    size: side of the training crops in pixels. num_bytes: approximate size, from the number of weights.
    sha256: as published, "" if the authors publish none.
    """

    name: str
    path: str
    domains: tuple[str, str]
    about: str
    credit: str
    size: int = 256
    num_bytes: int
    sha256: str = ""


def _cyclegan(name: str, a: str, b: str, about: str) -> PublishedWeights:
    path = f"/cyclegan/pretrained_models/{name}.pth"
    return PublishedWeights(
        name=name, path=path, domains=(a, b), about=about, credit="Zhu et al., ICCV 2017", num_bytes=45_500_000
    )


def _pix2pix(name: str, a: str, b: str, about: str) -> PublishedWeights:
    path = f"/pix2pix/models-pytorch/{name}.pth"
    return PublishedWeights(
        name=f"pix2pix_{name}",  # both papers have a sat2map
        path=path,
        domains=(a, b),
        about=about,
        credit="Isola et al., CVPR 2017",
        num_bytes=218_000_000,
    )


_ALL = (
    _cyclegan("apple2orange", "apple", "orange", "Apples become oranges."),
    _cyclegan("orange2apple", "orange", "apple", "Oranges become apples."),
    _cyclegan("summer2winter_yosemite", "summer", "winter", "Landscapes in summer become landscapes in winter."),
    _cyclegan("winter2summer_yosemite", "winter", "summer", "Landscapes in winter become landscapes in summer."),
    _cyclegan("horse2zebra", "horse", "zebra", "Horses become zebras."),
    _cyclegan("zebra2horse", "zebra", "horse", "Zebras become horses."),
    _cyclegan("monet2photo", "monet", "photo", "Paintings by Monet become photographs."),
    _cyclegan("style_monet", "photo", "monet", "Photographs become paintings like Monet's."),
    _cyclegan("style_cezanne", "photo", "cezanne", "Photographs become paintings like Cezanne's."),
    _cyclegan("style_ukiyoe", "photo", "ukiyoe", "Photographs become prints in the style of ukiyo-e."),
    _cyclegan("style_vangogh", "photo", "vangogh", "Photographs become paintings like Van Gogh's."),
    _cyclegan("sat2map", "sat", "map", "Aerial photographs become maps."),
    _cyclegan("map2sat", "map", "sat", "Maps become aerial photographs."),
    _cyclegan("cityscapes_photo2label", "photo", "label", "Street scenes become label maps."),
    _cyclegan("cityscapes_label2photo", "label", "photo", "Label maps become street scenes."),
    _cyclegan("facades_photo2label", "photo", "label", "Photographs of facades become label maps."),
    _cyclegan("facades_label2photo", "label", "photo", "Label maps become photographs of facades."),
    _cyclegan("iphone2dslr_flower", "iphone", "dslr", "Flowers get a background out of focus."),
    _pix2pix("edges2shoes", "edges", "shoes", "Edges become shoes."),
    _pix2pix("sat2map", "sat", "map", "Aerial photographs become maps, learnt from pairs."),
    _pix2pix("map2sat", "map", "sat", "Maps become aerial photographs, learnt from pairs."),
    _pix2pix("facades_label2photo", "label", "photo", "Label maps become facades, learnt from pairs."),
    _pix2pix("day2night", "day", "night", "Scenes by day become scenes by night, learnt from pairs."),
)

PUBLISHED_WEIGHTS = {each.name: each for each in _ALL}
"""Every published file by name."""
