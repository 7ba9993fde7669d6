# Everything that a fresh machine needs is Python 3.11 or newer, git and a package index.
#
#   make demo    set up, run a real model on a local catalog and show what was recorded
#   make test    set up and run the tests
#   make slow    set up and run the tests that take long
#   make docs    write the table of a run's moves into its page
#   make lint    set up and check format, rules, types and the direction of imports

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SCALE  := 0.1

.PHONY: help demo sweep test slow docs lint format bench clean

help:
	@echo "make demo    set up, run a real model on a local catalog and show what was recorded"
	@echo "make sweep   run the demo's sweep: one parent, three children"
	@echo "make test    set up and run the tests"
	@echo "make slow    set up and run the tests that take long"
	@echo "make docs    write the table of a run's moves into docs/lifecycle.md"
	@echo "make lint    set up and check format, rules, types and the direction of imports"
	@echo "make format  put the code into its format"
	@echo "make bench   measure speed and memory (ratios to a stated baseline); SCALE=1 for the large catalog and bags in full"
	@echo "make clean   remove the virtual environment and caches (never a catalog)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@echo "==> Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

# pip compiles what it installs, but not what stays in place: where Python may write no bytecode, as in many containers,
# each command would compile this package anew. What is changed later, Python sees by its time.
COMPILE := $(BIN)/python -m compileall -q src

# A stamp for each set of packages: installing is skipped while pyproject.toml is unchanged.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "==> Installing deriva-ml with what the demo needs (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "==> Installing deriva-ml with what the tests and checks need (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(COMPILE)
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@echo "==> Loading the handwritten digits into the local catalog"
	@$(BIN)/create-demo-catalog
	@echo "==> Training and evaluating a model: deriva-ml-run +experiment=digits_logistic"
	@$(BIN)/deriva-ml-run --allow-dirty +experiment=digits_logistic
	@echo
	@echo "Next, a sweep of three runs under one parent:"
	@echo "    $(BIN)/deriva-ml-run --allow-dirty +multirun=digits_compare"
	@echo "and what was recorded so far:"
	@echo "    $(BIN)/deriva-ml-show"

sweep: $(VENV)/.demo
	@$(BIN)/create-demo-catalog
	@$(BIN)/deriva-ml-run --allow-dirty +multirun=digits_compare

# Many tests wait for other processes or for the disk: one process more than the two cores of a small machine works
# meanwhile. Who is done first takes over what the others have before them, so that none is at work alone at the end.
SPREAD := -n 3 --dist worksteal

test: $(VENV)/.dev
	@echo "==> Running the tests"
	@$(BIN)/python -m pytest $(SPREAD) -m "not slow" $(ARGS)

slow: $(VENV)/.dev
	@echo "==> Running the tests that take long"
	@$(BIN)/python -m pytest -n 4 -m slow $(ARGS)

docs: $(VENV)/.dev
	@$(BIN)/python -m deriva_ml.execution.state_page docs/lifecycle.md

lint: $(VENV)/.dev
	@echo "==> Format"
	@$(BIN)/ruff format --check .
	@echo "==> Rules"
	@$(BIN)/ruff check .
	@echo "==> Types"
	@$(BIN)/mypy
	@echo "==> Direction of imports"
	@$(BIN)/lint-imports

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	@for file in $(filter-out %/catalog_scale.py %/bags.py,$(wildcard benchmarks/*.py)); do \
	    echo "==> $$file"; $(BIN)/python $$file || exit 1; done
	@for file in benchmarks/catalog_scale.py benchmarks/bags.py; do \
	    echo "==> $$file --scale $(SCALE)"; $(BIN)/python $$file --scale $(SCALE) || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
