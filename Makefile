# Everything a developer or CI does, from a machine that has only Python 3.11, cargo and make.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
CARGO ?= cargo
# CI refuses a Cargo.lock that is out of date; at a desk cargo may bring it up to date.
LOCKED := $(if $(CI),--locked)

VENV := .venv
BIN := $(VENV)/bin
RESULTS := build/results
BUILD := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

# What maturin tells PyO3's build script; clippy says the same, or each would compile PyO3 anew.
PYO3_SETTINGS = $(addprefix PYO3_CONFIG_FILE=,$(firstword $(wildcard \
	$(abspath $(BUILD))/maturin/pyo3-config-*-abi3.txt)))
RUST_SOURCES := Cargo.toml Cargo.lock .cargo/config.toml \
	$(shell find rust -name '*.rs' -o -name Cargo.toml -o -name '*.sql')
PYTHON_SOURCES := $(shell find python -name '*.py' -o -name '*.pyi' -o -name py.typed -o -name '*.json' -o -name '*.md')

# The binding is a module that only a Python interpreter can load, so it has no Rust test program;
# the Python suite tests it.
TESTED_CRATES := --workspace --exclude ferroflow-bindings

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) \
		| awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# ---------------------------------------------------------------------------------------- set up

.PHONY: setup
setup: $(VENV)/.extension ## Create .venv, install the tools, build the extension in place

$(VENV)/.created:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "ferroflow needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.tools: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.extension: $(VENV)/.tools $(RUST_SOURCES)
	. $(BIN)/activate && PIP_QUIET=1 maturin develop --quiet $(LOCKED)
	@touch $@

# ------------------------------------------------------------------------------------------- run

.PHONY: demo
demo: setup ## Set everything up and run a real workflow to its end
	$(BIN)/ferroflow demo

# ------------------------------------------------------------------------------------------ test

.PHONY: test
test: test-rust test-python test-wheel ## Set everything up and run every test but the long soaks

.PHONY: test-rust
test-rust: $(VENV)/.tools ## Test the Rust crates
	@mkdir -p $(RESULTS)
	$(CARGO) test $(TESTED_CRATES) $(LOCKED) 2>&1 | tee $(RESULTS)/cargo-test.log

.PHONY: test-python
test-python: setup ## Test the Python package
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest --requirements-json=$(RESULTS)/pytest.json

.PHONY: test-wheel
test-wheel: wheel ## Install the release wheel into an empty environment and run it there
	$(BIN)/python -m tests.packaging.check_wheel dist/ferroflow-*.whl

.PHONY: nightly
nightly: setup ## Run the long soaks
	PROPTEST_CASES=20000 $(CARGO) test $(TESTED_CRATES) $(LOCKED)
	PROPTEST_CASES=2000 $(CARGO) test $(TESTED_CRATES) $(LOCKED) -- --ignored
	RACES_TERMS=10000000 RACES_SEED=$$(date +%s)00000000 \
		$(CARGO) test --release --package ferroflow-define $(LOCKED) --test races -- --nocapture
	$(BIN)/python -m pytest -m nightly --timeout 14400

.PHONY: requirements
requirements: test-rust test-python ## List the requirement rows by the passing tests that show them
	$(BIN)/python tests/requirements_report.py --rows docs/requirements.md \
		--cargo-log $(RESULTS)/cargo-test.log --pytest-json $(RESULTS)/pytest.json

# ------------------------------------------------------------------------------------------ lint

.PHONY: lint
lint: setup ## Check format, style, types, stubs and who imports whom
	$(CARGO) fmt --all --check
	$(PYO3_SETTINGS) $(CARGO) clippy --workspace --all-targets $(LOCKED) -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/stubtest ferroflow._core --allowlist tests/typing/not_at_runtime.txt \
		--ignore-unused-allowlist
	$(BIN)/lint-imports

.PHONY: format
format: setup ## Put all sources into their standard form
	$(CARGO) fmt --all
	$(BIN)/ruff check --fix-only --exit-zero
	$(BIN)/ruff format

# --------------------------------------------------------------------------------------- package

.PHONY: wheel
wheel: build/.wheel ## Build the release wheel into dist/

build/.wheel: $(VENV)/.tools pyproject.toml LICENSE README.md $(RUST_SOURCES) $(PYTHON_SOURCES)
	@mkdir -p build && rm -f dist/ferroflow-*.whl
	. $(BIN)/activate && maturin build --quiet --profile wheel --out dist $(LOCKED)
	@touch $@

# --------------------------------------------------------------------------------------- measure

# The largest recorded executions that there are: their graphs are asked what comes before what.
WFFORMAT ?= $(shell find "$${FERROFLOW_DATA:-../shared/data}" -name "*.json" -size +1200k 2>/dev/null | sort)
PEERS := dask dbos rustworkx
PEER_STAMPS := $(PEERS:%=build/peers/%/.installed)

.PHONY: bench
bench: bench-asv bench-peers bench-planners ## Measure: asv for the present commit, and the peers side by side

# asv builds and installs the present commit by itself; the shared target folder saves it the
# dependencies, which are the same.
.PHONY: bench-asv
bench-asv: $(VENV)/.tools ## Run the asv suite on the present commit and publish its pages
	CARGO_TARGET_DIR=$(abspath $(BUILD)) \
		$(BIN)/python -m asv machine --yes --config benches/asv.conf.json > /dev/null
	CARGO_TARGET_DIR=$(abspath $(BUILD)) \
		$(BIN)/python -m asv run --config benches/asv.conf.json --show-stderr 'HEAD^!'
	$(BIN)/python -m asv publish --config benches/asv.conf.json
	$(BIN)/python -P benches/plots.py benches/.asv/results docs

# A release build of its own environment, so that the everyday one stays quick to rebuild.
.PHONY: bench-peers
bench-peers: wheel $(PEER_STAMPS) build/peers/ours/.installed ## Measure ferroflow and its peers side by side
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest benches/peers --import-mode=prepend --timeout 1800 \
		--benchmark-columns=min,median,max,rounds --benchmark-json $(RESULTS)/peers.json
	$(BIN)/python benches/peers/limits.py build/peers/ours/bin/python
	$(BIN)/python benches/peers/accuracy.py build/peers/ours/bin/python
	$(BIN)/python benches/peers/table.py $(RESULTS)/peers.json
	build/peers/ours/bin/python benches/peers/access_limits.py
	build/peers/ours/bin/python benches/peers/graph_limits.py $(WFFORMAT)

# The peer takes most of half an hour.
.PHONY: bench-planners
bench-planners: build/peers/saga/.installed build/peers/ours/.installed ## Compare planners with anrg-saga's
	build/peers/ours/bin/python benches/peers/plan_quality.py build/peers/saga/bin/python

build/peers/ours/.installed: build/.wheel
	@mkdir -p $(@D)
	"$(PYTHON)" -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet "$$(echo dist/ferroflow-*.whl)[http,arrow]" numpy
	@touch $@

build/peers/%/.installed: benches/peers/%.txt
	@mkdir -p $(@D)
	"$(PYTHON)" -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet -r $<
	@touch $@

# ------------------------------------------------------------------------------- mutation testing

# A sample, not a proof: one shard of the Rust mutants and the Python mutants of a few functions.
# `make mutants MUTANT_SHARD=3/20 MUTANT_CRATE=ferroflow-engine` looks elsewhere.
MUTANT_CRATE ?= ferroflow-define
MUTANT_SHARD ?= 0/40
MUTANT_MODULES ?= ferroflow.define.units*
MUTANTS_TOOL := build/tools/bin/cargo-mutants

.PHONY: mutants
mutants: mutants-rust mutants-python ## Break a sample of the code and see that a test notices

$(MUTANTS_TOOL):
	$(CARGO) install cargo-mutants --version '^27.1' --locked --root build/tools

# 2 and 3 mean that mutants survived or timed out: that is the finding, not a failure of the tool.
.PHONY: mutants-rust
mutants-rust: $(MUTANTS_TOOL)
	@mkdir -p build/mutants
	status=0; PATH="$(abspath build/tools/bin):$$PATH" $(CARGO) mutants --package $(MUTANT_CRATE) \
		--shard $(MUTANT_SHARD) --output build/mutants --timeout 120 --jobs 1 --no-shuffle \
		|| status=$$?; [[ $$status == 0 || $$status == 2 || $$status == 3 ]]

# mutmut knows only a `src` layout, so that it works on a copy laid out like that. It wraps every
# function, finalisers too, in the setting of a context variable, and CPython 3.11 crashes where a
# collection amid such a setting runs a finaliser that sets one: so cycles are not collected there.
.PHONY: mutants-python
mutants-python: setup
	rm -rf build/mutmut && mkdir -p build/mutmut
	cp -r python build/mutmut/src
	cp -r tests examples pyproject.toml build/mutmut/
	printf 'import gc\n\ngc.disable()\n' > build/mutmut/tests/engine/conftest.py
	cd build/mutmut && PATH="$(CURDIR)/$(BIN):$$PATH" \
		timeout 1800 mutmut run --max-children 2 '$(MUTANT_MODULES)' \
		|| [[ $$? == 124 ]]
	cd build/mutmut && "$(CURDIR)/$(BIN)/mutmut" results | grep -v 'not checked' || true

# ----------------------------------------------------------------------------------------- clean

.PHONY: clean
clean: ## Remove everything that make has made
	$(CARGO) clean --quiet
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks \
		.import_linter_cache benches/.asv python/ferroflow/_core*.so
	find python tests benches -name __pycache__ -prune -exec rm -rf {} +
