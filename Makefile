# bootserver: `make run` and `make test` each work on a fresh Debian or Ubuntu machine.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BIOME  := tests/node_modules/.bin/biome
RUNS   ?= 3

PYTHONS ?= python3.11 python3.12 python3.13

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run test test-fast coverage test-pythons test-distributions test-reach booted memory docs demo bench lint format check clean

help: ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | column -t -s '|'

setup: $(VENV)/.installed ## install what running needs: system packages, .venv, loaders
	@$(BIN)/python -m bootserver.stub.collect stub/build

setup-test: setup $(VENV)/.installed-dev ## the same, and what the tests need
	@$(BIN)/python -m bootserver.stub.collect tests/isos --iso memtest86+x64.iso --iso grub-rescue-cdrom.iso

run: setup ## serve; with an empty images/ Memtest86+ comes first
	@find -L images -iname '*.iso' -o -iname '*.img' | grep -q . || \
	  { echo "images/ is empty: adding Memtest86+"; $(BIN)/python -m bootserver.stub.collect images --iso memtest86+x64.iso; }
	@exec $(BIN)/bootserver serve

test: coverage ## everything, QEMU boots included, two at a time; the fast tests first, with coverage's floor
	$(BIN)/pytest -n 2 --dist worksteal -m "(boot or slow) and not distributions and not reach"

test-fast: setup-test ## no boots, nothing slow; a few minutes
	$(BIN)/pytest -n 2 --dist worksteal -m "not boot and not slow"

coverage: setup-test ## how much of the code the fast tests run, by branch; fails below pyproject.toml's floor
	$(BIN)/pytest -n 2 --dist worksteal -m "not boot and not slow" --cov --cov-report=term

test-pythons: ## the fast tests with each of PYTHONS that is here, in a virtual environment of its own
	@for python in $(PYTHONS); do \
	  version=$$($$python --version 2>/dev/null) || { echo "$$python: not here"; continue; }; \
	  echo "$$python: $$version"; \
	  $(MAKE) --no-print-directory test-fast PYTHON=$$python VENV=.venv-$${version#* } || exit; \
	done

test-distributions: setup-test ## set up bare machines of Debian 12, 13 and sid; ten minutes
	$(BIN)/pytest tests/boot/test_distributions.py -m boot

test-reach: setup-test ## boot discs of more families, and what repeats a family; an hour
	$(BIN)/pytest tests/boot -m reach

booted: setup-test ## boot all that images explain calls verified, test-reach's too, and write down what came up; an hour
	@printf '[\n]\n' >bootserver/images/recipes/booted.json
	$(BIN)/pytest -n 2 --dist worksteal -m boot --record-boots tests/boot
	@$(BIN)/python -m tests.fixtures.recipe_docs

memory: setup-test ## find by bisection the least memory that discs of each family boot in; two hours
	$(BIN)/python -m tests.bench.least_memory
	@$(BIN)/python -m tests.fixtures.recipe_docs

docs: $(VENV)/.installed-dev ## renew what is generated in docs/recipes.md and ARCHITECTURE.md
	@$(BIN)/python -m tests.fixtures.recipe_docs
	@$(BIN)/python -m tests.fixtures.module_docs

demo: setup ## boot an emulated machine from a stub, and watch where its time goes
	@tools/setup-system demo
	@$(BIN)/bootserver demo --stay

bench: setup-test ## measure serving beside nginx, redirected drives and Windows PE discs, then boots; RUNS=1 takes 45 minutes
	@$(BIN)/python -m tests.bench.serving_rate --rounds 5
	@$(BIN)/python -m tests.bench.redirection_rate --rounds $(RUNS)
	@$(BIN)/python -m tests.bench.winpe_rate --rounds $(RUNS)
	@$(BIN)/python -m tests.bench.images tests/isos/bench
	@BOOTSERVER_IMAGES__PATH=$(CURDIR)/tests/isos/bench $(BIN)/bootserver bench run founding --runs $(RUNS)

lint: $(VENV)/.installed-dev ## style, types, imports, spelling; shell scripts and JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	shellcheck .ci/run tools/setup-system
	shellcheck --shell=sh stub/templates/*.sh
	$(BIOME) ci --error-on-warnings

format: $(VENV)/.installed-dev ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIOME) check --write

check: lint test ## what CI runs

clean: ## take away what make made; images/ and var/ stay
	rm -rf $(VENV) .venv-* tests/node_modules stub/build tests/isos tests/artifacts .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml tools/setup-system
	@PYTHON=$(PYTHON) tools/setup-system run
	@test -x $(BIN)/pip || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing Python packages"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed tests/package.json
	@PYTHON=$(PYTHON) tools/setup-system test
	@echo "installing the tests' Python packages"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@npm install --prefix tests --loglevel=error --no-audit --ignore-scripts --no-package-lock >/dev/null
	@touch $@
