# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV := UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=$(VENV) $(BIN)/uv
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	pyproject.toml
ARGS ?=

.PHONY: help demo test test-units test-processes test-gpu check bench bench-gpu soak clean lock browser

help:  ## Say what each target does.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(VENV)/installed  ## The whole story on a virtual line: learn, inspect, show, review. ARGS="--parts 60"
	$(BIN)/partgate demo $(ARGS)

# Two at a time: those that start processes wait more than they work. With ARGS, in one run.
test: $(VENV)/installed browser  ## All tests, the browser's included. ARGS="-k name"
ifeq ($(strip $(ARGS)),)
	+@$(MAKE) --no-print-directory --output-sync=target -j2 test-units test-processes
else
	$(BIN)/pytest $(ARGS)
endif

test-units:
	$(BIN)/pytest tests/unit

test-processes:
	$(BIN)/pytest tests/browser tests/faults tests/integration

check: $(VENV)/installed  ## Lint, types, layers, and the commands the documents name.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/check_docs.py

bench: $(VENV)/installed  ## Speed and accuracy, measured side by side; writes bench.json.
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/installed  ## A station among random faults, 10 minutes. HOURS=8 or MINUTES=2, ARGS="--seed 3"
	$(BIN)/python -m benchmarks.soak $(if $(HOURS),--hours $(HOURS)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

test-gpu: $(VENV)/installed  ## What needs an NVIDIA GPU; fails where there is none.
	$(BIN)/pytest tests/gpu $(ARGS)

bench-gpu: $(VENV)/installed  ## The GPU's six short checks.
	$(BIN)/python -m benchmarks.gpu $(ARGS)

clean:  ## Remove what make made; your partgate-home stays.
	rm -rf $(VENV) bench.json dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

lock: $(VENV)/installed  ## Resolve the dependencies anew into requirements/.
	$(COMPILE) -o requirements/station.txt
	$(COMPILE) --extra demo --group build --group dev -c requirements/station.txt -o requirements/dev.txt

browser:
	@tests/browser/install_chromium.sh

# Hashed locks alone decide what is installed; the project itself goes in by path. Bytecode is made here, once: where
# Python may not write it (PYTHONDONTWRITEBYTECODE, a service without write access), each start would compile anew.
# The usual graph is exported here as well: torch and anomalib are imported for longer than a product is learned.
$(VENV)/installed: requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@./.ci/python_for_venv.sh $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(UV) pip sync --quiet --compile-bytecode --require-hashes requirements/bootstrap.txt requirements/dev.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q inspect cameras engines station_config
	$(BIN)/python -W ignore -m partgate_engines.anomaly._installed_graphs
	@touch $@
