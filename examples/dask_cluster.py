"""Translate folders of images with Dask, on the processors of one machine or on a cluster.

    pip install unpaired "dask[distributed]"
    python dask_cluster.py MODEL IMAGES --out OUT --workers 2
    python dask_cluster.py MODEL IMAGES --out OUT --scheduler tcp://first.example:8786

MODEL, IMAGES and OUT are folders that all machines see under the same path. The files in OUT are those of
`unpaired translate MODEL IMAGES --out OUT`, byte for byte, for the same number of threads. `--resume` goes on with a
job that was stopped.

A task reads, translates and writes a batch of images, so pixels stay in one worker. A translator is pickled as the path
of its folder, so each worker loads the model once. If a worker dies, Dask repeats its batches on another one.

For a pipeline of your own: in `work`, use `read_columns`, `translate_columns` and `write_columns` of
`unpaired.translate.columns` one by one, or call the translator with a list of arrays.

On a cluster, start workers with one thread each, as the local ones here: `dask worker ADDRESS --nthreads 1`.
"""

from __future__ import annotations

import argparse
import itertools
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, as_completed

import unpaired
from unpaired.errors import UnpairedError
from unpaired.translate.columns import plan_rows, translate_batch

BATCH = 16  # images
AHEAD = 4  # batches per worker that the scheduler knows of at once, so that millions of images do not fill its memory


def work(rows: Sequence[Mapping[str, str]], translator: unpaired.Translator, direction: str) -> dict[str, list[Any]]:
    """Read, translate and write one batch in a worker; return its sources, targets and errors."""
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    return translate_batch(batch, translator=translator, direction=direction)


def run(
    client: Client, translator: unpaired.Translator, rows: Sequence[Mapping[str, str]], direction: str
) -> Iterator[dict[str, list[Any]]]:
    """Yield the results of the batches as they are finished."""
    # As bytes, because the scheduler unpickles arguments too, and would load the model.
    shared = client.submit(pickle.loads, pickle.dumps(translator))
    batches = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
    room = AHEAD * len(client.scheduler_info(n_workers=-1)["workers"])
    running = as_completed([client.submit(work, batch, shared, direction) for batch in itertools.islice(batches, room)])
    for finished in running:
        yield finished.result()
        for batch in itertools.islice(batches, 1):
            running.add(client.submit(work, batch, shared, direction))


def main() -> int:
    """Translate, print the failures and return 65 if there are any, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--direction", default="AtoB")
    parser.add_argument("--workers", type=int, default=2, help="of a cluster that is started on this machine")
    parser.add_argument("--scheduler", help="address of a running cluster, instead")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    translator = unpaired.load(options.model, precision="auto")
    rows = plan_rows(translator, options.images, options.out, direction=options.direction, resume=options.resume)
    if not rows:
        print("All images are translated already.")
        return 0

    with ExitStack() as held:
        own = LocalCluster(n_workers=options.workers, threads_per_worker=1) if options.scheduler is None else None
        client = held.enter_context(Client(options.scheduler if own is None else held.enter_context(own)))
        results = list(run(client, translator, rows, options.direction))
    failures = [error for result in results for error in result["error"] if error]
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
