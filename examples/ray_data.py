"""Translate folders of images with Ray Data, on the processors of one machine or on a cluster.

    pip install unpaired "ray[data]"
    python ray_data.py MODEL IMAGES --out OUT --workers 2
    python ray_data.py MODEL IMAGES --out OUT --workers 16 --gpus 1 --address auto

MODEL, IMAGES and OUT are folders that all machines see under the same path. The files in OUT are those of
`unpaired translate MODEL IMAGES --out OUT`, byte for byte, for the same number of threads. `--resume` goes on with a
job that was stopped.

A translator is pickled as the path of its folder, so each worker loads the model once. If a worker dies, Ray starts
another one and repeats its batches.

For a pipeline of your own: in `Translate.__call__`, use `read_columns`, `translate_columns` and `write_columns` of
`unpaired.translate.columns` one by one, or call the translator with a list of arrays.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy

import unpaired
from unpaired.errors import UnpairedError
from unpaired.translate.columns import plan_rows, translate_batch

BATCH = 16  # images


class Translate:
    """A worker. Ray unpickles the translator when it starts one, and calls it with batches from then on."""

    def __init__(self, translator: unpaired.Translator, direction: str) -> None:
        self._translator, self._direction = translator, direction

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Read, translate and write a batch, in one stage.

        A stage of its own for writing would wait until the workers are done, if they occupy all processors.
        """
        return translate_batch(batch, translator=self._translator, direction=self._direction)


def main() -> int:
    """Translate, print the failures and return 65 if there are any, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--direction", default="AtoB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpus", type=float, default=0, help="GPUs per worker")
    parser.add_argument("--address", help="of a Ray cluster, or auto; by default a cluster of this machine is started")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    translator = unpaired.load(options.model, precision="auto")
    rows = plan_rows(translator, options.images, options.out, direction=options.direction, resume=options.resume)
    if not rows:
        print("All images are translated already.")
        return 0

    local = {} if options.address else {"num_cpus": max(options.workers, os.cpu_count() or 1)}
    ray.init(address=options.address, **local)
    blocks = min(len(rows), max(4 * options.workers, len(rows) // 256))
    results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        Translate,
        fn_constructor_kwargs={"translator": translator, "direction": options.direction},
        compute=ActorPoolStrategy(size=options.workers),
        num_gpus=options.gpus,
        batch_size=BATCH,
    )
    failures = [row["error"] for row in results.iter_rows() if row["error"]]
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(f"Translated {len(rows) - len(failures)} of {len(rows)} images into {options.out}")
    return 65 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnpairedError as error:  # one sentence: a wrong path, results that exist, a full disk
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
