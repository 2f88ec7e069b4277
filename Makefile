# The two commands of a newcomer are `make demo` and `make test`; both set everything up first.
#
# PYTHON      interpreter for .venv (3.11 or newer)
# TORCH_ARGS  extra arguments for pip when it installs torch, for example the index of CPU wheels
PYTHON ?= python3
TORCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup toolchain demo test nightly lab lint format reference clean
.DEFAULT_GOAL := setup

setup: toolchain $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "MCUQ needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "The venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing Python packages (some minutes the first time) ..." >&2
	@# --no-compile: pip compiles modules on one core. Below all cores do, once; where Python is told
	@# to write no bytecode, each of hundreds of processes would compile torch again.
	$(BIN)/pip install --disable-pip-version-check --no-compile --progress-bar on -c constraints.txt $(TORCH_ARGS) torch
	$(BIN)/pip install --disable-pip-version-check --no-compile --progress-bar on -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib mcuq_lab || true
	@touch $@

toolchain:
	@sh .ci/toolchain.sh

demo: setup
	$(BIN)/mcuq demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pytest -m alone
	$(BIN)/pytest -n 2 --dist worksteal -m "not alone and not nightly and not hardware"

nightly: setup
	$(BIN)/pytest -n 2 --dist worksteal -m "nightly or slow" --timeout 7200

lab: setup
	$(BIN)/jupyter lab notebooks

# What the README and the notebooks quote, but for the search. Networks are those trained on CIFAR-10
# where the settings name its folder, else those trained on digits; REFERENCE_IMAGES score them.
REFERENCE_IMAGES ?= 10000
REFERENCE_DATA = $(shell $(BIN)/python -c "from mcuq_lab.settings import load_settings; \
  print('cifar10' if 'cifar10' in load_settings().data_roots else 'digits')")

reference: setup
	$(BIN)/mcuq bench layers --simulated --output results/reference/layers.json
	$(BIN)/mcuq bench models --simulated --data $(REFERENCE_DATA) --n-images $(REFERENCE_IMAGES) --output results/reference/models.json
	$(BIN)/mcuq bench models --simulated --clock max --model resnet8 --policy w8a8 --policy w4a4 --n-images 0 --output results/reference/full_clock.json
	$(BIN)/mcuq bench models --simulated --data $(REFERENCE_DATA) --n-images $(REFERENCE_IMAGES) --flash-bytes 51436 --model resnet8 --policy w8a8 --policy w4a4 --engine liteengine --engine cmsis_nn --engine cmix_nn --output results/reference/small_flash.json
	$(BIN)/mcuq claims results/reference/models.json results/reference
	$(BIN)/mcuq figures results/reference/models.json results/reference --full-clock results/reference/full_clock.json
	$(BIN)/mcuq bench packings --output results/reference/packings.json
	$(BIN)/mcuq bench simulator --output results/reference/simulator.json

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info
