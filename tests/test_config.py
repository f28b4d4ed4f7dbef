"""Settings survive a YAML round trip, and a wrong one is an error that names it and the fix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from unpaired.config import (
    SCHEMA,
    Difference,
    convert,
    differences,
    flatten,
    free,
    from_dict,
    load_yaml,
    override,
    read_yaml,
    to_dict,
    to_yaml,
)
from unpaired.data.datasets import DataConfig
from unpaired.errors import ConfigError
from unpaired.networks import PatchGAN, PixelGAN, ResNetGenerator
from unpaired.objectives import CycleGAN
from unpaired.recipes import Config, paper
from unpaired.training.run_config import RunConfig
from unpaired.training.schedule import ScheduleConfig
from unpaired.training.state import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class Round:
    kind: ClassVar[str] = "round"
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Square:
    kind: ClassVar[str] = "square"
    side: int = 2
    corners: Literal["sharp", "blunt"] = "sharp"


@dataclass(frozen=True, kw_only=True)
class Leaves:
    on: bool = False
    count: int = 0
    weight: float = 0.5
    name: str = ""
    limit: int | None = None
    levels: tuple[int, ...] = (1, 2)
    note: str = free("")


@dataclass(frozen=True, kw_only=True)
class Tree:
    leaves: Leaves = field(default_factory=Leaves)
    shape: Round | Square = field(default_factory=Round)
    required: int


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
# YAML folds the control character "next line" into a blank, as it does a line break; nobody has it in a name.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85"), max_size=12)
LEAVES = st.builds(
    Leaves,
    on=st.booleans(),
    count=st.integers(),
    weight=FLOATS,
    name=TEXT | st.sampled_from(["no", "null", "none", "1e3", "~", "2:30", "# x", "- a", "true"]),
    limit=st.none() | st.integers(),
    levels=st.lists(st.integers(), max_size=4).map(tuple),
    note=TEXT,
)
SHAPES = st.builds(Round, radius=FLOATS) | st.builds(
    Square, side=st.integers(), corners=st.sampled_from(["sharp", "blunt"])
)
TREES = st.builds(Tree, leaves=LEAVES, shape=SHAPES, required=st.integers())

POSITIVE = st.integers(1, 512)
RATES = st.floats(1e-12, 10, allow_subnormal=False)
NORMS = st.sampled_from(["instance", "batch", "none"])
CONFIGS = st.builds(
    Config,
    data=st.builds(
        DataConfig,
        root=TEXT,
        a=TEXT,
        name_b=TEXT,
        load_size=st.integers(256, 600),
        crop_size=st.sampled_from([64, 128, 256]),
        preprocess=st.sampled_from(["resize_and_crop", "crop", "scale_width_and_crop"]),
        flip=st.booleans(),
        batch_size=POSITIVE,
        background=st.tuples(*[st.integers(0, 255)] * 3),
        num_workers=st.integers(0, 8),
    ),
    objective=st.builds(
        CycleGAN,
        cycle_weight_a=RATES,
        identity_weight=RATES,
        adversarial=st.sampled_from(["lsgan", "cross_entropy", "hinge"]),
        pool_size=st.integers(0, 99),
    ),
    generator=st.builds(ResNetGenerator, base_channels=POSITIVE, num_downs=st.integers(0, 3), norm=NORMS),
    discriminator=st.builds(PatchGAN, base_channels=POSITIVE, num_layers=st.integers(1, 4), norm=NORMS)
    | st.builds(PixelGAN, base_channels=POSITIVE, norm=NORMS),
    optimizer=st.builds(OptimizerConfig, learning_rate=RATES, discriminator_learning_rate=st.none() | RATES),
    schedule=st.builds(ScheduleConfig, num_epochs_decay=POSITIVE, num_steps=st.none() | POSITIVE),
    run=st.builds(RunConfig, seed=st.integers(0, 2**63), precision=st.sampled_from(["fp32", "bf16"]), device=TEXT),
)


# --- to YAML and back ------------------------------------------------------------------------------


@given(tree=TREES)
def test_any_tree_of_settings_survives_yaml(tree: Tree) -> None:
    plain = yaml.safe_load(to_yaml(tree))
    assert plain.pop("schema") == SCHEMA
    assert from_dict(Tree, plain) == tree


@settings(max_examples=40)
@given(config=CONFIGS)
def test_any_configuration_survives_a_file(config: Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_bytes(to_yaml(config).encode())
    assert read_yaml(Config, path) == config


@settings(max_examples=40)
@given(config=CONFIGS)
def test_a_configuration_put_together_from_its_paths_is_the_same(config: Config) -> None:
    assert override(Config(), flatten(config)) == config


def test_what_a_file_leaves_out_keeps_its_default_or_that_of_the_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer:\n  learning_rate: 1e-3\n")  # YAML takes 1e-3 for text; people write it all the same
    assert read_yaml(Config, path).optimizer == OptimizerConfig(learning_rate=1e-3)
    base = Config(optimizer=OptimizerConfig(beta1=0.9), data=DataConfig(flip=False))
    expected = replace(base, optimizer=OptimizerConfig(beta1=0.9, learning_rate=1e-3))
    assert read_yaml(Config, path, base) == expected
    path.write_text("")
    assert read_yaml(Config, path, base) == base


def test_a_part_of_another_kind_in_a_file_replaces_the_whole_part(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("discriminator:\n  kind: pixelgan\n  base_channels: 7\n")
    base = Config(discriminator=PatchGAN(num_layers=2))
    assert read_yaml(Config, path, base).discriminator == PixelGAN(base_channels=7)
    path.write_text("discriminator:\n  kind: patchgan\n  base_channels: 7\n")
    assert read_yaml(Config, path, base).discriminator == PatchGAN(base_channels=7, num_layers=2)


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"required": 1, "leavs": {}}, "Unknown setting leavs; did you mean leaves?"),
        ({"required": 1, "leaves": {"cuont": 3}}, "Unknown setting leaves.cuont; did you mean leaves.count?"),
        ({"required": 1, "leaves": 3}, "leaves must be a mapping of settings, not 3."),
        ({"required": 1, "leaves": {"on": "maybe"}}, "leaves.on takes true or false, not 'maybe'."),
        ({"required": 1, "leaves": {"on": 1}}, "leaves.on takes true or false, not 1."),
        ({"required": 1, "leaves": {"count": 1.5}}, "leaves.count takes a whole number, not 1.5."),
        ({"required": 1, "leaves": {"count": True}}, "leaves.count takes a whole number, not True."),
        ({"required": 1, "leaves": {"count": None}}, "leaves.count takes a whole number, not None."),
        ({"required": 1, "leaves": {"weight": "much"}}, "leaves.weight takes a number, not 'much'."),
        ({"required": 1, "leaves": {"weight": math.nan}}, "leaves.weight takes a number, not nan."),
        ({"required": 1, "leaves": {"weight": math.inf}}, "leaves.weight takes a number, not inf."),
        ({"required": 1, "leaves": {"weight": False}}, "leaves.weight takes a number, not False."),
        ({"required": 1, "leaves": {"name": 3}}, "leaves.name takes text, not 3."),
        ({"required": 1, "leaves": {"levels": 3}}, "leaves.levels takes a list, not 3."),
        ({"required": 1, "leaves": {"levels": [1, "x"]}}, "leaves.levels takes a whole number, not 'x'."),
        ({"required": 1, "shape": {"kind": "sqare"}}, "Unknown choice 'sqare' for shape.kind"),
        ({"required": 1, "shape": {"radius": 2}}, "Unknown choice None for shape.kind; choose from: round, square."),
        ({"required": 1, "shape": {"kind": "round", "side": 2}}, "Unknown setting shape.side"),
        (
            {"required": 1, "shape": {"kind": "square", "corners": "soft"}},
            "Unknown choice 'soft' for shape.corners; choose from: sharp, blunt.",
        ),
        ({}, "required"),
        ([1], "must be a mapping of settings"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(data: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_dict(Tree, data)
    assert message in str(error.value)


@pytest.mark.parametrize("value", [10**400, "1" * 400, [1], {"a": 1}], ids=["huge", "long", "list", "mapping"])
def test_no_value_of_a_number_ends_in_anything_but_a_config_error(value: object) -> None:
    for setting in ("count", "weight"):
        with pytest.raises(ConfigError, match=f"{setting} takes a"):
            from_dict(Leaves, {setting: value})


@pytest.mark.parametrize("kind", [["round"], {"round": 1}, 3, None])
def test_a_kind_that_is_no_name_is_a_config_error(kind: object) -> None:
    with pytest.raises(ConfigError, match=r"shape\.kind"):
        from_dict(Tree, {"required": 1, "shape": {"kind": kind}})


def test_a_kind_is_accepted_where_there_is_only_one_and_another_refused() -> None:
    assert from_dict(Round, {"kind": "round", "radius": 6}) == Round(radius=6)
    with pytest.raises(ConfigError, match=r"shape\.kind must be 'round' here, not 'square'"):
        from_dict(Round, {"kind": "square"}, "shape")


def test_a_file_that_is_missing_or_no_settings_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        read_yaml(Config, path)
    for content in (b"a: [", b"- 1\n- 2", b"just text", b"\xff\xfe\x00", b"a: !!python/object:os.system {}"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"mine\.yaml"):
            read_yaml(Config, path)


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(Config()).replace(f"schema: {SCHEMA}", f"schema: {SCHEMA + 1}"))
    with pytest.raises(ConfigError, match=f"schema {SCHEMA + 1}; this version reads schema {SCHEMA}"):
        read_yaml(Config, path)


# --- single settings by path -----------------------------------------------------------------------


def test_a_setting_is_overridden_by_its_path_with_hyphens_or_without() -> None:
    config = override(Config(), {"data.crop-size": "128", "optimizer.learning_rate": "1e-3", "data.flip": "no"})
    assert (config.data.crop_size, config.optimizer.learning_rate, config.data.flip) == (128, 1e-3, False)
    assert config.data.load_size == 286
    assert Config().data.crop_size == 256
    assert override(Config(), {"data.background": "0, 128,255"}).data.background == (0, 128, 255)


def test_none_switches_an_optional_setting_off() -> None:
    config = Config(schedule=ScheduleConfig(num_steps=5))
    assert override(config, {"schedule.num_steps": "none"}).schedule.num_steps is None
    assert override(config, {"schedule.num-steps": "7"}).schedule.num_steps == 7
    with pytest.raises(ConfigError, match=r"run\.seed takes a whole number"):
        override(config, {"run.seed": "none"})


def test_another_kind_replaces_a_part_before_its_settings_are_applied() -> None:
    config = Config(discriminator=PatchGAN(base_channels=7, num_layers=2))
    assert override(config, {"discriminator.kind": "pixelgan"}).discriminator == PixelGAN()
    both = {"discriminator.base-channels": 3, "discriminator.kind": "pixelgan"}
    assert override(config, both).discriminator == PixelGAN(base_channels=3)
    assert override(config, {"discriminator.base-channels": 9}).discriminator == PatchGAN(base_channels=9, num_layers=2)
    with pytest.raises(ConfigError, match=r"'pixlegan' for discriminator\.kind"):
        override(config, {"discriminator.kind": "pixlegan"})


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("data.crop_sise", "did you mean data.crop_size?"),
        ("data.crop-sise", "did you mean data.crop_size?"),
        ("crop_size", "did you mean data.crop_size?"),
        ("learning-rate", "did you mean optimizer.learning_rate?"),
        ("data.crop_size.x", "Unknown setting data.crop_size.x"),
        ("nothing.like.it.at.all", "choose from: data.root"),
    ],
)
def test_an_unknown_path_is_an_error_with_the_nearest_known_one(path: str, suggestion: str) -> None:
    with pytest.raises(ConfigError) as error:
        override(Config(), {path: 1})
    assert suggestion in str(error.value)
    assert path.replace("-", "_") in str(error.value)
    assert len(str(error.value)) < 1000


def test_text_from_a_command_line_becomes_the_type_of_the_setting() -> None:
    assert convert(bool, "Yes", "x") is True
    assert convert(bool, "off", "x") is False
    assert convert(int, "+12", "x") == 12
    assert convert(int, "1e3", "x") == 1000
    assert convert(int, 2**60 + 1, "x") == 2**60 + 1
    assert convert(float, "1e-8", "x") == 1e-8
    assert convert(int | None, "null", "x") is None
    assert convert(str, "none", "x") == "none"
    assert convert(tuple[float, ...], "1, 2.5", "x") == (1.0, 2.5)
    assert convert(int | str, "3", "x") == 3
    assert convert(int | str | None, "three", "x") == "three"
    with pytest.raises(ConfigError, match=r"x takes a whole number or true or false, not 'maybe'"):
        convert(int | bool, "maybe", "x")


# --- what may change when a run is continued -------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "graph", "compile", "graph+compile"])
def test_what_is_experimental_is_off_unless_it_is_asked_for_by_name(name: str) -> None:
    run = override(RunConfig(), {"acceleration": name})
    assert (run.replays, run.compiles) == ("graph" in name, "compile" in name)
    assert RunConfig().acceleration == "none"


EARLIER = {
    "graph: auto\n  compile: false": "none",  # the defaults of earlier versions
    "graph: off\n  compile: true": "compile",
    "graph: auto": "none",
    "acceleration: graph+compile": "graph+compile",
    "compile: true\n  acceleration: graph": "graph",
}


@pytest.mark.parametrize("lines", EARLIER)
def test_files_with_the_switches_of_earlier_versions_are_read(tmp_path: Path, lines: str) -> None:
    (tmp_path / "config.yaml").write_text(f"schema: 1\nrun:\n  seed: 7\n  {lines}\n")
    for base in (None, Config()):
        run = read_yaml(Config, tmp_path / "config.yaml", base=base).run
        assert (run.seed, run.acceleration) == (7, EARLIER[lines])
    with pytest.raises(ConfigError, match=r"Unknown setting run\.graph"):
        override(Config(), {"run.graph": "off"})


FREE = {
    "DataConfig.root",
    "DataConfig.a",
    "DataConfig.b",
    "DataConfig.name_a",
    "DataConfig.name_b",
    "DataConfig.num_workers",
    "DataConfig.worker_retries",
    "DataConfig.bad_images",
    "DataConfig.cache_mb",
    "DataConfig.dtype_a",
    "DataConfig.dtype_b",
    "DataConfig.follow_symlinks",
    "RunConfig.device",
    "RunConfig.acceleration",
    "RunConfig.layout",
    "RunConfig.num_threads",
    "RunConfig.on_nonfinite",
    "RunConfig.log_every",
    "RunConfig.sample_every",
    "RunConfig.num_samples",
    "RunConfig.checkpoint_every",
    "RunConfig.keep_checkpoints",
    "RunConfig.tensorboard",
    "RunConfig.trust_images",
    "RunConfig.guardian",
    "RunConfig.guardian_every",
    "RunConfig.recompute",
    "RunConfig.accumulate",
    "RunConfig.held_out_every",
    "RunConfig.publish",
    "RunConfig.stop_when_flat",
    "RunConfig.memory",
    "RunConfig.memory_bf16",
}
"""Every setting that cannot change the training result. A new setting is added here or proved to change it."""


def every_part(cls: Any) -> Iterator[Any]:
    """Yield `cls` and every dataclass that a field below it may hold."""
    yield cls
    for hint in get_type_hints(cls).values():
        for option in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(option):
                yield from every_part(option)


def another(hint: Any, value: Any) -> Any:
    """Return a value of the type that differs from `value`; it need not make sense."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (*value, 7)
    return value + {str: "x", int: 1, float: 0.25}[type(value)]


def changed(cls: Any, name: str) -> Any:
    """Return a default `cls` with one field replaced, past its checks."""
    part = cls()
    object.__setattr__(part, name, another(get_type_hints(cls)[name], getattr(part, name)))
    return part


SETTINGS = [
    (cls, name.name)
    for cls in every_part(Config)
    for name in dataclasses.fields(cls)
    if not dataclasses.is_dataclass(getattr(cls(), name.name))
]


def test_the_free_settings_are_exactly_the_listed_ones() -> None:
    declared = {
        f"{cls.__name__}.{f.name}"
        for cls in every_part(Config)
        for f in dataclasses.fields(cls)
        if f.metadata.get("free")
    }
    assert declared == FREE


@pytest.mark.parametrize(("cls", "name"), SETTINGS, ids=lambda x: getattr(x, "__name__", x))
def test_a_changed_setting_is_a_difference_unless_it_is_free(cls: Any, name: str) -> None:
    found = differences(cls(), changed(cls, name))
    assert [difference.key for difference in found] == ([] if f"{cls.__name__}.{name}" in FREE else [name])


def test_every_part_of_the_configuration_is_looked_at() -> None:
    parts = {f.name: f.name for f in dataclasses.fields(Config)}
    for name in parts:
        default = getattr(Config(), name)
        cls = type(default)
        strict = next(f.name for f in dataclasses.fields(cls) if not f.metadata.get("free"))
        given = Config()
        object.__setattr__(given, name, changed(cls, strict))
        assert [difference.key for difference in differences(Config(), given)] == [f"{name}.{strict}"]


def test_another_kind_of_part_is_a_difference() -> None:
    found = differences(Config(), Config(discriminator=PixelGAN()))
    assert Difference(key="discriminator.kind", saved="patchgan", given="pixelgan") in found
    assert Difference(key="discriminator.num_layers", saved=3, given=None) in found


def test_a_difference_reads_as_saved_and_given() -> None:
    (difference,) = differences(Config(), override(Config(), {"run.seed": 4}))
    assert str(difference) == "run.seed: saved 0, given 4"
    assert differences(Config(), Config()) == []


def test_flattening_leaves_the_free_settings_out_and_keeps_the_order_of_the_tree() -> None:
    whole, strict = flatten(Config()), flatten(Config(), without_free=True)
    assert list(whole)[:3] == ["data.root", "data.a", "data.b"]
    assert [path for path in whole if path in strict] == list(strict)
    assert "run.seed" in strict
    assert "run.device" not in strict
    assert to_dict(Config())["data"]["background"] == [255, 255, 255]


# --- ranges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.load_size", 0),
        ("data.crop_size", 0),
        ("data.crop_size", 290),
        ("data.crop_size", 254),
        ("data.crop_size", 16),
        ("data.channels_a", 0),
        ("data.batch_size", 0),
        ("data.num_workers", -1),
        ("data.cache_mb", -1),
        ("data.background", [1, 2]),
        ("data.background", [1, 2, 256]),
        ("data.preprocess", "squash"),
        ("objective.cycle_weight_a", -1),
        ("objective.identity_weight", -0.1),
        ("objective.pool_size", -1),
        ("objective.adversarial", "wgan"),
        ("optimizer.learning_rate", 0),
        ("optimizer.discriminator_learning_rate", 0),
        ("optimizer.beta1", 1),
        ("optimizer.ema_decay", 1),
        ("schedule.num_steps", 0),
        ("run.seed", -1),
        ("run.num_samples", 0),
        ("run.log_every", -1),
        ("run.precision", "fp16"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_the_setting(path: str, value: object) -> None:
    with pytest.raises(ConfigError) as error:
        override(Config(), {path: value})
    assert path.split(".")[-1].removeprefix("num_") in str(error.value)


@pytest.mark.parametrize("nested", ["- " * 200 + "1", "".join(" " * depth + "a:\n" for depth in range(200))])
def test_deep_nesting_is_refused_before_any_value_is_built(nested: str, tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text(nested)
    with pytest.raises(ConfigError, match="more than 100 levels of nesting"):
        load_yaml(tmp_path / "deep.yaml")


def test_both_parsers_read_the_configuration_of_a_path_that_is_no_unicode(tmp_path: Path) -> None:
    text = to_yaml(override(paper(), {"data.root": "odd \udcff"}))
    (tmp_path / "odd.yaml").write_text(text)
    (tmp_path / "even.yaml").write_text(text.replace("\\uDCFF", "Ã"))
    odd, even = (load_yaml(tmp_path / f"{name}.yaml") for name in ("odd", "even"))
    assert odd["data"].pop("root") == "odd \udcff"
    assert even["data"].pop("root") == "odd Ã"
    assert odd == even
