"""Exporters as parts, and programs of torch.export: the same results as the translator, no pickle, torch alone."""

from __future__ import annotations

import hashlib
import io
import json
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import unpaired
from unpaired.cli import main
from unpaired.errors import ConfigError, ModelError, OutputError
from unpaired.interop import EXPORTERS, Exporter, ExportResult, torch_export
from unpaired.interop.torch_export import TorchExporter, pickled
from unpaired.networks import GENERATORS, ResNetGenerator, UNetGenerator
from unpaired.objectives.base import initialised
from unpaired.registry import registering_from
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model
from unpaired.translate.translator import Translator

SMALL = ResNetGenerator(base_channels=2, num_blocks=1)
NETWORKS: dict[str, DirectionInfo] = {
    "resnet": DirectionInfo(generator=SMALL, in_channels=3, out_channels=1),
    "no downs": DirectionInfo(generator=ResNetGenerator(base_channels=2, num_blocks=1, num_downs=0)),
    "resize, batch": DirectionInfo(
        generator=ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1, norm="batch", upsampling="resize")
    ),
    "antialias": DirectionInfo(
        generator=ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1, antialias=True, norm="none")
    ),
    "displacement": DirectionInfo(
        generator=ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1, displacement=True)
    ),
    "deformable": DirectionInfo(generator=ResNetGenerator(base_channels=2, num_blocks=1, num_deformable_blocks=1)),
    "attention": DirectionInfo(generator=ResNetGenerator(base_channels=2, num_blocks=1, num_attention_blocks=1)),
    "unet": DirectionInfo(generator=UNetGenerator(base_channels=2, num_downs=5)),
    "unet, one skip": DirectionInfo(generator=UNetGenerator(base_channels=2, num_downs=5, num_skips=1)),
    "noise": DirectionInfo(
        generator=UNetGenerator(base_channels=2, num_downs=5, norm="batch", dropout=True), mode="training"
    ),
}


def described(**directions: DirectionInfo) -> ModelInfo:
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    return ModelInfo(directions=directions, domains={"A": "sum|mer", "B": "winter"}, training=training)


def built(info: DirectionInfo) -> nn.Module:
    network = initialised(info.generator.build(info.in_channels, info.out_channels), 0, "AtoB")
    return network.requires_grad_(False).train(info.mode == "training")


def written(folder: Path, *, num_blocks: int) -> Path:
    """Write an untrained model of both directions, from three channels to one."""
    generator = ResNetGenerator(base_channels=2, num_blocks=num_blocks)
    entries = {
        "AtoB": DirectionInfo(generator=generator, in_channels=3, out_channels=1),
        "BtoA": DirectionInfo(generator=generator, in_channels=1, out_channels=3),
    }
    write_model(folder, described(**entries), {name: built(entry) for name, entry in entries.items()})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("model") / "model", num_blocks=1)


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("programs") / "out"
    TorchExporter().export(model, out)
    return out


@pytest.mark.parametrize("exporter", EXPORTERS.own(), ids=lambda exporter: exporter.kind)
def test_an_exporter_writes_new_files_into_the_folder_and_replaces_none(
    exporter: Exporter, model: Path, tmp_path: Path
) -> None:
    if exporter.kind == "official":  # which has no ResNet of one block
        model = written(tmp_path / "model", num_blocks=6)
    assert isinstance(exporter, Exporter)
    assert exporter.label
    out = tmp_path / "deep" / "out"
    made = exporter.export(model, out)
    assert set(made.files) == set(out.iterdir())
    assert all(file.stat().st_size for file in made.files)
    before = {file: file.read_bytes() for file in made.files}
    with pytest.raises(OutputError, match="exists already; give another --out, or remove it first"):
        exporter.export(model, out)
    assert {file: file.read_bytes() for file in out.iterdir()} == before


def test_the_verb_writes_programs_and_reports_the_comparison(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        main(["export", str(model), "--out", str(out), "--format", "torch-export"])
    assert end.value.code == 0
    printed = capsys.readouterr()
    files = ["AtoB.pt2", "BtoA.pt2", "export.json", "README.md"]
    assert [line for line in printed.out.splitlines() if line in map(str, (out / name for name in files))] == [
        str(out / name) for name in files
    ]
    assert "Loaded again and compared on two sizes: the largest difference is 0.0e+00" in printed.out + printed.err


def test_an_unknown_format_is_answered_with_those_that_there_are(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["export", str(model), "--out", str(tmp_path / "out"), "--format", "torch-exprt"])
    assert end.value.code == ConfigError.exit_code
    assert "'torch-exprt' for --format" in (error := capsys.readouterr().err)
    assert "torch-export" in error
    assert not (tmp_path / "out").exists()


def test_an_exporter_of_others_is_reached_by_its_kind(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class Counting:
        kind: ClassVar[str] = "count"
        label: ClassVar[str] = "the number of weights"

        def export(self, model: Path, out: Path) -> ExportResult:
            return ExportResult((out / "count.txt",), (f"Counted {model.name}.",))

    monkeypatch.setattr(EXPORTERS, "_parts", dict(EXPORTERS._parts))
    EXPORTERS.register(Counting())
    with pytest.raises(SystemExit) as end:
        main(["export", str(model), "--out", str(tmp_path), "--format", "count"])
    assert end.value.code == 0
    printed = capsys.readouterr()
    assert str(tmp_path / "count.txt") in printed.out
    assert "Counted model." in printed.out + printed.err
    with pytest.raises(ConfigError, match="it is a class; register an instance of it"):
        EXPORTERS.register(Counting)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_gives_the_translators_results_at_any_size(name: str, tmp_path: Path) -> None:
    entry = NETWORKS[name]
    write_model(tmp_path / "model", described(AtoB=entry), {"AtoB": built(entry)})
    out = tmp_path / "out"
    TorchExporter().export(tmp_path / "model", out)
    program, translator = torch.export.load(out / "AtoB.pt2").module(), Translator.load(tmp_path / "model")
    facts = json.loads((out / "export.json").read_text(encoding="utf-8"))["directions"]["AtoB"]
    unit, least = facts["multiple"], facts["smallest_side"]
    if not facts["random"]:  # the noise of the others is compared while exporting
        for count, height, width in ((1, least, least + unit), (3, least + 5 * unit, least + 2 * unit)):
            images = torch.rand(count, entry.in_channels, height, width) * 2 - 1
            assert (program(images) - translator(images)).abs().max() <= 1e-6
    assert facts["random"] == (entry.mode == "training")
    if unit > 1:
        with pytest.raises(Exception, match="to be of the form"):
            program(torch.zeros(1, entry.in_channels, least + unit + 1, least + unit))


def test_a_program_needs_torch_alone(exported: Path, model: Path) -> None:
    images = torch.linspace(-1, 1, 3 * 16 * 20).reshape(1, 3, 16, 20)
    code = (
        "import sys; sys.modules['unpaired'] = None\n"
        "import torch\n"
        "images = torch.linspace(-1, 1, 3 * 16 * 20).reshape(1, 3, 16, 20)\n"
        "with torch.no_grad():\n"
        "    made = torch.export.load(sys.argv[1]).module()(images)\n"
        "print(made.double().sum().item())"
    )
    command = [sys.executable, "-c", code, str(exported / "AtoB.pt2")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(Translator.load(model)(images).double().sum().item(), rel=1e-6)


def test_the_facts_beside_a_program_are_its_own(exported: Path) -> None:
    facts = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    assert facts["torch"] == torch.__version__.partition("+")[0]
    assert (facts["background"], facts["domains"]["A"]) == ([255, 255, 255], "sum|mer")
    channels = {"AtoB": (3, 1), "BtoA": (1, 3)}
    card = (exported / "README.md").read_text(encoding="utf-8")
    for name, entry in facts["directions"].items():
        digest = hashlib.sha256((exported / entry["file"]).read_bytes()).hexdigest()
        assert entry["sha256"] == digest
        assert digest in card
        assert (entry["input_channels"], entry["output_channels"]) == channels[name]
        assert (entry["multiple"], entry["smallest_side"], entry["images_at_once"]) == (4, 8, "any")
        assert (entry["from"], entry["to"]) == (name[0], name[-1])
    assert "multiples of 4, at least 8" in card
    assert "sum|mer" not in card  # names of domains are anybody's text


def test_no_part_of_a_program_is_a_pickle(exported: Path) -> None:
    for file in exported.glob("*.pt2"):
        content = file.read_bytes()
        assert pickled(content) == []
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        assert all(parts[name] == b"" for name in parts if "sample_inputs" in name)
        assert not any(data.startswith((b"\x80\x02", b"PK")) or b"data.pkl" in data for data in parts.values())


def test_pickles_in_an_archive_are_found(tmp_path: Path) -> None:
    plain = tmp_path / "plain.pt2"
    network = nn.Conv2d(1, 1, 1)
    torch.export.save(torch.export.export(network, (torch.zeros(1, 1, 4, 4),)), plain)
    assert pickled(plain.read_bytes()) == ["data/sample_inputs/model.pt"]
    with zipfile.ZipFile(plain, "a") as archive:
        archive.writestr("plain/data/constants/custom_obj_0", b"\x80\x02}.")
    assert pickled(plain.read_bytes())[-1] == "data/constants/custom_obj_0"


class Doubled(nn.Module):
    """A user-defined network: a convolution with a doubled result, or one that fails, as the test sets it."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        made = torch.tanh(self.conv(x))
        if self.fault == "value" and bool(made.mean() > 5):
            return -made
        if self.fault == "size" and x.shape[2] > 40:
            return made
        if self.fault == "traced" and torch.compiler.is_exporting():
            return made * 0.5
        return made


@dataclass(frozen=True, kw_only=True)
class UsersGenerator:
    kind: ClassVar[str] = "doubled"
    multiple: ClassVar[int] = 1
    min_size: ClassVar[int] = 3

    def build(self, in_channels: int, out_channels: int) -> Doubled:
        return Doubled("")


def export_of_user(fault: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> ExportResult:
    entry: Any = DirectionInfo(generator=UsersGenerator())  # type: ignore[arg-type]
    monkeypatch.setattr(
        torch_export, "read_model", lambda path: (described(AtoB=entry), {"AtoB": Doubled(fault).eval()})
    )
    return TorchExporter().export(Path("anything"), out)


def test_a_users_generator_is_exported_without_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_of_user("", tmp_path / "out", monkeypatch)
    program = torch.export.load(tmp_path / "out" / "AtoB.pt2").module()
    for size in ((2, 3, 3, 7), (1, 3, 50, 41)):
        assert program(torch.zeros(size)).shape == size


def test_the_generator_of_the_examples_is_exported_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GENERATORS, "_parts", dict(GENERATORS._parts))
    example = Path(__file__).parents[1] / "examples" / "generator.py"
    with registering_from(example):
        generator = runpy.run_path(str(example))["SqueezeGenerator"](width=2, num_blocks=1)
        GENERATORS.register(type(generator))
    entry = DirectionInfo(generator=generator)
    write_model(tmp_path / "model", described(AtoB=entry), {"AtoB": built(entry)})
    arguments = [str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--format", "torch-export"]
    with pytest.raises(SystemExit) as end:
        main(["export", *arguments, "--recipe", str(example)])
    assert end.value.code == 0
    images = torch.rand(2, 3, 18, 30) * 2 - 1
    made = torch.export.load(tmp_path / "out" / "AtoB.pt2").module()(images)
    assert (made - Translator.load(tmp_path / "model")(images)).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("value", r"torch\.export cannot export the generator doubled of AtoB \(.*change its module so that it can be"),
        ("size", r"torch\.export cannot export the generator doubled of AtoB \(|The program of AtoB does not run \("),
        ("traced", r"The program of AtoB differs from its network by \d\.\de-\d\d on the scale .*; it was removed\."),
    ],
)
def test_a_program_that_would_not_be_the_network_is_refused_and_nothing_stays(
    fault: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=message) as error:
        export_of_user(fault, tmp_path / "out", monkeypatch)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


class Failing:
    kind, label = "failing", "nothing"

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def export(self, model: Path, out: Path) -> Any:
        return self.act()


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: 1 / 0, r"The exporter failing fails \(ZeroDivisionError: division by zero\); fix its export method\."),
        (list, r"The exporter failing returned list; its export must return an ExportResult\."),
    ],
)
def test_a_fault_of_ones_own_exporter_is_a_sentence(
    act: Callable[[], Any], sentence: str, model: Path, tmp_path: Path, clean_registries: None
) -> None:
    EXPORTERS.register(Failing(act))
    with pytest.raises(ModelError, match=sentence):
        unpaired.export(model, tmp_path / "out", format="failing")
