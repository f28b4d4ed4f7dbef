#!/usr/bin/env bash
# Dask's scheduler unpickles the arguments of client.submit, so an object that loads a model when it is unpickled loads
# it in the scheduler too, which may have neither the memory nor the libraries.
#
# The scheduler runs no tasks, but with client.submit(function, object)
# __reduce__ of the object is run in the scheduler's process before it is run in the worker's. An object given as
# pickle.dumps(object) is a string of bytes to the scheduler: submit pickle.loads on it, and pass the future.
#
# Seen with distributed 2026.8.0, Python 3.11, scheduler and worker in processes of their own:
#   submit(use, object): unpickled in scheduler, worker
#   submit(pickle.loads, bytes): unpickled in worker
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"; kill $(jobs -p) 2>/dev/null || true' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "distributed==2026.8.0"
cat > "$folder/loaded.py" <<'PYTHON'
import os


class Loaded:
    def __reduce__(self):
        return load, ()


def load():
    with open(os.environ["LOADS"], "a") as file:
        file.write(os.environ["ROLE"] + "\n")
    return Loaded()


def use(loaded):
    return type(loaded).__name__
PYTHON
cat > "$folder/client.py" <<'PYTHON'
import os
import pickle
import sys
from pathlib import Path

from distributed import Client
from loaded import Loaded, use

log = Path(os.environ["LOADS"])


def loads(call):
    log.write_text("")
    assert call() == "Loaded"
    return ", ".join(dict.fromkeys(log.read_text().split()))


with Client("tcp://127.0.0.1:18786") as client:
    client.wait_for_workers(1)
    given = loads(lambda: client.submit(use, Loaded(), pure=False).result())
    data = pickle.dumps(Loaded())
    sent = loads(lambda: client.submit(use, client.submit(pickle.loads, data), pure=False).result())
print("submit(use, object): unpickled in", given)
print("submit(pickle.loads, bytes): unpickled in", sent)
sys.exit((given, sent) != ("scheduler, worker", "worker"))
PYTHON
export LOADS="$folder/loads" PYTHONPATH="$folder"
cd "$folder"
ROLE=scheduler venv/bin/dask scheduler --host 127.0.0.1 --port 18786 --no-dashboard >scheduler.log 2>&1 &
ROLE=worker venv/bin/dask worker tcp://127.0.0.1:18786 --nworkers 1 --nthreads 1 --no-dashboard >worker.log 2>&1 &
ROLE=client venv/bin/python client.py
