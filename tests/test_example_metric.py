"""Metrics as parts: what every one of them keeps to, the example, and the faults of others."""

from __future__ import annotations

import json
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from unpaired.cli import main
from unpaired.errors import ConfigError
from unpaired.evaluation import METRICS, ImageMetric, Interval, Metric, SetMetric, Sets, Translated, faults
from unpaired.evaluation.computing import accepts, image_figures, own_features, set_figure
from unpaired.evaluation.describe import Description, describe
from unpaired.evaluation.evaluating import Evaluation, Settings, evaluate
from unpaired.evaluation.page import to_html
from unpaired.images import read_image, to_tensor
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.registry import registering_from
from unpaired.scenes.draw import draw_dataset
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

EXAMPLE = Path(__file__).parents[1] / "examples" / "metric_edges.py"
SMALL = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1)
FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "blur": faults.blur,
    "noise": lambda images: faults.noise(images, 20),
    "hue": lambda images: faults.hue_shift(images, 60),
}
OWN = METRICS.own()


def example() -> Metric:
    """The example's metric, which registers itself."""
    metric = runpy.run_path(str(EXAMPLE))["KEPT_EDGES"]
    assert isinstance(metric, ImageMetric)
    return metric


with pytest.MonkeyPatch.context() as patch:
    patch.setattr(METRICS, "_parts", dict(METRICS._parts))
    EVERY = [*OWN, example()]
OF_IMAGES = [metric for metric in EVERY if isinstance(metric, ImageMetric)]
OF_SETS = [metric for metric in EVERY if isinstance(metric, SetMetric) and accepts(metric, (3, 64, 64))]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the registrations of a test."""
    monkeypatch.setattr(METRICS, "_parts", dict(METRICS._parts))


def by_kind(metric: object) -> str:
    return str(getattr(metric, "kind", metric))


def drawn(split: str, count: int) -> Tensor:
    scenes = [torch.from_numpy(draw_scene(seed, "summer", 64)) for seed in scene_seeds(split, count, 0)]
    return torch.stack(scenes).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def images() -> Tensor:
    return drawn("trainA", 24)


@pytest.fixture(scope="module")
def real() -> Description:
    return describe([drawn("test", 24)])


@pytest.fixture(scope="module")
def sets(images: Tensor, real: Description) -> dict[str, Sets]:
    made = {"none": images} | {name: fault(images) for name, fault in FAULTS.items()}
    return {name: Sets(describe([batch]), real, resamples=20) for name, batch in made.items()}


def as_compared(real: Tensor, fake: Tensor) -> Translated:
    """Return images whose translation, truth and way back all differ by the same fault."""
    return Translated(real, fake, truth=real, reconstructed=fake)


def worse(metric: Metric, faulty: float, good: float) -> bool:
    return faulty > good if metric.better == "less" else faulty < good


@pytest.mark.parametrize("metric", EVERY, ids=by_kind)
def test_a_metric_says_what_a_reader_needs(metric: Metric) -> None:
    assert isinstance(metric, ImageMetric) != isinstance(metric, SetMetric)
    assert metric.label
    assert metric.sees
    assert metric.better in ("less", "more")
    assert 0 <= metric.digits <= 4


@pytest.mark.parametrize("metric", OF_IMAGES, ids=by_kind)
def test_identical_images_have_the_best_figure_and_faults_a_worse_one(metric: ImageMetric, images: Tensor) -> None:
    images = images[:6]
    best = image_figures(metric, as_compared(images, images)).mean().item()
    assert best == pytest.approx({"psnr": math.inf}.get(metric.kind, 0 if metric.better == "less" else 1), abs=1e-4)
    found = {name: image_figures(metric, as_compared(images, fault(images))) for name, fault in FAULTS.items()}
    seen = [name for name, values in found.items() if worse(metric, values.mean().item(), best - 1e-4 * (best == 1))]
    assert len(seen) >= 2
    mild, strong = (image_figures(metric, as_compared(images, faults.noise(images, levels))) for levels in (8, 40))
    assert worse(metric, strong.mean().item(), mild.mean().item())


@pytest.mark.parametrize("metric", OF_IMAGES, ids=by_kind)
def test_the_figure_of_an_image_depends_on_no_other_one(metric: ImageMetric, images: Tensor) -> None:
    real, fake = images[:5], faults.noise(images[:5], 20)
    together = image_figures(metric, as_compared(real, fake))
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = image_figures(metric, as_compared(real[order], fake[order]))
    torch.testing.assert_close(shuffled, together[order], rtol=1e-5, atol=1e-5)
    alone = [image_figures(metric, as_compared(real[k : k + 1], fake[k : k + 1])) for k in range(5)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", OF_SETS, ids=by_kind)
def test_faults_make_the_figure_of_a_set_worse(metric: SetMetric, sets: dict[str, Sets]) -> None:
    good = set_figure(metric, sets["none"]).value
    found = {name: set_figure(metric, sets[name]).value for name in FAULTS}
    assert any(worse(metric, value, good) for value in found.values())
    sign = 1 if metric.better == "less" else -1
    assert sum(sign * (value - good) for value in found.values()) > 0


@pytest.mark.parametrize("metric", OF_SETS, ids=by_kind)
def test_a_set_is_best_against_itself_and_the_order_of_its_images_does_not_matter(
    metric: SetMetric, sets: dict[str, Sets]
) -> None:
    faulty, order = sets["noise"], torch.randperm(24, generator=torch.Generator().manual_seed(0))
    found = set_figure(metric, faulty)
    assert found.low <= found.value <= found.high
    shuffled = Sets(faulty.made.select(order), faulty.real.select(order.flip(0)), resamples=20)
    # The folds of the classifier are random, and 48 images give its accuracy to a few hundredths.
    loose = 0.15 if metric.kind == "two_sample_accuracy" else 1e-6
    assert set_figure(metric, shuffled).value == pytest.approx(found.value, rel=1e-5, abs=loose)
    itself = set_figure(metric, Sets(faulty.real, faulty.real, resamples=20)).value
    assert not worse(metric, itself, found.value)


# The example and the metrics of others


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "summer2winter"
    draw_dataset(folder, a="summer", b="winter", count=2, size=32, num_test=12)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of one direction."""
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=SMALL)}, domains={"A": "summer", "B": "winter"}, training=training
    )
    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, info, {"AtoB": initialised(SMALL.build(3, 3), 0, "AtoB")})
    return folder


@pytest.mark.usefixtures("fresh")
def test_the_example_stands_in_json_table_and_page_with_its_interval(
    model: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(model), str(scenes), "--count", "3", "--recipe", str(EXAMPLE), *out])
    assert end.value.code == 0
    reported = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    row = reported["directions"]["AtoB"]["figures"]["kept_edges"]["made"]
    values = [image["kept_edges"] for image in reported["directions"]["AtoB"]["images"].values()]
    assert len(values) == 3
    assert row["value"] == pytest.approx(sum(values) / 3, abs=1e-6)
    assert row["low"] <= row["value"] <= row["high"]
    assert reported["metrics"]["kept_edges"].startswith("the file metric_edges.py (SHA-256 ")
    assert "strongest edges kept ↑" in capsys.readouterr().out
    page = (tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")
    assert f"<td>strongest edges kept ↑</td><td>{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]</td>" in page
    assert "whether outlines stay where they are" in page


@pytest.mark.usefixtures("fresh")
def test_a_metric_of_an_installed_package_is_evaluated(
    model: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edges_of_others.py").write_text(
        "import torch\n"
        "class Red:\n"
        "    kind, label, better, digits, sees = 'redness', '[b]redness</td>', 'less', 1, 'red'\n"
        "    def per_image(self, images): return images.fake[:, 0].mean((1, 2))\n"
        "RED = Red()\n"
    )
    about = tmp_path / "edges_of_others-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: edges-of-others\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text("[unpaired.metrics]\nredness = edges_of_others:RED\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = evaluate(model, scenes, settings=Settings(count=3))
    assert found.facts["metrics"] == {"redness": "the package edges-of-others 1.5"}
    assert found.directions["AtoB"].rows["redness"].made.high < 1
    assert "<td>[b]redness&lt;/td&gt; ↓</td>" in to_html(found, str(model), str(scenes))
    sys.modules.pop("edges_of_others")


def metric(**attributes: Any) -> Any:
    """A metric of a test with these attributes."""
    return SimpleNamespace(**{"kind": "mine", "label": "mine", "better": "less", "digits": 3, "sees": ""} | attributes)


def run(model: Path, scenes: Path, *metrics: Any, **settings: Any) -> Evaluation:
    return evaluate(model, scenes, settings=Settings(metrics=metrics, **settings))


def test_without_metrics_of_others_the_facts_name_none(model: Path, scenes: Path) -> None:
    assert "metrics" not in run(model, scenes, count=1).facts


def test_a_figure_of_a_set_gets_an_interval_a_floor_and_that_of_untranslated_images(model: Path, scenes: Path) -> None:
    def brightness(images: Tensor) -> Tensor:
        assert len(images) <= 5  # as many as a batch: nothing gathers the images of a set
        return images.mean((2, 3))

    def gap(sets: Sets) -> float:
        made, real = sets.own(mine)
        return float((made.mean(0) - real.mean(0)).abs().mean())

    mine = metric(features=brightness, per_set=gap)
    row = run(model, scenes, mine, batch=5).directions["AtoB"].rows["mine"]
    assert row.floor is not None
    assert row.untranslated is not None
    for interval in (row.made, row.floor, row.untranslated):
        assert interval.low <= interval.value <= interval.high
    assert row.floor.low < row.floor.high
    assert row.made.value > row.floor.value  # winters are brighter than what an untrained network makes


def test_resamples_of_two_sets_are_drawn_independently() -> None:
    made = describe([drawn("trainA", 6)])
    equal = []
    for each in Sets(made, made, seed=0).resampled(20):
        assert len(each.made.features) == len(each.real.features) == 6
        equal.append(torch.equal(each.made.features, each.real.features))
    assert sum(equal) <= 1  # two samples with replacement from six images are equal less than once in a hundred times


def test_a_figure_without_floor_is_of_all_images_however_few(model: Path, scenes: Path) -> None:
    seen: list[int] = []

    def count(sets: Sets) -> Interval:
        seen.extend((len(sets.made.features), len(sets.real.features)))
        return Interval(1.0, 1.0, 1.0)

    with_floor, whole = metric(per_set=count), metric(kind="all", per_set=count, floor=False)
    rows = run(model, scenes, with_floor, whole, count=4).directions["AtoB"].rows
    assert "mine" not in rows
    assert (rows["all"].floor, rows["all"].untranslated, seen) == (None, None, [4, 4])


def test_a_metric_gets_what_it_needs_or_is_left_out(model: Path, scenes: Path) -> None:
    def change(images: Translated) -> Tensor:
        assert images.truth is not None
        return (images.fake - images.truth).abs().mean((1, 2, 3))

    mine = metric(needs=("truth",), untranslated=True, per_image=change)
    back = metric(kind="back", needs=("cycle",), per_image=change)
    big = metric(kind="big", accepts=lambda size: size[1] >= 64, per_image=change)
    rows = run(model, scenes, mine, back, big, count=3).directions["AtoB"].rows
    assert not {"back", "big"} & set(rows)
    # L1 is on the scale [0, 1], this one on [-1, 1].
    assert rows["mine"].made.value == pytest.approx(2 * rows["l1"].made.value, rel=1e-5)
    assert rows["mine"].untranslated is not None
    assert rows["l1"].untranslated is not None
    assert rows["mine"].untranslated.value == pytest.approx(2 * rows["l1"].untranslated.value, rel=1e-5)
    summer, winter = (
        torch.stack([to_tensor(read_image(path), 3) for path in sorted((scenes / folder).iterdir())[:3]])
        for folder in ("testA", "testB")
    )
    assert rows["mine"].untranslated.value == pytest.approx(float((summer - winter).abs().mean()), rel=1e-5)
    assert "mine" not in run(model, scenes, mine, count=3, truth=False).directions["AtoB"].rows


def test_metrics_that_share_features_have_them_computed_once(model: Path, scenes: Path) -> None:
    calls: list[int] = []

    def features(images: Tensor) -> Tensor:
        calls.append(len(images))
        return images.mean((2, 3))

    parts = [
        metric(
            kind=kind, features=features, features_name="colour", floor=False, per_set=lambda sets: Interval(0, 0, 0)
        )
        for kind in ("one", "two")
    ]
    run(model, scenes, *parts, count=4, batch=4)
    assert calls == [4, 4]  # translations and real images


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (metric(per_image=lambda images: 1 / 0), r"The metric mine cannot be computed \(ZeroDivisionError: "),
        (
            metric(per_image=lambda images: images.fake.mean((1, 2, 3)) * math.nan),
            "mine returned NaN or infinity for 3 of 3 images",
        ),
        (metric(per_image=lambda images: 1.0), "mine returned float and not a tensor of 3 figures, one of each image"),
        (metric(per_image=lambda images: images.fake.mean()), r"returned a tensor \(\) and not a tensor of 3 figures"),
        (metric(per_set=lambda sets: math.inf, floor=False), "mine returned NaN or infinity for the set"),
        (
            metric(per_set=lambda sets: 0.0, floor=False, features=lambda images: images.mean()),
            r"returned a tensor \(\) as features and not n d for 3 images",
        ),
        (metric(accepts=lambda size: size[9], per_image=abs), "The metric mine cannot be computed .IndexError"),
    ],
)
def test_a_fault_of_a_metric_is_one_sentence_that_names_it(
    faulty: Any, message: str, model: Path, scenes: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        run(model, scenes, faulty, count=3)
    assert str(error.value).endswith("; fix it or leave it out.")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("fresh")
def test_a_fault_names_the_package_or_file_that_the_metric_is_of(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("")
    mine = metric(per_image=lambda images: torch.full((2,), math.inf))
    with registering_from(file):
        METRICS.register(mine)
    pair = torch.zeros(2, 3, 16, 16)
    with pytest.raises(ConfigError, match=r"metric mine of the file mine\.py \(SHA-256 e3b0c44298fc\) returned NaN"):
        image_figures(mine, Translated(pair, pair))
    mine.infinite = True
    assert image_figures(mine, Translated(pair, pair)).tolist() == [math.inf] * 2
    with pytest.raises(ConfigError, match=r"mine.*AttributeError"):
        own_features(mine, pair)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (metric(), "it has neither per_image nor per_set; add one"),
        (metric(per_image=abs, better="higher"), 'its better must be "less" or "more", not \'higher\''),
        (metric(per_image=abs, digits=2.5), "its digits must be 0 to 9, not 2.5"),
        (metric(per_image=abs, needs="truth"), "its needs must be of truth, cycle, in a tuple, not 'truth'"),
        (metric(per_image=abs, needs=("mask",)), "its needs must be of truth, cycle, in a tuple"),
        (type("Mine", (), vars(metric(per_image=abs))), "it is a class; register an instance of it"),
        (SimpleNamespace(kind="mine", per_image=abs), "it lacks label, better, digits, sees; add it"),
    ],
)
def test_an_object_that_is_no_metric_is_refused(part: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        METRICS.register(part)
    assert reason in str(error.value)


@pytest.mark.usefixtures("fresh")
def test_a_registered_metric_is_computed_in_the_order_of_the_table(model: Path, scenes: Path) -> None:
    METRICS.register(metric(per_image=lambda images: torch.arange(float(len(images.fake)))))
    result = evaluate(model, scenes, settings=Settings(count=4, batch=4)).directions["AtoB"]
    assert list(result.rows)[-1] == "mine"
    assert result.images["mine"].tolist() == [0, 1, 2, 3]
