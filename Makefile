# make demo   draws prompts without and with a guard into outputs/demo/
# make test   runs the tests
# make lint   style, formatting and types
# make docs   builds the documentation's site into outputs/site; a link that leads nowhere is an error
# make judges tests the judges with NudeNet's package as well, which is AGPL-3.0
# make ray    tests what draws on many machines, on a Ray cluster that it starts here
# make browser tests the playground's page in Debian's chromium (apt-get install chromium); make test does so where it is there
# Each sets up .venv first, if it is missing or out of date.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := $(VENV)/.compiled
UNUSED := /(tests|pip|setuptools|mypy|mypyc|torch/(_inductor|testing|onnx)|transformers/models/(?!auto|clip|t5)[^/]+)/

.PHONY: compiled demo test lint docs judges ray browser format clean

demo: $(READY)
	$(BIN)/stanchion demo --output outputs/demo

test: $(COMPILED)  # on all cores, with one thread each: the tests' tensors are tiny
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n auto --dist worksteal

docs: $(READY)  # not --quiet: then mkdocs counts no warnings, and --strict finds nothing
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

judges: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[nudenet]"
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests/judges tests/contracts/test_judges.py

ray: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[ray]"
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest tests/scale

browser: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) outputs .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Stanchion needs Python 3.11 or newer; say which: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

compiled: $(COMPILED)

$(COMPILED): $(READY)  # on all cores, where pip has one; else each process that runs tests compiles what it imports
	$(BIN)/python -m compileall -qq -j 0 -x '$(UNUSED)' $(VENV)/lib src || true  # some packages bring templates that are no Python
	touch $@
