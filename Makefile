# Set-up needs Python 3.11 or newer with pip, git and make. Everything is installed into .venv from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint bench soak serve lock clean

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "Installing the locked dependencies into .venv (a minute or two, once)"
	@awk '/^uv==/ {mine = 1; print; next} /^[^ ]/ {mine = 0} mine' requirements.lock > .venv/installer.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/installer.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock  # an index that only pip knows
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/equipoise demo

# One thread a process: two test processes whose libraries each start two threads spin against each other.
test: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m tests.benchmarks

# Half an hour that shows what grows, then ten minutes in which each process is killed.
soak: setup
	$(BIN)/python -m tests.benchmarks.soak
	$(BIN)/python -m tests.benchmarks.soak 40 --kill

serve: setup
	$(BIN)/equipoise up

# The lock holds every platform and Python from 3.11 on, with hashes and without an index's address.
lock:
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock

# Removes what was made: the environment, caches and all state in data/ but the raw tables.
clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	find data -mindepth 1 -maxdepth 1 ! -name raw ! -name README.md -exec rm -rf {} +
