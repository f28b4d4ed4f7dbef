#!/usr/bin/env bash
# Ray Data waits for ever, without a warning, if a fixed pool of actors occupies all processors and reading is a stage
# of its own.
#
# range(64).map_batches(Class, batch_size=16, compute=ActorPoolStrategy(size=2)) on two processors: both actors start
# first and keep a processor each until the pipeline ends; the reading task needs one as well and is never run, so the
# actors never get a batch. The progress log says "Active & requested resources: 3/2 CPU" again and again. With one actor
# the same pipeline takes seconds, and without batch_size it does too, because reading is then fused into the actors.
# Stages after the pool wait in the same way until the pool has finished everything, so all its results pile up in the
# object store. from_items() has no reading task; a stage that reads and writes inside the actors needs no other
# processor.
#
# Seen with ray 2.60.0, Python 3.11, ray.init(num_cpus=2), on two busy cores:
#   1 actor: finished
#   2 actors: not finished after 120 s
# Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "ray[data]==2.60.0"
cat > "$folder/pipeline.py" <<'PYTHON'
import sys

import ray
from ray.data import ActorPoolStrategy


class Same:
    def __call__(self, batch):
        return batch


ray.init(num_cpus=2, include_dashboard=False)
pool = ActorPoolStrategy(size=int(sys.argv[1]))
assert len(ray.data.range(64).map_batches(Same, batch_size=16, compute=pool).take_all()) == 64
PYTHON
ended() {
    if timeout 120 "$folder/venv/bin/python" "$folder/pipeline.py" "$1" >"$folder/log-$1" 2>&1; then echo finished; else
        [ $? = 124 ] && echo "not finished after 120 s" || echo failed; fi
}
one=$(ended 1) two=$(ended 2)
echo "1 actor: $one"
echo "2 actors: $two"
[ "$one" = finished ] && [ "$two" = "not finished after 120 s" ]
