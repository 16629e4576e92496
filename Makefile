# Python 3.11 or newer and make are all that a machine needs; the rest comes as wheels into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := $(BIN)/python -m content_orchestration.local.cli

.PHONY: up demo test soak lint format audit doctor down clean status

up: $(VENV)/.local-installed
	@$(CLI) up

demo: $(VENV)/.local-installed
	@$(CLI) demo

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=
	$(BIN)/coverage report --include='content_orchestration/core/*' --fail-under=95

soak: $(VENV)/.dev-installed
	SOAK=1 $(BIN)/python -m pytest -q --timeout=14400

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

audit: $(VENV)/.dev-installed
	@$(BIN)/python -m content_orchestration.local.audit

doctor: $(VENV)/.local-installed
	@$(CLI) doctor

down: $(VENV)/.local-installed
	@$(CLI) down

status: $(VENV)/.local-installed
	@$(CLI) status

clean:
	@if [ -x $(BIN)/python ] && [ -f $(VENV)/.local-installed ]; then $(CLI) clean; fi
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made: on Debian, apt-get install python3-venv"; exit 1; }

$(VENV)/.local-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[local]'
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.local-installed
