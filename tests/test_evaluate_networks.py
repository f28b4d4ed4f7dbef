"""Networks with weights of the user: the published architectures, verified files, FID in closed form.

The published weights are not available here: the tests check numbers of parameters, names and shapes of tensors, and
values against independently written forward passes, with random weights.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.errors import ModelError
from unpaired.evaluation.frechet import Moments, frechet_distance, frechet_interval
from unpaired.evaluation.inception import PUBLISHED, Inception, InceptionModule
from unpaired.evaluation.lpips import LPIPS, LPIPSModule
from unpaired.untrusted.weights import Weights, fill, read_weights


def normal(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def moments(features: Tensor, batch: int = 1000) -> Moments:
    found = Moments(features.shape[1])
    for part in features.split(batch):
        found.add(part)
    return found


def gaussian(mean: Tensor, covariance: Tensor) -> Moments:
    """Moments that are exactly these."""
    size = len(mean)
    x = torch.cat([torch.eye(size), -torch.eye(size)]).double() * ((2 * size - 1) / 2) ** 0.5
    values, vectors = torch.linalg.eigh(covariance)
    return moments(x @ (vectors * values.clamp(min=0).sqrt()).T + mean)


def random_covariance(size: int, seed: int) -> Tensor:
    x = normal(size, size, seed=seed)
    return x @ x.T


# Fréchet distance


def test_moments_of_batches_are_those_of_the_whole() -> None:
    x = normal(50, 6, seed=0) * 3 + 1000
    for batch in (1, 7, 50):
        found = moments(x, batch)
        torch.testing.assert_close(found.mean, x.mean(dim=0))
        torch.testing.assert_close(found.covariance, torch.cov(x.T), rtol=1e-8, atol=1e-10)


def test_the_frechet_distance_of_gaussians_on_a_line_is_that_of_mean_and_deviation() -> None:
    x = gaussian(torch.tensor([1.0]).double(), torch.tensor([[4.0]]).double())
    y = gaussian(torch.tensor([-2.0]).double(), torch.tensor([[9.0]]).double())
    assert frechet_distance(x, y) == pytest.approx(3**2 + (2 - 3) ** 2)


def test_the_frechet_distance_has_its_closed_form_where_covariances_commute() -> None:
    basis = torch.linalg.qr(normal(5, 5, seed=1)).Q
    p, q = torch.tensor([1.0, 2, 3, 4, 5]).double(), torch.tensor([2.0, 2, 0, 9, 1]).double()
    x = gaussian(torch.zeros(5).double(), basis * p @ basis.T)
    y = gaussian(torch.ones(5).double(), basis * q @ basis.T)
    assert frechet_distance(x, y) == pytest.approx(5 + float((p.sqrt() - q.sqrt()).square().sum()))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x))


def test_the_trace_of_the_root_is_that_of_the_product_of_the_covariances() -> None:
    a, b = random_covariance(6, seed=2), random_covariance(6, seed=3)
    zero = torch.zeros(6).double()
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    expected = float(a.trace() + b.trace() - 2 * root)
    assert frechet_distance(gaussian(zero, a), gaussian(zero, b)) == pytest.approx(expected)


@pytest.mark.parametrize("size", [3, 40])
def test_inner_products_give_the_same_distance_as_covariances(size: int) -> None:
    x, y = normal(20, size, seed=4), normal(15, size, seed=5) * 1.5 + 0.2
    found = frechet_interval(x, y, resamples=20)
    assert found.value == pytest.approx(frechet_distance(moments(x), moments(y)), rel=1e-9)
    assert found.low < found.value < found.high


def test_a_resample_counts_an_image_as_often_as_it_was_drawn() -> None:
    from unpaired.evaluation.frechet import _from_products

    x, y = normal(4, 3, seed=6), normal(5, 3, seed=7)
    p, q = torch.tensor([2.0, 0, 1, 1]).double(), torch.tensor([1.0, 3, 0, 1, 0]).double()
    found = _from_products((x @ x.T, x @ y.T, y @ y.T), p, q)
    drawn = moments(x[[0, 0, 2, 3]]), moments(y[[0, 1, 1, 1, 3]])
    assert found == pytest.approx(frechet_distance(*drawn), rel=1e-7)


# Inception


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published layout, with the classifier and without counters of batches."""
    torch.manual_seed(0)
    network = InceptionModule()
    state = {}
    for key, value in network.state_dict().items():
        if key.endswith(("running_mean", "bn.bias")):
            state[key] = torch.randn_like(value) * 0.1
        elif key.endswith(("running_var", "bn.weight")):
            state[key] = torch.rand_like(value) + 0.5
        elif value.ndim == 4:
            state[key] = torch.randn_like(value) * (2 / value[0].numel()) ** 0.5
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def inception(inception_file: Path) -> Inception:
    return Inception.load(inception_file)


def test_inception_has_the_published_number_of_parameters() -> None:
    network = InceptionModule()
    classifier = 1008 * (2048 + 1)
    # The textbook's network with 1,000 classes and without its auxiliary classifier has 23,834,568.
    assert sum(p.numel() for p in network.parameters()) + classifier == 23_834_568 + 8 * 2049
    assert len(network.state_dict()) + 2 == 94 * 6 + 2
    assert network.state_dict()["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)


def independent_inception(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same network written down a second time, as functions of a state dict."""

    def unit(x: Tensor, name: str, stride: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
        x = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=pad)
        mean, var, weight, bias = (
            state[f"{name}.bn.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 0.001).sqrt() * weight + bias).clamp(min=0)

    def average(x: Tensor) -> Tensor:
        ones = torch.ones_like(x[:1, :1])
        kernel = torch.ones(1, 1, 3, 3)
        sums = F.conv2d(x.reshape(-1, 1, *x.shape[2:]), kernel, padding=1).reshape(x.shape)
        return sums / F.conv2d(ones, kernel, padding=1)

    x = unit(unit(unit(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3"), "Conv2d_2b_3x3", pad=(1, 1))
    x = F.max_pool2d(x, 3, 2)
    x = F.max_pool2d(unit(unit(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)
    for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        five = unit(unit(x, f"{b}.branch5x5_1"), f"{b}.branch5x5_2", pad=(2, 2))
        three = unit(unit(x, f"{b}.branch3x3dbl_1"), f"{b}.branch3x3dbl_2", pad=(1, 1))
        three = unit(three, f"{b}.branch3x3dbl_3", pad=(1, 1))
        x = torch.cat([unit(x, f"{b}.branch1x1"), five, three, unit(average(x), f"{b}.branch_pool")], 1)
    b = "Mixed_6a"
    three = unit(unit(x, f"{b}.branch3x3dbl_1"), f"{b}.branch3x3dbl_2", pad=(1, 1))
    x = torch.cat([unit(x, f"{b}.branch3x3", 2), unit(three, f"{b}.branch3x3dbl_3", 2), F.max_pool2d(x, 3, 2)], 1)
    for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        one = unit(unit(x, f"{b}.branch7x7_1"), f"{b}.branch7x7_2", pad=(0, 3))
        one = unit(one, f"{b}.branch7x7_3", pad=(3, 0))
        two = unit(unit(x, f"{b}.branch7x7dbl_1"), f"{b}.branch7x7dbl_2", pad=(3, 0))
        two = unit(unit(two, f"{b}.branch7x7dbl_3", pad=(0, 3)), f"{b}.branch7x7dbl_4", pad=(3, 0))
        two = unit(two, f"{b}.branch7x7dbl_5", pad=(0, 3))
        x = torch.cat([unit(x, f"{b}.branch1x1"), one, two, unit(average(x), f"{b}.branch_pool")], 1)
    b = "Mixed_7a"
    seven = unit(unit(x, f"{b}.branch7x7x3_1"), f"{b}.branch7x7x3_2", pad=(0, 3))
    seven = unit(unit(seven, f"{b}.branch7x7x3_3", pad=(3, 0)), f"{b}.branch7x7x3_4", 2)
    x = torch.cat([unit(unit(x, f"{b}.branch3x3_1"), f"{b}.branch3x3_2", 2), seven, F.max_pool2d(x, 3, 2)], 1)
    for b, pool in (("Mixed_7b", average), ("Mixed_7c", lambda x: F.max_pool2d(x, 3, 1, 1))):
        three = unit(x, f"{b}.branch3x3_1")
        double = unit(unit(x, f"{b}.branch3x3dbl_1"), f"{b}.branch3x3dbl_2", pad=(1, 1))
        parts = [unit(x, f"{b}.branch1x1")]
        parts += [unit(three, f"{b}.branch3x3_2a", pad=(0, 1)), unit(three, f"{b}.branch3x3_2b", pad=(1, 0))]
        parts += [unit(double, f"{b}.branch3x3dbl_3a", pad=(0, 1)), unit(double, f"{b}.branch3x3dbl_3b", pad=(1, 0))]
        x = torch.cat([*parts, unit(pool(x), f"{b}.branch_pool")], 1)
    return x.mean(dim=(2, 3))


def test_inception_computes_what_an_independent_forward_does(inception: Inception, inception_file: Path) -> None:
    images = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = inception.features(images.split(1))
    assert found.shape == (2, 2048)
    files = ((images * 127.5) + 127.5).round()
    resized = F.interpolate(files / 255, size=(299, 299), mode="bilinear", align_corners=False) * 2 - 1
    expected = independent_inception(torch.load(inception_file, weights_only=True), resized)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_only_the_published_weights_are_called_fid(
    inception: Inception, inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert inception.sha256 == digest
    assert not inception.is_published
    assert inception.figure_name("frechet").startswith("Fréchet distance")
    assert digest[:8] in inception.figure_name("kernel")
    monkeypatch.setattr(inception, "sha256", PUBLISHED)
    assert inception.figure_name("frechet").startswith("FID (Inception 2015-12-05")
    assert inception.figure_name("kernel").startswith("KID (")


def test_inception_takes_grey_images_and_refuses_other_channels(inception: Inception) -> None:
    grey = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(inception.features([grey]), inception.features([grey.expand(1, 3, 32, 32)]))
    with pytest.raises(ValueError, match="n 3 h w"):
        inception.features([torch.zeros(1, 4, 32, 32)])


# Files of weights


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.ones(3)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = read_weights(path, sha256=digest[:12].upper())
    assert found.sha256 == digest
    assert found.state["a"].tolist() == [1, 1, 1]
    for wrong in (PUBLISHED, digest[:7], ""):
        with pytest.raises(ModelError, match="another file"):
            read_weights(path, sha256=wrong)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_files_that_are_no_weights_are_refused_and_never_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(ModelError, match="Cannot read"):
        read_weights(path)
    for content in (b"", b"no weights", pickle.dumps(Bomb()), b"PK\x03\x04 broken"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"x\.pth"):
            read_weights(path)
    torch.save({"a": Bomb()}, path)
    with pytest.raises(ModelError, match=r"x\.pth"):
        read_weights(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(ModelError, match=r"x\.pth"):
        read_weights(path)
    for value in ([torch.zeros(2)], {"a": 3}, {3: torch.zeros(2)}, torch.zeros(2)):
        torch.save(value, path)
        with pytest.raises(ModelError, match=r"x\.pth"):
            read_weights(path)
    assert capsys.readouterr().out == ""


def test_weights_of_another_network_are_named() -> None:
    network = LPIPSModule("alex").lin
    good = {"0": torch.ones(1, 64, 1, 1), **{key: v.clone() for key, v in network.state_dict().items()}}
    good["bn.num_batches_tracked"] = torch.tensor(3)  # of no use, and no fault
    fill(network, Weights(Path("x.pth"), "0" * 64, good), "a test")
    for changed, sentence in (
        ({key: v for key, v in good.items() if key != "2"}, "x.pth does not hold a test: it has no 2"),
        (good | {"9": torch.zeros(2)}, "it has 9, which that has not"),
        (good | {"1": torch.zeros(1, 64, 3, 3)}, r"its 1 is \(1, 64, 3, 3\)"),
        (good | {"0": torch.zeros(1, 64, 1, 1, dtype=torch.int64)}, "of floats"),
        (good | {"0": torch.full((1, 64, 1, 1), torch.nan)}, "NaN"),
    ):
        with pytest.raises(ModelError, match=sentence):
            fill(network, Weights(Path("x.pth"), "0" * 64, changed), "a test")


# LPIPS


def save_lpips(folder: Path, trunk: str, seed: int) -> tuple[Path, Path]:
    """Random weights in the layout of torchvision's classifier and of the authors' weights of its channels."""
    torch.manual_seed(seed)
    network = LPIPSModule(trunk)
    state = {f"features.{key}": torch.randn_like(v) * 0.05 for key, v in network.features.state_dict().items()}
    channels = {f"lin{key}.model.1.weight": torch.rand_like(v) for key, v in network.lin.state_dict().items()}
    torch.save(state | {"classifier.6.weight": torch.zeros(10, 4)}, folder / "classifier.pth")
    torch.save(channels, folder / "channels.pth")
    return folder / "classifier.pth", folder / "channels.pth"


@pytest.mark.parametrize(("trunk", "parameters"), [("alex", 2_469_696), ("vgg", 14_714_688)])
def test_lpips_stands_on_the_published_classifiers(trunk: str, parameters: int) -> None:
    network = LPIPSModule(trunk)
    assert sum(p.numel() for p in network.features.parameters()) == parameters
    assert [v.shape[1] for v in network.lin] == {"alex": [64, 192, 384, 256, 256], "vgg": [64, 128, 256, 512, 512]}[
        trunk
    ]


def independent_lpips(trunk: str, state: dict[str, Tensor], lin: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    shift, scale = torch.tensor([-0.03, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.45])

    def stages(x: Tensor) -> list[Tensor]:
        x = (x - shift[:, None, None]) / scale[:, None, None]
        # (first convolution of the stage, how many, pooling before it)
        plan = {
            "alex": [([0], None), ([3], (3, 2)), ([6], (3, 2)), ([8], None), ([10], None)],
            "vgg": [
                ([0, 2], None),
                ([5, 7], (2, 2)),
                ([10, 12, 14], (2, 2)),
                ([17, 19, 21], (2, 2)),
                ([24, 26, 28], (2, 2)),
            ],
        }[trunk]
        found = []
        for numbers, pool in plan:
            x = x if pool is None else F.max_pool2d(x, *pool)
            for number in numbers:
                stride, pad = {("alex", 0): (4, 2), ("alex", 3): (1, 2)}.get((trunk, number), (1, 1))
                weight, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
                x = F.conv2d(x, weight, bias, stride=stride, padding=pad).clamp(min=0)
            found.append(x)
        return found

    total = torch.zeros(len(x))
    for number, (u, v) in enumerate(zip(stages(x), stages(y), strict=True)):
        u, v = (t / (t.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for t in (u, v))
        total += F.conv2d((u - v) ** 2, lin[f"lin{number}.model.1.weight"]).mean(dim=(1, 2, 3))
    return total


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_computes_what_an_independent_forward_does(trunk: str, tmp_path: Path) -> None:
    classifier, channels = save_lpips(tmp_path, trunk, seed=1)
    lpips = LPIPS.load(classifier, channels, trunk=trunk)
    x, y = (torch.rand(2, 3, 36, 33, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (0, 1))
    states = (torch.load(path, weights_only=True) for path in (classifier, channels))
    torch.testing.assert_close(lpips(x, y), independent_lpips(trunk, *states, x, y), rtol=1e-4, atol=1e-6)
    assert lpips(x, x).tolist() == [0, 0]
    torch.testing.assert_close(lpips(x, y), lpips(y, x))
    assert lpips.title.startswith("perceptual distance, other weights")


def test_lpips_names_what_it_does_not_take(tmp_path: Path) -> None:
    classifier, channels = save_lpips(tmp_path, "alex", seed=2)
    with pytest.raises(ModelError, match="vgg classifier"):
        LPIPS.load(classifier, channels, trunk="vgg")
    with pytest.raises(ModelError, match="channel weights"):
        LPIPS.load(classifier, classifier)
    lpips = LPIPS.load(classifier, channels)
    with pytest.raises(ValueError, match="at least 31x31"):
        lpips(torch.zeros(1, 3, 30, 31), torch.zeros(1, 3, 30, 31))
    with pytest.raises(ValueError, match="n 3 h w"):
        lpips(torch.zeros(1, 4, 32, 32), torch.zeros(1, 4, 32, 32))
    assert lpips(torch.zeros(1, 1, 31, 31), torch.ones(1, 1, 31, 31)).item() > 0
