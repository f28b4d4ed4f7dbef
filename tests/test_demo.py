"""The demo, and its protocol: no pair is ever shown, and the rivals are the ones that are stated."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

from unpaired import demo, recipes
from unpaired.cli.data import print_drawn
from unpaired.config import override
from unpaired.data.pairs import paired_sources
from unpaired.demo import run_demo
from unpaired.errors import DataError, OutputError
from unpaired.images import read_image
from unpaired.recipes import at_size
from unpaired.scenes.draw import draw_dataset, draw_pairs
from unpaired.scenes.scene import draw_scene, scene_seeds


def test_domains_are_drawn_from_disjoint_seeds_and_only_test_scenes_have_truth(tmp_path: Path) -> None:
    draw_dataset(tmp_path, count=5, size=32, seed=9, num_test=3)
    seeds = {split: set(scene_seeds(split, 5, 9)) for split in ("trainA", "trainB", "test")}
    assert not seeds["trainA"] & seeds["trainB"]
    assert not (seeds["trainA"] | seeds["trainB"]) & seeds["test"]
    for split, style in (("trainA", "summer"), ("trainB", "winter"), ("testA", "summer"), ("testB", "winter")):
        drawn = scene_seeds(split, 5 if split.startswith("train") else 3, 9)
        files = sorted((tmp_path / split).glob("*.png"))
        assert len(files) == len(drawn)
        for file, seed in zip(files, drawn, strict=True):
            assert (read_image(file).pixels == draw_scene(seed, style, 32)).all()


def test_scenes_that_are_no_pairs_share_no_name_and_those_of_a_test_do(tmp_path: Path) -> None:
    draw_dataset(tmp_path, count=4, size=32, num_test=2)
    names = {split: {path.name for path in (tmp_path / split).iterdir()} for split in ("trainA", "trainB")}
    assert names == {f"train{end}": {f"scene-{index:06d}-{end}.png" for index in range(4)} for end in "AB"}
    assert len({path.name for end in "AB" for path in (tmp_path / f"test{end}").iterdir()}) == 2
    with pytest.raises(DataError, match="8 images have no partner"):
        paired_sources(str(tmp_path), "", "")


def test_scenes_that_an_earlier_version_drew_are_kept_and_not_drawn_again(tmp_path: Path) -> None:
    draw_dataset(tmp_path, count=2, size=32)
    for end in "AB":
        (tmp_path / f"train{end}" / f"scene-000000-{end}.png").rename(tmp_path / f"train{end}" / "scene-000000.png")
    draw_dataset(tmp_path, count=3, size=32)
    found = [path.name for path in sorted((tmp_path / "trainA").iterdir())]
    assert found == ["scene-000000.png", "scene-000001-A.png", "scene-000002-A.png"]


def test_pairs_show_one_scene_in_both_styles_side_by_side(tmp_path: Path) -> None:
    draw_pairs(tmp_path, a="labels", b="summer", count=2, size=32, num_test=1)
    pixels = read_image(tmp_path / "train" / "scene-000001.png").pixels
    seed = scene_seeds("trainA", 2, 0)[1]
    assert (pixels[:, :32] == draw_scene(seed, "labels", 32)).all()
    assert (pixels[:, 32:] == draw_scene(seed, "summer", 32)).all()
    assert len(list((tmp_path / "test").iterdir())) == 1


def test_a_short_demo_learns_to_come_closer_to_truth_than_no_translation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"generator.num_blocks": 2, "discriminator.base_channels": 16, "optimizer.learning_rate": 8e-4}
    recipe = override(at_size(recipes.demo(), 32), small)  # a quarter of its pixels, smaller networks, faster
    monkeypatch.setattr(demo, "demo_recipe", lambda: recipe)
    result = run_demo(tmp_path, num_train=40, num_test=12, num_steps=60, device="cpu")
    written = json.loads((tmp_path / "demo.json").read_text())
    assert set(written) == {"seconds", "model", "none", "colour"}
    for direction in ("AtoB", "BtoA"):
        assert set(written["model"][direction]) == {"l1", "psnr", "ssim"}
        model, none, colour = (result.scores[name][direction] for name in ("model", "none", "colour"))
        assert model.psnr > none.psnr + 2
        assert model.l1 < none.l1
        assert colour.psnr > none.psnr + 4  # the rival is fitted with truth, so it cannot be this bad
        assert written["model"][direction]["psnr"] == pytest.approx(model.psnr, abs=1e-4)
    with PIL.Image.open(tmp_path / "demo.png") as sheet:
        assert min(sheet.size) > 500
    assert len(list((tmp_path / "translated" / "AtoB").glob("*.png"))) == 12
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_the_demo_beats_both_rivals_in_both_directions(tmp_path: Path) -> None:
    result = run_demo(tmp_path)
    assert result.model_wins, result.scores


def test_scenes_that_exist_are_counted_and_pictures_of_other_settings_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = draw_dataset(tmp_path, count=2, size=32)
    assert (first.written, first.kept, first.others) == (6, 0, 0)
    more = draw_dataset(tmp_path, count=3, size=32)
    assert (more.written, more.kept, more.others) == (2, 6, 0)
    again = draw_dataset(tmp_path, count=1, size=32)
    assert (again.written, again.kept, again.others) == (0, 4, 4)
    print_drawn(again, Path("here"), "summer and winter")
    assert capsys.readouterr().out == (
        "Wrote nothing: here holds these 4 scenes already (summer and winter)\n"
        "The folders in here hold 4 other images too; training and testing read all\n"
    )
    print_drawn(more, Path("here"), "summer and winter")
    assert capsys.readouterr().out.startswith("Wrote 2 scenes into here: summer and winter; 6 scenes of these settings")
    for other in ({"size": 40}, {"b": "night"}, {"seed": 1}):
        with pytest.raises(OutputError, match="is not the scene that these settings draw"):
            draw_dataset(tmp_path, **{"count": 4, "size": 32, **other})  # type: ignore[arg-type]
    assert len(list(tmp_path.rglob("*.png"))) == 8
