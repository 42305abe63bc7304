# make demo   three arms on the bundled digits, then a table and a figure (installs what it needs)
# make test   all but the slow tests                                      (installs what they need)
# make bench  ours, the notebook's loop and Lightning side by side; 10 minutes (installs what it needs)
# make soak   half an hour of random signals to random processes of sweeps (installs what it needs)
# make docs   the pages of docs/, in site/                                (installs what it needs)
# make check  lint, types, imports and all tests: what CI runs
# make coverage  all tests, and which lines they reach; slower           (installs what it needs)
# make check-next    the quick tests with the next Hydra, in .venv-next: what will break
# make check-lowest  the quick tests with the lowest versions that pyproject.toml allows, in .venv-lowest
PYTHON ?= python3
BIN := .venv/bin
SIDE_BY_SIDE := --numprocesses auto --dist worksteal

.PHONY: demo test soak bench docs check coverage check-next check-lowest format clean help
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
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations 25

coverage: .venv/installed-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# hydra/launcher=joblib asks for Hydra below 1.4, hence --no-deps
check-next:
	$(PYTHON) -m venv .venv-next
	.venv-next/bin/python -m pip install --quiet -e '.[dev]'
	.venv-next/bin/python -m pip install --quiet --pre --no-deps --upgrade 'hydra-core>=1.4.0rc1' 'omegaconf>=2.4'
	.venv-next/bin/python -m pytest -m "not slow" $(SIDE_BY_SIDE)

# matplotlib 3.8 calls what pyparsing 3.3 warns of
check-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[dev]' 'pyparsing<3.3'
	.venv-lowest/bin/python -m pytest -m "not slow" $(SIDE_BY_SIDE)

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
	rm -rf .venv .venv-next .venv-lowest site .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
