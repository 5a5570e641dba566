# What a developer types. Everything runs from a fresh clone: `.venv` is made by the first target that needs it.
SHELL := bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint lock contract clean

# The stack as processes on loopback, and a recording through it. `make demo ONCE=1` stops after the recording.
demo: $(STAMP)
	@ONCE=$(ONCE) $(BIN)/python hack/demo

# Tiers 0 and 1: pure code, and real services as processes on loopback.
test: $(STAMP)
	@hack/packages nginx-light
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

# Style, types, layers, and whether what is generated is what its source says.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=hack/bench $(BIN)/mypy hack/bench/*.py
	$(BIN)/lint-imports
	$(BIN)/python hack/contract check
	$(BIN)/python hack/contract check-breaking
	$(BIN)/python hack/lock check

# Requirement files, one per image, pinned with hashes and without addresses.
lock: $(STAMP)
	$(BIN)/python hack/lock write

contract: $(STAMP)
	$(BIN)/python hack/contract generate

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
