"""The papers' tables: labelled data, methods trained alike, the readers, and the statements on agreement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from unpaired.cli import main
from unpaired.errors import ConfigError, DataError, ModelError
from unpaired.evaluation.segmentation import nearest_colours
from unpaired.reproduce import labelled
from unpaired.reproduce.methods import ABLATION, COMPARISON, Trial, config_of, rows_of, trials
from unpaired.reproduce.pictures import draw_methods
from unpaired.reproduce.published import LABELS_TO_PHOTO, PHOTO_TO_LABELS
from unpaired.reproduce.reader import Reader, trained_reader, training_images
from unpaired.reproduce.tables import REAL, UNTRANSLATED, Judge, Table, agreement, make_table, to_markdown
from unpaired.scenes.draw import draw_pairs
from unpaired.scenes.scene import LABEL_COLOURS
from unpaired.study.table_one import MAP_TO_PHOTO, PHOTO_TO_MAP, PUBLISHED


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> labelled.Labelled:
    return labelled.drawn(tmp_path_factory.mktemp("drawn"), count=6, num_test=3, size=32)


def test_the_paper_is_quoted_as_it_is() -> None:
    assert LABELS_TO_PHOTO["cyclegan"] == (0.52, 0.17, 0.11)
    assert PHOTO_TO_LABELS["cyclegan"] == (0.58, 0.22, 0.16)
    assert (LABELS_TO_PHOTO["pix2pix"], PHOTO_TO_LABELS["pix2pix"]) == ((0.71, 0.25, 0.18), (0.85, 0.40, 0.32))
    baselines = ["cogan", "bigan", "simgan", "feature-gan"]
    assert list(LABELS_TO_PHOTO) == list(PHOTO_TO_LABELS) == [*baselines, *ABLATION, "pix2pix"]
    assert len(PUBLISHED) == len(baselines) + 1
    assert PUBLISHED["CycleGAN"] == {MAP_TO_PHOTO: (26.8, 2.8), PHOTO_TO_MAP: (23.2, 3.4)}


def test_the_reader_learns_from_pairs_whose_classes_are_exact(scenes: labelled.Labelled) -> None:
    images, classes = training_images(scenes)
    assert (images.shape, classes.shape) == ((6, 3, 32, 32), (6, 32, 32))
    colours = torch.tensor(list(LABEL_COLOURS.values()))
    left = np.asarray(PIL.Image.open(sorted((scenes.pairs / "train").iterdir())[0]))[:, :32]
    assert np.array_equal(colours[classes[0]].numpy(), left)


def test_the_reader_reads_better_after_training_and_is_kept(
    scenes: labelled.Labelled, tmp_path: Path, said: list[str]
) -> None:
    reader = trained_reader(scenes, tmp_path, num_steps=60)
    images, classes = training_images(scenes)
    torch.manual_seed(0)
    before = (Reader(len(LABEL_COLOURS)).eval().read(images) == classes).float().mean()
    right = (reader.read(images) == classes).float().mean()
    assert right > before + 0.3
    assert said
    said.clear()
    again = trained_reader(scenes, tmp_path, num_steps=60)
    assert said == []
    assert torch.equal(again.read(images), reader.read(images))


def test_true_images_have_the_highest_scores(scenes: labelled.Labelled, tmp_path: Path) -> None:
    reader = trained_reader(scenes, tmp_path, num_steps=5)
    tensors = []
    for domain in "AB":
        files = sorted((scenes.unpaired / f"test{domain}").iterdir())
        arrays = np.stack([np.asarray(PIL.Image.open(file)) for file in files])
        tensors.append(torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1)
    labels, photos = tensors
    judge = Judge(scenes, reader, labels, photos)
    exact = judge.scores("BtoA", labels)
    assert (exact["pixel_accuracy"], exact["class_accuracy"], exact["class_iou"]) == (1, 1, 1)
    assert judge.scores("BtoA", labels.flip(-1))["pixel_accuracy"] < 1


def test_every_method_of_the_tables_is_trained_with_the_same_networks(scenes: labelled.Labelled) -> None:
    configs = {trial: config_of(trial, scenes, 7) for trial in trials((*ABLATION, *COMPARISON), (0, 1))}
    assert len({trial.folder(Path()) for trial in configs}) == len(configs)
    first = next(iter(configs.values()))
    for trial, config in configs.items():
        own = trial.method == "cogan"  # its two generators share layers
        assert own or (config.generator, config.discriminator) == (first.generator, first.discriminator)
        assert (config.schedule.num_steps, config.run.seed) == (7, trial.seed)
        assert getattr(config.objective, "identity_weight", 0) == 0
    assert {trial.direction for trial in configs if trial.method == "cogan"} == {"AtoB"}
    for name in ("simgan", "feature-gan"):
        backwards = config_of(Trial(name, "BtoA", 0), scenes, 7, "vgg16:vgg.pth")
        assert backwards.objective.direction == "BtoA"
        assert getattr(backwards.objective, "features", "vgg16:vgg.pth") == "vgg16:vgg.pth"
    ways = {trial.direction for trial in configs if trial.method == "pix2pix"}
    assert ways == {"AtoB", "BtoA"}
    assert {trial.direction for trial in configs if trial.method == "cyclegan"} == {"AtoB"}  # it learns both
    cut = config_of(Trial("cut", "BtoA", 0), scenes, 7)
    assert (Path(cut.data.a).name, Path(cut.data.b).name) == ("trainB", "trainA")


def test_rows_are_chosen_by_name_and_come_in_the_order_of_the_table() -> None:
    assert rows_of("fcn", None) == COMPARISON
    assert rows_of("fcn", "pix2pix, simgan") == ("simgan", "pix2pix")
    assert rows_of("ablation", "cyclegan") == ("cyclegan",)
    for chosen, word in (("simgam", "did you mean simgan"), ("gan-alone", "row of the table fcn"), (",", "no row")):
        with pytest.raises(ConfigError, match=word):
            rows_of("fcn", chosen)


def test_a_table_is_made_continued_and_written(scenes: labelled.Labelled, tmp_path: Path) -> None:
    table = make_table(scenes, tmp_path, methods=("cyclegan", "pix2pix"), seeds=(0,), steps=1, reader_steps=2)
    assert list(table.rows["AtoB"]) == [REAL, UNTRANSLATED, "cyclegan", "pix2pix"]
    assert list(table.rows["BtoA"]) == [UNTRANSLATED, "cyclegan", "pix2pix"]
    untranslated = [table.rows[direction][UNTRANSLATED][0]["psnr"] for direction in ("AtoB", "BtoA")]
    assert untranslated[0] == pytest.approx(untranslated[1], abs=1e-4)  # both compare inputs with truths
    saved = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (
        saved["AtoB"][REAL]["0"]["psnr"] is None
    )  # of images with themselves it is infinite, which JSON has no word for
    assert saved["BtoA"]["pix2pix"]["0"]["class_iou"] == table.rows["BtoA"]["pix2pix"][0]["class_iou"]
    files = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/scores.json"))]
    assert len(files) == 3
    again = make_table(scenes, tmp_path, methods=("cyclegan", "pix2pix"), seeds=(0,), steps=1, reader_steps=2)
    assert again == table
    assert files == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/scores.json"))]  # no new translation
    (tmp_path / "cyclegan-0" / "scores.json").write_text('{"key": "of another model", "scores": {}}', encoding="utf-8")
    assert make_table(scenes, tmp_path, methods=("cyclegan",), seeds=(0,), steps=1, reader_steps=2).rows["AtoB"] == {
        name: rows for name, rows in table.rows["AtoB"].items() if name != "pix2pix"
    }
    draw_methods(tmp_path / "fcn.png", scenes, tmp_path, methods=("cyclegan", "pix2pix"), seed=0)
    with PIL.Image.open(tmp_path / "fcn.png") as picture:
        assert picture.width > 4 * 128
        assert picture.height > 3 * 128  # three test images
    page = to_markdown(table)
    assert "| 0.52 / 0.17 / 0.11 |" in page
    assert "| – | – | 1.000 |" in page
    assert "Photo to labels" in page


def test_features_that_are_missing_are_refused_before_training(scenes: labelled.Labelled, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.pth"):
        make_table(scenes, tmp_path, methods=("pix2pix", "feature-gan"), seeds=(0,), steps=1, features="vgg16:none.pth")
    assert not list(tmp_path.iterdir())


def test_agreement_counts_pairs_of_methods() -> None:
    rows = {name: {0: {"class_iou": iou}} for name, iou in {"cyclegan": 0.2, "pix2pix": 0.3, "gan-alone": 0.25}.items()}
    table = Table({"BtoA": rows}, 1, (0,), 1)
    sentence = agreement(table, "BtoA", PHOTO_TO_LABELS)
    assert "in 2 of 3 pairs" in sentence
    assert "not for cyclegan over gan-alone." in sentence
    rows["gan-alone"] = {0: {"class_iou": 0.15}, 1: {"class_iou": 0.35}}
    assert "cyclegan over gan-alone (the ranges of the seeds overlap)" in agreement(table, "BtoA", PHOTO_TO_LABELS)
    del rows["gan-alone"]
    assert agreement(table, "BtoA", PHOTO_TO_LABELS).endswith("holds for every pair of methods (1).")


def test_maps_become_labels_in_pure_colours(tmp_path: Path) -> None:
    draw_pairs(tmp_path / "maps", a="summer", b="labels", count=4, size=32, num_test=1)
    (tmp_path / "maps" / "test").rename(tmp_path / "maps" / "val")
    made = labelled.maps(tmp_path / "maps", tmp_path / "out", size=16)
    files = sorted((made.unpaired / "trainA").iterdir())
    assert (len(files), len(list((made.unpaired / "trainB").iterdir()))) == (2, 2)
    colours = {tuple(int(level) for level in colour) for colour in np.asarray(PIL.Image.open(files[0])).reshape(-1, 3)}
    assert colours <= set(labelled.MAPS.values())
    with pytest.raises(DataError, match="no folder train"):
        labelled.maps(tmp_path, tmp_path / "out")


def test_cityscapes_is_found_in_its_own_layout_and_void_is_not_counted(tmp_path: Path) -> None:
    for split, name in (("train", "aachen_0"), ("train", "aachen_1"), ("val", "ulm_0")):
        for kind in ("leftImg8bit", "gtFine"):
            (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (64, 32), (9, 90, 200)).save(tmp_path / "leftImg8bit" / split / f"{name}_leftImg8bit.png")
        ids = np.zeros((32, 64), np.uint8)
        ids[16:] = 7  # road below ignored pixels
        PIL.Image.fromarray(ids).save(tmp_path / "gtFine" / split / f"{name}_gtFine_labelIds.png")
    made = labelled.cityscapes(tmp_path, tmp_path / "out", size=16)
    label = np.asarray(PIL.Image.open(made.unpaired / "testA" / "ulm_0.png"))
    assert tuple(label[0, 0]) == (0, 0, 0)
    assert tuple(label[-1, 0]) == (128, 64, 128)
    tensor = torch.from_numpy(label.copy()).permute(2, 0, 1)[None]
    judge = Judge(made, Reader(20).eval(), tensor, tensor)
    wrong_void = tensor.clone()
    wrong_void[:, :, :8] = 255
    assert judge.scores("BtoA", wrong_void)["pixel_accuracy"] == 1
    assert int(nearest_colours(tensor, list(made.palette.values()))[0, 0, 0]) == made.void
    with pytest.raises(DataError, match="Cityscapes"):
        labelled.cityscapes(tmp_path / "val", tmp_path / "out")


def test_data_that_are_not_drawn_need_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["reproduce", "fcn", "--data", "maps", "--out", str(tmp_path)])
    assert end.value.code == ConfigError.exit_code
    assert "--root" in capsys.readouterr().err


def test_features_without_their_row_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ablation"], ["fcn", "--methods", "simgan"]):
        with pytest.raises(SystemExit) as left:
            main(["reproduce", *words, "--features", "random", "--out", str(tmp_path / "out")])
        assert left.value.code == 78
        assert "--features belongs to the row feature-gan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_seed_that_is_given_twice_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, ...]] = []

    def make(*given: object, seeds: tuple[int, ...], **settings: object) -> None:
        seen.append(seeds)
        raise ConfigError("enough")

    monkeypatch.setattr("unpaired.reproduce.tables.make_table", make)
    monkeypatch.setattr("unpaired.reproduce.labelled.drawn", lambda *given, **settings: None)
    with pytest.raises(SystemExit):
        main(["reproduce", "fcn", "--seeds", "1", "0", "1", "--out", str(tmp_path)])
    assert seen == [(1, 0)]
