# make setup   a virtual environment in .venv with everything
# make demo    a small real network, from training to integer inference, in minutes
# make test    lint, types, import rules and every test: what CI runs
# make lint    the same without the tests
# make site    the documentation as a site, in build/site; a warning is an error
# make bench   the scripts that print every number of the documents; DQT_DATA=folder for those that need a data set

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: setup demo test lint style site bench
.DEFAULT_GOAL := setup

setup: $(STAMP)

# torch first and alone: what comes after finds the pinned build in place. torchvision's own pin of torch would bring
# another build along, hence --no-deps.
$(STAMP): pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/* csrc/*/* csrc/*/*/*)
	@for each in $(firstword $(CXX)) c++ g++ clang++; do command -v $$each >/dev/null && exit; done; \
	    echo "setup: no C++ compiler, tried $(CXX), c++, g++ and clang++: install one (Debian: apt-get install g++," \
	    "macOS: xcode-select --install)" >&2; exit 1
	@echo "setup 1 of 4: a virtual environment in $(VENV)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup 2 of 4: the build tools and torch, the largest download"
	$(PIP) cmake nanobind ninja scikit-build-core torch
	@echo "setup 3 of 4: torchvision"
	$(PIP) --no-deps torchvision
	@echo "setup 4 of 4: dqt itself, whose C++ engine takes minutes to compile, and the tools of development"
	$(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/dqt demo

lint: style
	$(BIN)/mypy

style: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

# Each worker takes the tests of whole files, whose fixtures are then made once, and at the end a part of another's.
# Types are checked meanwhile, by one process, which alone would leave the other cores idle.
test: style
	@echo "$(BIN)/mypy &"; $(BIN)/mypy & types=$$!; \
	    OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal; tests=$$?; \
	    wait $$types || { echo "test: mypy has found errors, printed above" >&2; exit 1; }; exit $$tests

site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo build/site/index.html

bench: setup
	$(BIN)/python -m bench
