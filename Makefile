# make setup   a virtual environment in .venv with everything
# make demo    a small real network, from training to integer inference, in minutes
# make test    lint, types, import rules and every test: what CI runs
# make lint    the same without the tests
# make bench   the scripts that print every number of the documents; DQT_DATA=folder for those that need a data set

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: setup demo test lint bench
.DEFAULT_GOAL := setup

setup: $(STAMP)

# torch first and alone: what comes after finds the pinned build in place. torchvision's own pin of torch would bring
# another build along, hence --no-deps.
$(STAMP): pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/* csrc/*/* csrc/*/*/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) cmake nanobind ninja scikit-build-core torch
	$(PIP) --no-deps torchvision
	$(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/dqt demo

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

bench: setup
	$(BIN)/python -m bench
