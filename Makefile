# One word per task; `make help` lists them. `make setup` makes the environment that the others use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup test test-slow lint fix types docs site bench
.DEFAULT_GOAL := help

help: ## list the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## a fresh environment with the tested versions
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e ".[test]"

test: ## the test suite
	$(BIN)/pytest

test-slow: ## longer evidence: crashes, learning, the laboratory; needs the extras of .github/workflows/nightly.yml
	$(BIN)/pytest -m slow -n 0

lint: ## style and format, as CI checks them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fix: ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: ## mypy
	$(BIN)/mypy

docs: ## the figures of the pages, from the commands on them
	$(BIN)/python docs/methods/figures.py all
	$(BIN)/python docs/figures.py all

site: ## the documentation as a site in build/site (extra docs); a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: ## speed, as a ratio to the peers (extra bench)
	$(BIN)/python benchmarks/throughput.py
