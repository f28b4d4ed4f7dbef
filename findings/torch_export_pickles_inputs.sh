#!/usr/bin/env bash
# torch 2.13.0: torch.export.save writes a torch.save archive, hence a pickle, into every .pt2, for the example inputs.
#
# Expected: an exported program is a graph in JSON and raw weights; without example inputs there is nothing left that
# needs pickling. Behaviour: data/sample_inputs/model.pt is a zip with a data.pkl, and it is there even if
# `_example_inputs` is None. A project that promises files without pickles has to empty that entry; torch loads the
# archive then all the same, without a warning.
#
# Output with torch 2.13.0, Python 3.11, x86-64:
#   with inputs       pickled: ['data/sample_inputs/model.pt']
#   without inputs    pickled: ['data/sample_inputs/model.pt']
#   emptied           loads, largest difference 0.0
# Exits non-zero once a program without example inputs holds no pickle, or the emptied archive no longer loads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import io
import zipfile

import torch

print("torch", torch.__version__)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
program = torch.export.export(network, (image,))


def pickled(path: str) -> list[str]:
    """Return the entries, without the folder's name, that are archives of torch.save."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            inner = zipfile.is_zipfile(io.BytesIO(content))
            if inner and any(entry.endswith(".pkl") for entry in zipfile.ZipFile(io.BytesIO(content)).namelist()):
                found.append(name.split("/", 1)[1])
    return found


torch.export.save(program, "with.pt2")
print("with inputs       pickled:", pickled("with.pt2"))
program._example_inputs = None
torch.export.save(program, "without.pt2")
print("without inputs    pickled:", pickled("without.pt2"))
with zipfile.ZipFile("without.pt2") as before, zipfile.ZipFile("emptied.pt2", "w") as after:
    for entry in before.infolist():
        after.writestr(entry, b"" if entry.filename.endswith("sample_inputs/model.pt") else before.read(entry))
loaded = torch.export.load("emptied.pt2").module()
difference = float((loaded(image) - network(image)).abs().max())
print("emptied           loads, largest difference", difference)
assert pickled("without.pt2") == ["data/sample_inputs/model.pt"], "a program without inputs holds no pickle any more"
assert pickled("emptied.pt2") == []
assert difference == 0
PYTHON
