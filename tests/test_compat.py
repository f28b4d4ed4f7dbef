"""What torch does not promise to keep is in one file, is there, and is used nowhere else."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import unpaired
from unpaired.compat import torch_private
from unpaired.compat.collector import collector_paused
from unpaired.compat.torch_private import PRIVATE, storage_key, withhold_updates

SOURCE = Path(unpaired.__file__).parent
HOME = SOURCE / "compat" / "torch_private.py"
PRIVATE_NAME = re.compile(
    r"\b(torch(\.\w+)*\._(?!_version__)\w+|from torch\S* import .*\b_[a-zA-Z]\w*|found_inf|_cdata)\b"
)


@pytest.mark.parametrize("name", PRIVATE)
def test_each_name_is_there_and_has_a_reason(name: str) -> None:
    assert getattr(torch_private, name) is getattr(torch_private, name)
    assert PRIVATE[name].reason.endswith(".")
    assert "_" in f"{PRIVATE[name].module}.{PRIVATE[name].name}"


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = torch_private.Nothing


def test_private_names_of_torch_are_used_in_one_file_alone() -> None:
    assert len(PRIVATE_NAME.findall(HOME.read_text(encoding="utf-8"))) >= len(PRIVATE)
    for path in set(SOURCE.rglob("*.py")) - {HOME}:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.split("  #")[0]
            assert not PRIVATE_NAME.search(code), f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, unpaired.compat.torch_private; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_views_share_the_key_of_their_storage_and_other_tensors_do_not() -> None:
    with torch_private.FakeTensorMode():
        one, other = torch.zeros(4), torch.zeros(4)
        keys = [storage_key(each.untyped_storage()) for each in (one, one[1:], other)]
    assert keys[0] == keys[1] != keys[2]


def test_updates_are_withheld_where_the_tensor_is_one() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    adam, bad = torch.optim.Adam([weight], fused=True), torch.ones(())
    weight.grad = torch.ones(3)
    withhold_updates(adam, bad)
    adam.step()
    assert torch.equal(weight, torch.ones(3))
    bad.zero_()
    adam.step()
    assert not torch.equal(weight, torch.ones(3))


def test_the_collector_is_paused_and_goes_on_as_before() -> None:
    def failing() -> None:
        with collector_paused():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
