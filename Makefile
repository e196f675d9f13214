# setup: .venv with everything · demo: find the slow shop's faults · check: linters and types · test: every test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo check test soak clean

help:
	@sed -n '1s/^# //p' Makefile | tr '·' '\n' | sed 's/^ */make /'

# The stamp holds until a file that names dependencies changes, so a second run costs nothing.
$(VENV)/.stamp: pyproject.toml constraints.txt scripts/setup
	PYTHON=$(PYTHON) VENV=$(VENV) scripts/setup
	@touch $@

setup: $(VENV)/.stamp

demo: setup
	$(BIN)/python -m examples.shop demo

check: setup
	BIN=$(BIN) scripts/check

test: setup
	BIN=$(BIN) scripts/test

soak: setup
	BIN=$(BIN) scripts/test -m soak -s

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-report.html
