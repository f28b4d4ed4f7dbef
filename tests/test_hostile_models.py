"""Models from strangers: nothing in them is run, and nothing costs more than the files are large."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unpaired
from test_hostile import LINUX, measure, message_of, run, write_small_model
from test_official import CALLS, Payload, Resnet, attacks, good, nested, saved
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint, load_newest, save_checkpoint
from unpaired.config import load_yaml, read_yaml
from unpaired.errors import CheckpointError, ConfigError, ModelError, UnpairedError
from unpaired.interop.official import import_official
from unpaired.networks import DCGANDiscriminator, ImageGAN, PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from unpaired.recipes import Config
from unpaired.translate import read_model

SOURCE = Path(unpaired.__file__).parent

# --- nothing is run --------------------------------------------------------------------------------

MORE_CALLS: dict[str, Callable[[Path], Payload]] = {
    "subprocess": lambda sentinel: Payload(subprocess.getoutput, f"touch {sentinel}"),
    "open": lambda sentinel: Payload(open, str(sentinel), "w"),
    "a method by name": lambda sentinel: Payload(getattr, Payload(Path, str(sentinel)), "touch"),
    "compile": lambda sentinel: Payload(compile, f"open({str(sentinel)!r}, 'w')", "x", "exec"),
    "numpy": lambda sentinel: Payload(np.save, str(sentinel), 1),
    "torch.save": lambda sentinel: Payload(torch.save, 1, str(sentinel)),
    "import": lambda sentinel: Payload(__import__, "antigravity"),
}


def pickled_array(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def zip_in_zip(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", saved({"w": payload}))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


FORMS: dict[str, Callable[[Payload], bytes]] = {
    **attacks(Path()),
    "an array of objects": pickled_array,
    "zip in zip": zip_in_zip,
    "the last of two pickles": lambda payload: pickle.dumps({}) + pickle.dumps(payload),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_payload_runs_whatever_its_form_its_name_and_the_command(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentinel = tmp_path / "run"
    for call in {**CALLS, **MORE_CALLS}.values():
        content = FORMS[form](call(sentinel))
        for name in ("latest_net_G.pth", "AtoB.safetensors"):
            (tmp_path / name).write_bytes(content)
            assert run("import", str(tmp_path / name), "--out", str(tmp_path / "m")) == 65
            message = capsys.readouterr().err
            assert message.count("\n") == 1
            assert re.search(r"not run|nothing of it was run|nothing in it was run|was not read", message), message
            assert run("translate", str(tmp_path / name), "x.png") == 65
            assert "`unpaired import" in capsys.readouterr().err
        assert not sentinel.exists()
        assert "antigravity" not in sys.modules
        sentinel.with_name("run.npy").unlink(missing_ok=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_payload_in_a_model_folder_is_not_run(form: str, tmp_path: Path) -> None:
    sentinel, model = tmp_path / "run", write_small_model(tmp_path / "model")
    replace_weights(model, FORMS[form](CALLS["os.system"](sentinel)))
    with pytest.raises(ModelError, match=r"AtoB\.safetensors .*copy it again"):
        read_model(model)
    assert not sentinel.exists()


def test_weights_under_the_wrong_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(safetensors.torch.save(Resnet(3, 3, 2, 6).state_dict()))
    with pytest.raises(ModelError, match=r"is a file of safetensors.*give its \.pth file"):
        import_official(tmp_path / "net.pth", tmp_path / "model")
    (tmp_path / "net.safetensors").write_bytes(saved(good()))  # a good file of torch: the name does not matter
    assert import_official(tmp_path / "net.safetensors", tmp_path / "model").info.directions


def replace_weights(model: Path, content: bytes) -> None:
    """Put other weights into a model folder, with the SHA-256 that belongs to them."""
    (model / "AtoB.safetensors").write_bytes(content)
    data = json.loads((model / "model.json").read_text())
    data["directions"]["AtoB"]["sha256"] = hashlib.sha256(content).hexdigest()
    (model / "model.json").write_text(json.dumps(data))


# --- nothing costs more than the file is large -----------------------------------------------------


def many_objects(zipped: bool) -> bytes:
    """A pickle of 8 MB that becomes half a gigabyte of empty lists."""
    objects = b"\x80\x02(" + b"]" * (8 * 10**6) + b"l."
    if not zipped:
        head = saved({}, zipped=False)
        return head[: head.index(b".", head.index(b"little_endian")) + 1] + objects
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", objects)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def claiming(numel: int, shape: tuple[int, ...], strides: tuple[int, ...], zipped: bool = True) -> bytes:
    """A file whose pickle claims a storage of `numel` numbers, of which the file holds four."""

    class Claim:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, shape, strides, False, {})

    class Storage:
        pass

    class Writer(pickle._Pickler):  # the one in Python, as it supports persistent ids
        def persistent_id(self, item: Any) -> Any:
            known = ("storage", torch.FloatStorage, "0", "cpu", numel)
            return known + (() if zipped else (None,)) if isinstance(item, Storage) else None

    pickled = io.BytesIO()
    Writer(pickled, protocol=2).dump({"model.1.weight": Claim()})
    if not zipped:
        head = saved({}, zipped=False)
        start = head[: head.index(b".", head.index(b"little_endian")) + 1]
        return start + pickled.getvalue() + pickle.dumps(["0"], protocol=2) + struct.pack("<q", numel) + bytes(16)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/data/0", bytes(16))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def many_entries() -> bytes:
    """A zip that lists 100,000 entries."""
    record = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    listed = b"".join(record + b"%07d" % number for number in range(100_000))
    start = b"PK\3\4" + bytes(26)
    return start + listed + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 34_464, 34_464, len(listed), len(start), 0)


def overlapping() -> bytes:
    base = torch.zeros(40)
    return saved({"a": base[:30], "b": base[10:]})


COSTLY: dict[str, Callable[[], bytes]] = {
    "expanded": lambda: saved({"model.1.weight": torch.ones(1).expand(1 << 22, 64, 7, 7)}),
    "overlapping": overlapping,
    "many objects": lambda: many_objects(True),
    "many objects, old form": lambda: many_objects(False),
    "many entries": many_entries,
    "storage of 4 TB": lambda: claiming(10**12, (10**12,), (1,)),
    "storage of 8 GB": lambda: claiming(2 * 10**9, (2 * 10**9,), (1,)),
    "storage of 8 GB, old form": lambda: claiming(2 * 10**9, (2 * 10**9,), (1,), False),
    "negative storage": lambda: claiming(-4, (4,), (1,)),
    "negative shape": lambda: claiming(4, (-4,), (1,)),
    "negative stride": lambda: claiming(4, (4,), (-1,)),
    "beyond its storage": lambda: claiming(4, (4000,), (1,)),
    "of no stride": lambda: claiming(4, (10**6, 10**6), (0, 0)),
    "all dimensions": lambda: claiming(4, (1,) * 1000, (1,) * 1000),
    "deep": lambda: b"\x80\x02" + b"(" * 10**5 + b"l" * 10**5 + b".",
}


@LINUX
def test_no_official_file_costs_more_than_it_is_large(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{number}.pth" for number, name in enumerate(COSTLY)}
    for name, path in paths.items():
        path.write_bytes(COSTLY[name]())
    found = measure("official", *paths.values())["results"]
    for name, path in paths.items():
        outcome, seconds, megabytes = found[str(path)]
        assert outcome.startswith(str(path)), (name, outcome)
        assert outcome.isprintable(), name
        assert megabytes <= path.stat().st_size / 2**20 + 64, (name, megabytes)
        assert seconds <= 5, (name, seconds)


def header(entries: dict[str, Any], length: int | None = None, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def good_entries(**changes: Any) -> tuple[dict[str, Any], bytes]:
    """Return header and data of weights that fit the small model, with entries changed."""
    network = ResNetGenerator(base_channels=2, num_blocks=1).build(3, 3)
    content = safetensors.torch.save(network.state_dict())
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    for key, value in changes.items():
        entries[key.replace("__", ".")] |= value
    return entries, content[8 + length :]


def changed(**changes: Any) -> bytes:
    entries, data = good_entries(**changes)
    return header(entries, data=data)


MODELS: dict[str, Callable[[], bytes]] = {
    "header of 2 GB": lambda: header({}, length=2**31, data=bytes(100)),
    "header of 8 EB": lambda: header({}, length=2**63 - 1, data=bytes(100)),
    "header of 20 MB": lambda: header({"__metadata__": {"x": "y" * 20 * 10**6}}),
    "header of many entries": lambda: header(
        {str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_000)}
    ),
    "deep header": lambda: struct.pack("<Q", 2 * 10**5) + b"[" * 10**5 + b"]" * 10**5,
    "negative shape": lambda: changed(head__1__bias={"shape": [-3]}),
    "absurd shape": lambda: changed(head__1__bias={"shape": [2**62, 2**62]}),
    "negative place": lambda: changed(head__1__bias={"data_offsets": [-12, 0]}),
    "place beyond the end": lambda: changed(head__1__bias={"data_offsets": [2**40, 2**40 + 12]}),
    "one memory for two": lambda: changed(head__1__bias={"data_offsets": [0, 12]}),
    "whole numbers": lambda: changed(head__1__bias={"dtype": "I32"}),
    "unknown numbers": lambda: changed(head__1__bias={"dtype": "F7"}),
    "cut": lambda: changed()[:-4],
    "nothing": lambda: b"",
    "four bytes": lambda: b"\0\0\0\0",
}


@LINUX
def test_no_model_folder_costs_more_than_its_files_are_large(tmp_path: Path) -> None:
    paths = {name: write_small_model(tmp_path / f"{number}") for number, name in enumerate(MODELS)}
    for name, path in paths.items():
        replace_weights(path, MODELS[name]())
    replace_weights(write_small_model(tmp_path / "good"), changed())
    found = measure("model", *paths.values(), tmp_path / "good")["results"]
    assert found.pop(str(tmp_path / "good"))[0] == "read"
    for name, path in paths.items():
        outcome, seconds, megabytes = found[str(path)]
        assert outcome.startswith(str(path)), (name, outcome)
        assert megabytes <= (path / "AtoB.safetensors").stat().st_size / 2**20 + 64, (name, megabytes)
        assert seconds <= 2, (name, seconds)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_weights_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "latest_net_G.pth")
    with pytest.raises(ModelError, match="a pipe or a device"):
        import_official(tmp_path / "latest_net_G.pth", tmp_path / "out")
    (tmp_path / "latest_net_G.pth").unlink()
    (tmp_path / "latest_net_G.pth").write_bytes(saved(good()))
    os.mkfifo(tmp_path / "train_opt.txt")
    assert import_official(tmp_path / "latest_net_G.pth", tmp_path / "out").folder.is_dir()
    model = write_small_model(tmp_path / "model")
    (model / "AtoB.safetensors").unlink()
    os.mkfifo(model / "AtoB.safetensors")
    with pytest.raises(ModelError, match="a pipe or a device"):
        read_model(model)


# --- descriptions: model.json, config.yaml, checkpoints --------------------------------------------

ABSURD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"base_channels": 10**9}, {}),
    ({"num_blocks": 10**9}, {}),
    ({"num_downs": 10**9}, {}),
    ({"base_channels": 1024, "num_downs": 5, "num_blocks": 64}, {}),
    ({"base_channels": 1024, "num_blocks": 64}, {}),
    ({"base_channels": 10**400}, {}),
    ({"kind": "unet", "num_downs": 12, "base_channels": 1024}, {}),
    ({"kind": "dcgan", "size": 2**30}, {}),
    ({}, {"in_channels": 10**9}),
    ({}, {"out_channels": 2**63}),
    ({}, {"in_channels": -1}),
    ({}, {"in_channels": "three"}),
    ({"base_channels": 1.5}, {}),
    ({"kind": "os.system"}, {}),
    ({"kind": "__import__('os')"}, {}),
    ({"__class__": "x"}, {}),
]


@pytest.mark.parametrize(("generator", "entry"), ABSURD)
def test_an_absurd_network_is_refused_before_it_is_built(
    generator: dict[str, Any], entry: dict[str, Any], tmp_path: Path
) -> None:
    model = write_small_model(tmp_path / "model")
    data = json.loads((model / "model.json").read_text())
    described = data["directions"]["AtoB"]
    if "kind" in generator:
        described["generator"] = {}
    described["generator"].update(generator)
    described.update(entry)
    (model / "model.json").write_text(json.dumps(data))
    started = time.process_time()
    with pytest.raises(ModelError) as caught:
        read_model(model)
    assert time.process_time() - started < 1
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize(
    ("network", "field", "most"),
    [
        (ResNetGenerator, "base_channels", 1024),
        (ResNetGenerator, "num_blocks", 64),
        (UNetGenerator, "base_channels", 1024),
        (PatchGAN, "base_channels", 1024),
        (PatchGAN, "num_discriminators", 16),
        (PixelGAN, "base_channels", 1024),
        (ImageGAN, "base_channels", 1024),
        (DCGANDiscriminator, "base_channels", 1024),
    ],
)
def test_what_costs_memory_has_a_most(network: Any, field: str, most: int) -> None:
    assert network(**{field: most})
    for count in (0, most + 1, 10**400):
        with pytest.raises(ConfigError, match=f"{field} must be 1 to {most}, not"):
            network(**{field: count})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**12), max_value=10**12)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["AtoB", "resnet", "unet", "dcgan", "training", "../../x", "os.system", "\x1b[2J", "\udcff"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value within."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("fuzzed") / "model")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.data())
def test_no_model_json_does_anything_but_describe(fuzzed: Path, draw: st.DataObject) -> None:
    whole = fuzzed.parent / "whole.json"
    if not whole.exists():
        whole.write_text((fuzzed / "model.json").read_text())
    data = json.loads(whole.read_text())
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.sampled_from(places(data)))
        value, node = draw.draw(values), data
        for key in at[:-1]:
            node = node[key]
        if not at:
            data = value
        elif isinstance(node, dict) and draw.draw(st.booleans()):
            node[draw.draw(st.text(max_size=10))] = value
        else:
            node[at[-1]] = value
    (fuzzed / "model.json").write_text(json.dumps(data))
    before, started = set(sys.modules), time.process_time()
    message = message_of(read_model, fuzzed)
    assert message.isprintable()
    assert not message or message.startswith(str(fuzzed))
    assert time.process_time() - started < 2
    assert {name for name in set(sys.modules) - before if not name.startswith(("torch", "unpaired", "numpy"))} == set()


def laughs() -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines) + "\ndata: *a11\n"


HOSTILE_YAML = {
    "laughs": laughs(),
    "merged": "base: &b {root: x}\ndata:\n  <<: *b\n",
    "an object": "data: !!python/object/apply:os.system ['touch owned']\n",
    "a name": "data: !!python/name:os.system\n",
    "deep": "data: " + "[" * 20_000 + "]" * 20_000,
    "a long number": "run:\n  seed: " + "9" * 5000,
    "an unknown day": "run:\n  seed: 2001-99-99",
    "a day": "run:\n  seed: 2001-09-09",
    "infinite": "optimizer:\n  learning_rate: .inf",
    "large": "# " + "x" * 2**21,
    "bytes": "run:\n  seed: !!binary aGVsbG8=",
    "a set": "data: !!set {a, b}",
    "huge network": "generator:\n  kind: resnet\n  num_blocks: 1000000000",
    "control": "data:\n  'x\\e[2J': 1",
}


@pytest.mark.parametrize("kind", HOSTILE_YAML)
def test_no_configuration_file_costs_time_or_does_anything(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(HOSTILE_YAML[kind])
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read_yaml(Config, tmp_path / "config.yaml")
    assert time.process_time() - started < 2
    assert len(str(caught.value)) < 1500
    assert not (tmp_path / "owned").exists()


def test_values_of_yaml_are_those_of_the_library(tmp_path: Path) -> None:
    text = "a: [1, 2.5, yes, null, text]\nb: {c: 0x10, d: 'q'}\n"
    (tmp_path / "x.yaml").write_text(text)
    assert load_yaml(tmp_path / "x.yaml") == yaml.safe_load(text)


def resealed(checkpoint: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest as someone does who knows how it is sealed."""
    path = checkpoint / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    del manifest["manifest_sha256"]
    edit(manifest)

    def text(data: dict[str, Any]) -> bytes:
        return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()

    path.write_bytes(text({**manifest, "manifest_sha256": hashlib.sha256(text(manifest)).hexdigest()}))


def facts(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no files": lambda manifest: manifest.pop("files"),
    "files that are a list": lambda manifest: manifest.update(files=[1]),
    "a file without facts": lambda manifest: manifest["files"].update({"state.json": 3}),
    "a file above": lambda manifest: manifest["files"].update({"../../secret.json": facts(b"{}")}),
    "a file elsewhere": lambda manifest: manifest["files"].update({"/etc/hostname": facts(b"")}),
    "no state": lambda manifest: manifest["files"].pop("state.json"),
    "no step": lambda manifest: manifest.pop("step"),
    "step in words": lambda manifest: manifest.update(step="one"),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_is_sealed_and_wrong_is_a_damaged_checkpoint(kind: str, tmp_path: Path) -> None:
    weights = {"weights": {"w": torch.zeros(2)}, "optim": {}, "pool": {}}
    save_checkpoint(tmp_path / "run" / "c", weights, {"step": 1}, log_lines=0, made_with={}, keep=2)
    (tmp_path / "secret.json").write_bytes(b"{}")
    (checkpoint,) = list_checkpoints(tmp_path / "run" / "c")
    resealed(checkpoint, MANIFESTS[kind])
    with pytest.raises(CheckpointError):
        load_checkpoint(checkpoint)
    assert load_newest(tmp_path / "run" / "c")[0] is None


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", header({}, length=2**40), b"\xff" * 100])
def test_weights_of_a_checkpoint_that_are_none_are_damage(content: bytes, tmp_path: Path) -> None:
    weights = {"weights": {"w": torch.zeros(2)}, "optim": {}, "pool": {}}
    save_checkpoint(tmp_path, weights, {"step": 1}, log_lines=0, made_with={}, keep=2)
    (checkpoint,) = list_checkpoints(tmp_path)
    (checkpoint / "weights.safetensors").write_bytes(content)
    resealed(checkpoint, lambda manifest: manifest["files"].update({"weights.safetensors": facts(content)}))
    with pytest.raises(CheckpointError):
        load_checkpoint(checkpoint)


# --- the code itself -------------------------------------------------------------------------------

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_METHODS = {
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "torch.jit.load", "torch.hub.load"),
    *("np.load", "numpy.load", "subprocess.getoutput"),
}
FORBIDDEN_WORDS = {"weights_only": False, "trust_remote_code": True, "shell": True, "allow_pickle": True}


def breaches(text: str) -> list[str]:
    """Return the findings of the rules in a Python file."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: word.value for word in node.keywords}
            bad = called in FORBIDDEN_CALLS | FORBIDDEN_METHODS
            bad |= called == "torch.load" and ast.unparse(given.get("weights_only", ast.Constant(None))) != "True"
            for word, value in FORBIDDEN_WORDS.items():
                bad |= word in given and not (isinstance(given[word], ast.Constant) and given[word].value is not value)
            found += [called] if bad else []
    return found


def test_the_source_has_nothing_that_runs_what_a_file_says() -> None:
    found = {path.name: breaches(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}
    assert len(found) > 50
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, weights_only=flag)",
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "yaml.load(f)",
        "yaml.load(f, Loader=yaml.SafeLoader)",
        "subprocess.run('ls', shell=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "np.load(f, allow_pickle=True)",
        "os.system('ls')",
    ],
)
def test_the_rules_find_what_they_are_for(line: str) -> None:
    assert breaches(line)


def test_the_payloads_are_such_that_would_run() -> None:
    assert isinstance(pickle.loads(nested(Payload(abs, -1))), int)
    assert issubclass(ModelError, UnpairedError)
