# make demo   three arms on the bundled digits, then a table and a figure (installs what it needs)
# make test   all but the slow tests                                      (installs what they need)
# make bench  ours, the notebook's loop and Lightning side by side; 20 minutes (installs what it needs)
# make soak   half an hour of random signals to random processes of sweeps (installs what it needs)
# make check  lint, types, imports and all tests: what CI runs
PYTHON ?= python3
BIN := .venv/bin
SIDE_BY_SIDE := --numprocesses auto --dist worksteal

.PHONY: demo test soak bench check format clean help
help:
	@sed -n 's/^# make/make/p' Makefile

demo: .venv/installed
	$(BIN)/python run.py experiment=demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow" $(SIDE_BY_SIDE)

soak: .venv/installed-dev
	$(BIN)/python -m benchmarks.soak --minutes 30

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "weightnet needs Python 3.11 to 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	"name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "installing into .venv; torch is large, the first time takes some minutes"
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	@echo "installing into .venv; torch is large, the first time takes some minutes"
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ .venv/installed

.venv/installed-bench: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
