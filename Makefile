# make demo, make test, make test-all, make docs, make bench: all set-up included. All use .venv in this folder.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-all docs bench lint clean

demo: .venv/ready
	$(BIN)/nasproxy demo

# without the exhaustive sweeps and long simulations
test: .venv/ready lint
	$(PYTEST) -m "not slow"

test-all: .venv/ready lint
	NASPROXY_FUZZ=10000 $(PYTEST)

# the site, into site/; whatever is wrong in it, such as a link to nowhere, is an error
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/ready
	$(BIN)/python -m benchmarks

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache build dist

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@
