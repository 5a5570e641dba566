# What a developer types. Everything runs from a fresh clone: `.venv` is made by the first target that needs it.
SHELL := bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(VENV)/.nemotron

# What `make test` leaves out on request, by pytest's markers.
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
LEFT_OUT := $(strip $(if $(filter no,$(CONTROL_PLANE)),control_plane helm) $(if $(filter no,$(NEMOTRON)),nemotron))

.PHONY: venv nemotron demo test lint lock contract images images-all e2e clean

# The environment that everything else makes when it needs it.
venv: $(STAMP)

# torch and what else the GPU engine runs on, into the same environment: 6 GB, some minutes.
nemotron: $(TORCH)

# The stack as processes on loopback, and a recording through it. `make demo ONCE=1` stops after the recording.
demo: $(STAMP)
	@ONCE=$(ONCE) $(BIN)/python hack/demo

# Tiers 0 to 2: pure code, real services as processes on loopback, a real API server as processes (built once by Go,
# some minutes). `make test CONTROL_PLANE=no` does without the last, and without Go; `make test NEMOTRON=no` without
# torch's 6 GB.
test: $(STAMP) $(if $(filter no,$(NEMOTRON)),,$(TORCH))
	@hack/packages faketime nginx-light openssl pocketsphinx-testdata postgresql prometheus
ifneq ($(CONTROL_PLANE),no)
	@hack/go-tools etcd kube-apiserver kube-controller-manager kube-scheduler helm >/dev/null
endif
	$(BIN)/pytest -n auto --dist worksteal $(if $(LEFT_OUT),-m "not ($(subst $(SPACE), or ,$(LEFT_OUT)))") $(PYTEST_ARGS)

# Container images of the product, with whatever Docker engine answers; images-all adds the one with torch (gigabytes).
images:
	hack/images build

images-all:
	hack/images build --all

# Tier 3: engine, images and a three-node cluster from nothing, then what is under e2e/. `make e2e KEEP=1` leaves the
# cluster for a look, and the next run starts in seconds; `make e2e KEEP=1 PYTEST_ARGS="e2e/stack -k ingress"`.
# Output is not captured below Python, so that the steps of what is built can be watched.
e2e: $(STAMP)
	KEEP=$(KEEP) $(BIN)/pytest --capture=sys -v $(or $(PYTEST_ARGS),e2e)

# Style, types, layers, and whether what is generated is what its source says.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=hack/bench:tests:. $(BIN)/mypy --follow-imports=silent hack/bench/*.py
	PYTHONPATH=hack $(BIN)/lint-imports
	$(BIN)/python hack/contract check
	$(BIN)/python hack/contract check-breaking
	$(BIN)/python hack/lock check
	$(BIN)/python hack/crd check
	$(BIN)/python hack/charts check

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

# Pins of requirements/dev.txt hold there too (hack/lock), so nothing that is installed changes.
$(TORCH): $(STAMP) requirements/nemotron.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/nemotron.txt
	@touch $@

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
