"""From folders to batches: which images a step holds, how they are cut, and that only (seed, sample) decides."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from unpaired.data.check import check_images
from unpaired.data.datasets import Batch, DataConfig, UnpairedDataset, prepare, shuffled
from unpaired.data.domains import domain_names
from unpaired.data.loading import batches
from unpaired.data.sources import FolderSource, fingerprint, preview_folders, train_folders
from unpaired.errors import DataError, ImageError
from unpaired.images import Image, read_image, resize

SIDE = 40
CROP = DataConfig(preprocess="crop", crop_size=32, load_size=36)
WHOLE = replace(CROP, crop_size=SIDE, flip=False)


class Marked:
    """Images that encode the place of a crop: red is the index, green the row, blue the column."""

    def __init__(self, count: int, side: int = SIDE) -> None:
        self.count, self.side = count, side
        self.reads: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        self.reads[index] += 1
        rows, columns = np.mgrid[: self.side, : self.side]
        return Image(np.stack([np.full_like(rows, index), rows, columns], axis=2).astype(np.uint8))

    def name(self, index: int) -> str:
        return f"{index}.png"


def pixels(images: torch.Tensor) -> np.ndarray:
    """Return a tensor n c h w in [-1, 1] as the whole numbers n h w c that it came from."""
    return ((images + 1) * 127.5).round().permute(0, 2, 3, 1).int().numpy()


def read_mark(image: np.ndarray) -> tuple[int, int, int, bool]:
    """Return index, top, left and whether a marked crop was flipped; every pixel must agree."""
    index, top = int(image[0, 0, 0]), int(image[0, 0, 1])
    flipped = bool(image[0, 0, 2] > image[0, -1, 2])
    upright = image[:, ::-1] if flipped else image
    left = int(upright[0, 0, 2])
    rows, columns = np.mgrid[top : top + image.shape[0], left : left + image.shape[1]]
    np.testing.assert_array_equal(upright, np.stack([np.full_like(rows, index), rows, columns], axis=2))
    return index, top, left, flipped


def dataset(a: int = 7, b: int = 4, config: DataConfig = CROP, seed: int = 0) -> UnpairedDataset:
    return UnpairedDataset(Marked(a), Marked(b), config, seed)


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for x, y in zip(one, other, strict=True):
        assert torch.equal(x.a, y.a)
        assert torch.equal(x.b, y.b)


# --- which images ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(7, 4), (4, 7), (5, 5), (1, 9), (1, 1)])
def test_an_epoch_is_as_long_as_the_larger_domain_and_visits_all_of_a(a: int, b: int) -> None:
    data = dataset(a, b)
    assert data.length == max(a, b)
    for epoch in range(3):
        counts = Counter(data.images_of(epoch * data.length + i)[0] for i in range(data.length))
        assert set(counts) == set(range(a))
        assert max(counts.values()) - min(counts.values()) <= 1  # A is taken modulo its own length


def test_the_larger_domain_a_shows_every_image_once_an_epoch_in_a_new_order() -> None:
    data = dataset(50, 4)
    orders = [[data.images_of(epoch * 50 + i)[0] for i in range(50)] for epoch in range(4)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] != list(range(50))


def test_b_is_drawn_uniformly_with_replacement_and_independently_of_a() -> None:
    data, draws = dataset(10, 10), 5000
    pairs = [data.images_of(sample) for sample in range(draws)]
    counts = np.bincount([b for _, b in pairs], minlength=10)
    assert ((counts - draws / 10) ** 2 / (draws / 10)).sum() < 33.7  # chi-square, 9 degrees of freedom, p = 1e-4
    first_epochs = [{b for _, b in pairs[start : start + 10]} for start in range(0, 100, 10)]
    assert any(len(seen) < 10 for seen in first_epochs)
    together = np.zeros((10, 10))
    np.add.at(together, tuple(np.array(pairs).T), 1)
    assert ((together - draws / 100) ** 2 / (draws / 100)).sum() < 156  # 99 degrees of freedom, p = 2e-4


def test_another_seed_pairs_and_orders_otherwise() -> None:
    def pairs(seed: int) -> list[tuple[int, int]]:
        return [dataset(9, 9, seed=seed).images_of(sample) for sample in range(9)]

    assert pairs(0) == pairs(0)
    assert [a for a, _ in pairs(0)] != [a for a, _ in pairs(1)]
    assert [b for _, b in pairs(0)] != [b for _, b in pairs(1)]
    assert sorted(shuffled(3, 0, 9)) == list(range(9))


def test_a_batch_holds_the_samples_of_its_step_and_says_their_names() -> None:
    single, double = dataset(), dataset(config=replace(CROP, batch_size=2))
    for step in (1, 2, 5):
        batch, parts = double[step], [single[2 * step - 1], single[2 * step]]
        assert_equal([batch], [Batch(a=torch.cat([p.a for p in parts]), b=torch.cat([p.b for p in parts]))])
        names = [
            f"{read_mark(a)[0]}.png and {read_mark(b)[0]}.png"
            for a, b in zip(pixels(batch.a), pixels(batch.b), strict=True)
        ]
        assert double.names_of(step) == names
        assert [pair for i in (1, 2) for pair in single.names_of(2 * step - 2 + i)] == names


# --- crops and flips -------------------------------------------------------------------------------


def marks(config: DataConfig, steps: int = 400) -> tuple[list[Any], list[Any]]:
    data = dataset(1, 1, config)
    a, b = zip(
        *[
            (read_mark(pixels(batch.a)[0]), read_mark(pixels(batch.b)[0]))
            for batch in map(data.__getitem__, range(1, steps + 1))
        ],
        strict=True,
    )
    return list(a), list(b)


def test_crops_lie_anywhere_within_the_image_and_flips_come_half_of_the_time() -> None:
    a, b = marks(CROP)
    for seen in (a, b):
        _, tops, lefts, flips = map(np.array, zip(*seen, strict=True))
        assert set(tops) == set(lefts) == set(range(SIDE - 32 + 1))
        assert abs(flips.mean() - 0.5) < 4 * 0.5 / len(seen) ** 0.5
        for places in (tops, lefts):
            counts = np.bincount(places, minlength=9)
            assert ((counts - len(seen) / 9) ** 2 / (len(seen) / 9)).sum() < 31.8  # 8 degrees of freedom, p = 1e-4


def test_a_and_b_are_cut_and_flipped_independently() -> None:
    a, b = (np.array(marked)[:, 1:].astype(float) for marked in marks(CROP))
    for kind in range(3):
        assert abs(np.corrcoef(a[:, kind], b[:, kind])[0, 1]) < 4 / len(a) ** 0.5
        assert (a[:, kind] != b[:, kind]).any()
    assert abs(np.corrcoef(a[:, 0], a[:, 1])[0, 1]) < 4 / len(a) ** 0.5


def test_without_flip_nothing_is_flipped() -> None:
    a, b = marks(replace(CROP, flip=False), 40)
    assert not any(flipped for *_, flipped in a + b)


def test_an_image_is_cut_anew_in_every_epoch_though_it_is_kept_in_memory() -> None:
    data = dataset(1, 1)
    cuts = {read_mark(pixels(data[epoch].a)[0])[1:] for epoch in range(1, 31)}
    assert len(cuts) > 20


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width_and_crop", "crop", "scale_width", "none"])
def test_every_preprocessing_gives_the_same_batches_with_and_without_a_cache(preprocess: str) -> None:
    config = replace(CROP, preprocess=preprocess, cache_mb=4)  # type: ignore[arg-type]
    cached, uncached = dataset(config=config), dataset(config=replace(config, cache_mb=0))
    steps = [*range(1, 16)]
    assert_equal([cached[step] for step in steps], [uncached[step] for step in steps])
    side = {"scale_width": 36, "none": SIDE}.get(preprocess, 32)
    assert cached[1].a.shape == (1, 3, side, side)
    assert cached[1].a.dtype == torch.float32


def test_the_cache_reads_an_image_once_and_stops_at_its_budget() -> None:
    sources = [(Marked(6), Marked(6)), (Marked(6, 512), Marked(6, 512)), (Marked(6), Marked(6))]
    budgets = [64, 2, 0]
    read = []
    for (a, b), megabytes in zip(sources, budgets, strict=True):
        data = UnpairedDataset(a, b, replace(CROP, cache_mb=megabytes), 0)
        for step in range(1, 25):
            data[step]
        read.append(sum(a.reads.values()))
    assert read[0] == 6
    assert read[1] == 1 + 5 * 4  # one image of 768 kB fits a budget of 1 MB
    assert read[2] == 24


def test_resizing_ignores_the_aspect_ratio_and_is_the_bicubic_of_images() -> None:
    image = Image(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    made = prepare(image, DataConfig(load_size=36, crop_size=32))
    np.testing.assert_array_equal(made.pixels, resize(image, (36, 36)).pixels)
    wide = prepare(image, DataConfig(load_size=100, crop_size=32, preprocess="scale_width"))
    assert (wide.height, wide.width) == (60, 100)
    high = prepare(image, DataConfig(load_size=50, crop_size=40, preprocess="scale_width_and_crop"))
    assert (high.height, high.width) == (40, 50)
    whole = prepare(image, replace(CROP, preprocess="none"))  # to multiples of 4, which the networks can take
    np.testing.assert_array_equal(whole.pixels, resize(image, (32, 48)).pixels)
    fitting = Marked(1)[0]
    np.testing.assert_array_equal(prepare(fitting, replace(CROP, preprocess="none")).pixels, fitting.pixels)


def test_the_preview_is_the_middle_of_the_first_images_and_has_no_randomness() -> None:
    for seed in (0, 1):
        preview = dataset(7, 4, seed=seed).preview(3)
        assert [read_mark(image) for image in pixels(preview.a)] == [(i, 4, 4, False) for i in range(3)]
        assert [read_mark(image) for image in pixels(preview.b)] == [(i, 4, 4, False) for i in range(3)]
    assert len(dataset(7, 2).preview(5).a) == 2


# --- loader processes ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12 on forks; torch's affair
def test_batches_are_the_same_for_any_number_of_loader_processes(two_folders: Path) -> None:
    sources = [FolderSource(two_folders / name) for name in ("trainA", "trainB")]
    config = DataConfig(load_size=36, crop_size=32, batch_size=2)

    def made(num_workers: int) -> list[Batch]:
        return list(batches(UnpairedDataset(*sources, config, 5), 4, 12, num_workers))

    alone = made(0)
    assert len(alone) == 9
    assert_equal(alone, [UnpairedDataset(*sources, config, 5)[step] for step in range(4, 13)])
    torch.manual_seed(1)
    torch.rand(5)
    assert_equal(alone, made(1))
    assert_equal(alone, made(2))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_breaks_during_training_is_named_by_whichever_process_read_it(
    two_folders: Path, num_workers: int
) -> None:
    sources = [FolderSource(two_folders / name) for name in ("trainA", "trainB")]
    data = UnpairedDataset(*sources, DataConfig(load_size=36, crop_size=32), 0)
    broken = two_folders / "trainA" / "003.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ImageError, match=r"003\.png"):
        list(batches(data, 1, 6, num_workers))


# --- files -----------------------------------------------------------------------------------------


def save(path: Path, mode: str, color: Any, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, size, color).save(path)


def test_transparent_and_palette_images_are_laid_over_the_background(tmp_path: Path) -> None:
    clear = PIL.Image.new("P", (SIDE, SIDE), 0)
    clear.putpalette([10, 200, 30, 255, 0, 0])  # colour 0 is green underneath its transparency
    clear.save(tmp_path / "a.png", transparency=0)
    save(tmp_path / "b.png", "RGBA", (255, 0, 0, 0))
    save(tmp_path / "c.png", "RGBA", (100, 0, 0, 51))
    source = FolderSource(tmp_path)
    for background, expected in (((255, 255, 255), [255, 255, 255]), ((0, 10, 20), [0, 10, 20])):
        data = UnpairedDataset(source, source, replace(WHOLE, background=background), 0)
        images = pixels(data.preview(3).a)
        assert images[0].reshape(-1, 3).tolist() == images[1].reshape(-1, 3).tolist() == [expected] * SIDE**2
        mixed = [round(0.2 * c + 0.8 * b) for c, b in zip((100, 0, 0), background, strict=True)]
        assert images[2][0, 0].tolist() == mixed


def test_grey_files_become_three_equal_channels_and_colour_one_where_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", "L", 80)
    save(tmp_path / "rgb.png", "RGB", (200, 100, 0))
    source = FolderSource(tmp_path)
    config = replace(WHOLE, channels_b=1)
    preview = UnpairedDataset(source, source, config, 0).preview(2)
    assert pixels(preview.a)[:, 0, 0].tolist() == [[80, 80, 80], [200, 100, 0]]
    assert preview.b.shape == (2, 1, SIDE, SIDE)
    assert pixels(preview.b)[:, 0, 0].tolist() == [[80], [round(0.299 * 200 + 0.587 * 100)]]


def test_a_folder_is_searched_with_its_subfolders_in_the_order_of_paths(tmp_path: Path) -> None:
    names = ["b.png", "a.JPG", "sub/deep/c.webp", "sub/a.png", "Z.png", "10.png", "9.png"]
    for name in names:
        save(tmp_path / name, "RGB", (1, 2, 3))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "folder.png").mkdir()
    source = FolderSource(tmp_path)
    assert [source.name(i) for i in range(len(source))] == sorted(names)
    assert source[0].pixels.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(source[3].pixels, read_image(source.paths[3]).pixels)


def test_a_missing_or_empty_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing is not a folder"):
        FolderSource(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="holds no images"):
        FolderSource(tmp_path)


def test_the_folders_of_both_domains_are_found_or_the_missing_one_is_named(two_folders: Path) -> None:
    root = str(two_folders)
    assert train_folders(root, "", "") == (two_folders / "trainA", two_folders / "trainB")
    assert train_folders("", "left", "right") == (Path("left"), Path("right"))
    assert preview_folders(root) == (two_folders / "testA", two_folders / "testB")
    with pytest.raises(DataError, match="--a is given alone"):
        train_folders(root, "left", "")
    with pytest.raises(DataError, match="--b is given alone"):
        train_folders("", "", "right")
    with pytest.raises(DataError, match="No data"):
        train_folders("", "", "")
    with pytest.raises(DataError, match="is not a folder"):
        train_folders(f"{root}/nowhere", "", "")
    shutil.rmtree(two_folders / "trainB")
    with pytest.raises(DataError, match=r"has no trainB.*it holds testA, testB, trainA"):
        train_folders(root, "", "")
    shutil.rmtree(two_folders / "testA")
    assert preview_folders(root) is None
    assert preview_folders("") is None


def test_test_folders_without_images_count_as_none(two_folders: Path) -> None:
    for path in (two_folders / "testA").iterdir():
        path.unlink()
    (two_folders / "testA" / ".gitkeep").touch()
    assert preview_folders(str(two_folders)) is None


def test_the_fingerprint_changes_with_any_file_added_removed_renamed_or_resized(two_folders: Path) -> None:
    folder = two_folders / "trainA"
    prints = [fingerprint(FolderSource(folder))]
    assert fingerprint(FolderSource(folder)) == prints[0]
    save(folder / "new.png", "RGB", (0, 0, 0))
    prints.append(fingerprint(FolderSource(folder)))
    (folder / "new.png").rename(folder / "newer.png")
    prints.append(fingerprint(FolderSource(folder)))
    save(folder / "newer.png", "RGB", (0, 0, 0), (99, 99))
    prints.append(fingerprint(FolderSource(folder)))
    assert len(set(prints)) == 4
    (folder / "newer.png").unlink()
    assert fingerprint(FolderSource(folder)) == prints[0]


# --- the look at every image before the first step --------------------------------------------------


def test_every_image_that_cannot_be_used_is_named_before_training(two_folders: Path) -> None:
    folder, config = two_folders / "trainA", DataConfig(preprocess="crop", crop_size=32)
    check_images(FolderSource(folder), config)
    (folder / "000.png").write_bytes(b"")
    (folder / "002.png").write_text("<html>not found</html>")
    (folder / "004.png").write_bytes((folder / "004.png").read_bytes()[:-600])
    save(folder / "small.png", "RGB", (0, 0, 0), (31, 50))
    with pytest.raises(DataError) as error:
        check_images(FolderSource(folder), config)
    message = str(error.value)
    assert "4 of 7 images" in message
    named = [name for name in ("000", "001", "002", "003", "004", "005", "small") if f"{name}.png" in message]
    assert named == ["000", "002", "004", "small"]
    check_images(FolderSource(two_folders / "trainB"), config)


def test_of_many_bad_images_all_are_named(tmp_path: Path) -> None:
    for number in range(13):
        (tmp_path / f"{number:02d}.png").write_text("text")
    with pytest.raises(DataError, match="13 of 13 images") as error:
        check_images(FolderSource(tmp_path), CROP)
    assert str(error.value).count(".png") == 13


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("horse2zebra", ("horse", "zebra")),
        ("summer2winter_yosemite", ("summer", "winter_yosemite")),
        ("dataset2024", ("A", "B")),
        ("mp4-2-gif", ("A", "B")),
        ("v2", ("A", "B")),
        ("2photo", ("A", "B")),
    ],
)
def test_domains_are_named_after_a_folder_of_both_but_not_after_a_number(folder: str, names: tuple[str, str]) -> None:
    assert tuple(domain_names(DataConfig(root=f"data/{folder}")).values()) == names
