#!/usr/bin/env bash
# Ray Data refuses a column with arrays of several types of values, which a folder of 8-bit and 16-bit images has.
#
# Arrays of several sizes in one column are fine (a variable-shaped tensor), and so are uint8 and uint16 in columns of
# their own. In one column, a block with uint8 arrays and one with uint16 arrays cannot be combined: the pipeline fails
# at the first batch with both, after everything before it was computed; whether it fails thus depends on the order of
# the files and the size of the batches. A view of the bytes, array.view(numpy.uint8), and the type in a column of its
# own get through.
#
# Seen with ray 2.60.0, numpy 2.4.6, Python 3.11:
#   8 and 8 bits, two sizes: 2 arrays
#   8 and 16 bits: Can't unify tensor types with divergent scalar types
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "ray[data]==2.60.0" numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
SIZES = (3, 4)


def result(types):
    def read(batch):
        images = np.empty(len(batch["item"]), object)
        for place, number in enumerate(batch["item"]):
            images[place] = np.zeros((SIZES[number], 2, 1), types[number])
        return {"image": images}

    data = ray.data.from_items([0, 1], override_num_blocks=1).map_batches(read, batch_size=1)
    try:
        return f"{len(data.take_all())} arrays"
    except Exception as error:
        sentence = "Can't unify tensor types with divergent scalar types"
        return sentence if sentence in str(error) else repr(error)


alike, mixed = result(("uint8", "uint8")), result(("uint8", "uint16"))
print("8 and 8 bits, two sizes:", alike)
print("8 and 16 bits:", mixed)
sys.exit((alike, mixed) != ("2 arrays", "Can't unify tensor types with divergent scalar types"))
PYTHON
