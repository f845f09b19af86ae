# Everything runs from nothing but python3 (3.11 to 3.13), make and the package registry. `make help` lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test laws conformance check format bench mutants notebooks docs wheel clean

help: ## List the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(VENV)/python: ## (the virtual environment)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "The workbench needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d: run make PYTHON=python3.12 …" % v)'
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/run: $(VENV)/python pyproject.toml constraints.txt
	@echo "Installing the workbench and what it needs (some minutes the first time) …"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run
	@echo "Installing what the tests need …"
	@$(PIP) install --constraint constraints.txt --group dev
	@touch $@

$(VENV)/docs: $(VENV)/run
	@echo "Installing what the documentation needs …"
	@$(PIP) install --constraint constraints.txt --group docs
	@touch $@

demo: $(VENV)/run ## Fill an embedded store, export it into data/demo, look at it, write data/report.html
	@$(BIN)/workbench demo

test: $(VENV)/dev ## Run the whole default test suite
	@$(BIN)/python -m pytest -n auto

laws: $(VENV)/dev ## Try the laws that property tests state on thousands of examples each, overnight; ARGS chooses some of them
	@$(BIN)/python -m pytest -n auto -m hypothesis --hypothesis-profile laws --timeout 0 $(ARGS)

conformance: $(VENV)/dev ## Run the tests of the boundary against the server that WORKBENCH_TEST_SERVER names, or KurrentDB's container
	@$(BIN)/python -m tests.conformance $(ARGS)

check: $(VENV)/dev ## Format, lint, types, imports, public docstrings, notebooks without outputs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python .ci/docstrings.py
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

format: $(VENV)/dev ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev ## Measure it all against what else one would use, for an hour
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.replay --long
	for part in analysis series workflows publish reports projections; do $(BIN)/python -m tests.bench.$$part || exit 1; done

mutants: $(VENV)/dev ## Try 300 small changes to the code that some test should notice, for at most 90 minutes
	@$(BIN)/python -m tests.mutants $(ARGS)

notebooks: $(VENV)/run ## Open JupyterLab on the notebooks
	@$(BIN)/workbench lab

docs: $(VENV)/docs ## Build the documentation into build/docs; a warning is an error
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --write-all --quiet docs build/docs
	@echo "Open build/docs/index.html"

wheel: $(VENV)/dev ## Build the wheel and try it with the newest and the lowest versions that it allows, on each Python at hand
	@bash .ci/wheel $(PYTHON)

clean: ## Remove what the commands made: the environment, lakes, reports, caches
	rm -rf $(VENV) build dist docs/reference .mypy_cache .ruff_cache .pytest_cache .hypothesis .mutants data/demo data/store data/report.html
