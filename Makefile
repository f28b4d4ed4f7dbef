# Each target is a line anyone can paste. `make demo` and `make test` need Python >= 3.11 and nothing before them.
PYTHON ?= python3
# The build of torch that is tested here. On Linux the plain package brings several GB for NVIDIA GPUs; set
# TORCH_INDEX to an index of CPU builds to do without them.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
CORPUS ?=
SECONDS ?= 600
OFFICIAL ?=
BENCH ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo bench test check docs slow faults mutants gpu fuzz golden dist clean help

help:
	@echo "make demo    train on drawn scenes, translate, score, in minutes on two cores"
	@echo "make bench   time training and translating, into runs/bench.md: OFFICIAL=CLONE times the official"
	@echo "             code beside it, BENCH='--size 64 --rounds 3' are other options of unpaired bench"
	@echo "make test    the test suite"
	@echo "make check   ruff, mypy --strict, import-linter, and the tests of the docs and their language"
	@echo "make docs    build the documentation site into site/; a broken link or reference fails"
	@echo "make slow    tests that train for minutes;  make gpu    tests that need a CUDA device"
	@echo "make fuzz    feed the reader of images broken files: CORPUS=DIR to start from, SECONDS=600 (Linux)"
	@echo "make faults  kills, failing system calls and full disks while training, about an hour (Linux, needs strace)"
	@echo "make mutants plant classic mistakes into a copy of the source; the tests must notice each one (minutes)"
	@echo "make golden  write the golden files anew (losses, --help); look at the difference before you commit it"
	@echo "make dist    build the sdist and the wheel, install the wheel in an empty environment and use it there"

demo: $(VENV)/installed
	@echo "Training the demo: progress below, results in runs/demo."
	$(BIN)/unpaired demo --out runs/demo

bench: $(VENV)/installed
	@mkdir -p runs
	$(BIN)/unpaired bench $(BENCH) $(if $(OFFICIAL),--official $(OFFICIAL)) --out runs/bench.md --json runs/bench.json

# A worker for each core, so each is to compute on one: threads that wait for one another on busy cores are slow.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_docs.py tests/test_language.py tests/test_site.py

docs: $(VENV)/installed-docs
	$(BIN)/python .ci/docs_site.py

slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow

faults: $(VENV)/installed-dev
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m faults

mutants: $(VENV)/installed-dev
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m mutants

gpu: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m gpu

fuzz: $(VENV)/installed-fuzz
	$(BIN)/python tests/fuzz/decode.py --seconds $(SECONDS) $(CORPUS)

golden: $(VENV)/installed-dev
	$(BIN)/python tests/test_golden.py --write
	$(BIN)/python tests/test_cli.py --write

dist:
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" TORCH_INDEX="$(TORCH_INDEX)" .ci/dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "unpaired needs Python 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	@echo "Making $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing unpaired and what it needs into $(VENV)"
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the tools of development into $(VENV)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@echo "Installing the site generator into $(VENV)"
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

$(VENV)/installed-fuzz: $(VENV)/installed-dev
	@echo "Installing the fuzzer into $(VENV)"
	$(BIN)/python -m pip install --quiet --editable ".[fuzz]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site .cache src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
