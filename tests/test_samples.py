from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from unpaired.artifacts.samples import data_uri, draw_samples, label, write_samples
from unpaired.errors import ConfigError, OutputError

RED, BLUE = (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)


def flat(colour: tuple[float, ...], count: int = 2, size: int = 64) -> Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(count, -1, size, size)


def block(count: int = 2, size: int = 64) -> dict[str, Tensor]:
    return {"real_a": flat(RED, count, size), "fake_b": flat(BLUE, count, size)}


def extent(figure: PIL.Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return width and height of the area of a colour, and its number of pixels."""
    mask = (np.asarray(figure) == colour).all(axis=2)
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    return columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1, int(mask.sum())


def test_columns_are_called_after_what_they_show() -> None:
    names = {"A": "summer", "B": "winter"}
    assert label("real_a") == "real A"
    assert label("fake_b", names) == "fake winter"
    assert label("rec_a", names) == "reconstructed summer"
    assert label("identity_b", names) == "identity winter"
    assert label("attention_mask") == "attention mask"


def test_names_the_font_cannot_draw_lose_their_accents_or_become_the_letter() -> None:
    assert label("real_a", {"A": "été", "B": "B"}) == "real ete"
    assert label("fake_b", {"A": "A", "B": "冬"}) == "fake B"


def test_small_images_are_enlarged_by_a_whole_factor_and_keep_their_colours() -> None:
    assert extent(draw_samples({"AtoB": block(1, 64)}), (255, 0, 0)) == (128, 128, 128 * 128)
    assert extent(draw_samples({"AtoB": block(1, 50)}), (255, 0, 0)) == (150, 150, 150 * 150)
    assert extent(draw_samples({"AtoB": block(1, 128)}), (255, 0, 0)) == (128, 128, 128 * 128)


def test_each_image_has_a_row_and_each_direction_a_block() -> None:
    one = draw_samples({"AtoB": block(1)})
    four = draw_samples({"AtoB": block(4)})
    assert extent(four, (255, 0, 0))[2] == 4 * extent(one, (255, 0, 0))[2]
    both = draw_samples({"AtoB": block(4), "BtoA": block(4)})
    assert extent(both, (0, 0, 255))[2] == 2 * extent(four, (0, 0, 255))[2]
    assert both.getpixel((0, 0)) == (255, 255, 255)


def test_blocks_stand_where_the_figure_comes_closest_to_a_landscape_page() -> None:
    columns = {f"{kind}_a": flat(RED, 1) for kind in ("real", "fake", "rec", "identity")}
    flat_blocks = draw_samples({"AtoB": columns, "BtoA": columns})
    tall_blocks = draw_samples({"AtoB": block(4), "BtoA": block(4)})
    assert flat_blocks.width < 5 * 128 + 100  # above one another
    assert tall_blocks.width > 4 * 128  # beside one another


def test_values_are_clamped_and_rounded() -> None:
    grey = torch.full((1, 3, 128, 128), 2 * 100.4 / 255 - 1)
    assert extent(draw_samples({"AtoB": {"real_a": grey}}), (100, 100, 100))[2] >= 128 * 128
    wild = torch.full((1, 1, 128, 128), -7.0)
    assert extent(draw_samples({"AtoB": {"real_a": wild}}), (0, 0, 0)) == (128, 128, 128 * 128)


@pytest.mark.parametrize(
    ("channels", "shown"), [(1, (255, 255, 255)), (2, (255, 255, 255)), (3, (255, 0, 0)), (5, (255, 0, 0))]
)
def test_any_number_of_channels_can_be_drawn(channels: int, shown: tuple[int, int, int]) -> None:
    tensor = torch.full((1, channels, 128, 128), -1.0)
    tensor[:, 0] = 1.0
    figure = draw_samples({"AtoB": {"real_a": tensor}})
    assert extent(figure, shown)[2] >= 128 * 128


def test_images_may_differ_in_size_and_number() -> None:
    blocks = {"AtoB": {"real_a": flat(RED, 3, 64)[..., :32], "fake_b": flat(BLUE, 1, 64)}}
    assert extent(draw_samples(blocks), (255, 0, 0))[2] == 3 * 64 * 128


def test_an_image_that_holds_nan_is_crossed_out_not_shown() -> None:
    broken = flat(RED, 1).clone()
    broken[0, 1, 5, 5] = float("nan")
    figure = draw_samples({"AtoB": {"real_a": broken}})
    colours = {colour for _, colour in figure.getcolors(1_000_000) or []}
    assert (255, 0, 0) not in colours
    assert (190, 40, 40) in colours


def test_a_long_name_is_shortened_and_never_cut_by_the_edge() -> None:
    names = {"A": "a" * 60, "B": "B"}
    figure = draw_samples({"AtoB": {"real_a": flat(RED, 1)}}, names=names)
    margin = np.asarray(figure)[:, -10:]
    assert (margin == 255).all()


def test_a_caption_is_added_below() -> None:
    plain, captioned = draw_samples({"AtoB": block()}), draw_samples({"AtoB": block()}, caption="step 500")
    assert captioned.width == plain.width
    assert captioned.height > plain.height


def test_nothing_to_draw_and_tensors_that_are_no_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="no sample images"):
        draw_samples({})
    with pytest.raises(ConfigError, match="no sample images"):
        draw_samples({"AtoB": {"real_a": torch.zeros(0, 3, 8, 8)}})
    with pytest.raises(ConfigError, match="real_a"):
        draw_samples({"AtoB": {"real_a": torch.zeros(3, 8, 8)}})


def test_a_grid_is_written_whole_as_png_and_leaves_nothing_else(tmp_path) -> None:
    figure, path = draw_samples({"AtoB": block()}), tmp_path / "step-00000001.png"
    path.write_bytes(b"an older grid")
    write_samples(path, figure)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with PIL.Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), np.asarray(figure))
    with pytest.raises(OutputError):
        write_samples(tmp_path / "missing" / "grid.png", figure)


def test_a_grid_for_a_page_is_its_png_or_a_jpeg_that_fits(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 300, 3), dtype=np.uint8)
    path = tmp_path / "grid.png"
    write_samples(path, PIL.Image.fromarray(noise))
    uri, width, height = data_uri(path, 10_000_000)
    assert (width, height) == (300, 900)
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == path.read_bytes()
    uri, width, height = data_uri(path, 30_000)
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert (width, height) == (300, 900)
    assert len(content) <= 30_000
    reduced = PIL.Image.open(io.BytesIO(content))
    assert reduced.height == pytest.approx(3 * reduced.width, abs=2)
