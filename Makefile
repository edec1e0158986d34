# `make demo`, `make test`, `make check`: on a machine with Python >= 3.11 and make, each makes what it
# needs below .venv/. uv is used where it is there, else venv and pip.

PYTHONS := $(shell sh tools/pythons.sh)
PYTHON := $(firstword $(PYTHONS))
LOWEST := $(lastword $(PYTHONS))
UV := $(shell command -v uv 2>/dev/null)
INPUTS := pyproject.toml constraints.txt
# In a variable: a comma would end an argument of `call`.
SELF := '.[postgres,testing]'
# What the tests need, those included that are skipped where it is not installed.
TESTED := aiosqlite anyio attrs freezegun hypothesis 'psycopg[binary]' pydantic pytest-xdist
SOURCES := $(shell find jobify jobify_testing -name '*.py') README.md
# The tests start a hundred interpreters, which are not all to compile the packages anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test virtual-day crash-harness postgres-harness check format-check lint types layers coverage lowest nightly clean

help:
	@echo "make demo    the main job, against a SQLite file"
	@echo "make test    the tests"
	@echo "make check   everything: tests, format, lint, types, layers, coverage, the lowest Python"
	@echo "make crash-harness KILLS=5000  a program is killed so often, and nothing is lost"
	@echo "make postgres-harness FAULTS=1000  three programs on PostgreSQL are killed and stopped, and nothing is lost"
	@echo "make nightly the tests, with a hundred times as many examples of each property"
	@echo "make clean   remove what these have made"

ifeq ($(PYTHON),)
$(error jobify needs Python 3.11 or newer, and there is none on PATH or below ~/.pyenv/versions)
endif

# $(call environment,FOLDER,PYTHON,WHAT TO INSTALL)
ifneq ($(UV),)
environment = $(UV) venv --quiet --clear --python $(2) $(1) && VIRTUAL_ENV=$(1) $(UV) pip install --quiet --constraint constraints.txt $(3)
else
environment = $(2) -m venv --clear $(1) && $(1)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(3)
endif

.venv/demo/stamp: $(INPUTS) $(SOURCES)
	$(call environment,.venv/demo,$(PYTHON),.)
	@touch $@

.venv/test/stamp: $(INPUTS)
	$(call environment,.venv/test,$(PYTHON),--editable $(SELF) $(TESTED) coverage)
	@touch $@

.venv/check/stamp: $(INPUTS)
	$(call environment,.venv/check,$(PYTHON),--editable '.[dev]')
	@touch $@

.venv/lowest/stamp: $(INPUTS)
	$(call environment,.venv/lowest,$(LOWEST),--editable $(SELF) $(TESTED))
	@touch $@

demo: .venv/demo/stamp
	@.venv/demo/bin/python examples/demo.py

test: .venv/test/stamp
	.venv/test/bin/python -m pytest -q -rs -n auto

check: test virtual-day crash-harness postgres-harness format-check lint types layers lowest coverage

# A cron of every second, for a day: each run at its second, and none too few. `nightly` has a week of it, and a year of minutes.
virtual-day: .venv/test/stamp
	.venv/test/bin/python benchmarks/virtual_year.py --days 1 --cron "* * * * * *"

# A program that is killed so often, at random moments: it loses nothing, and runs nothing twice unexplained.
KILLS := 200

crash-harness: .venv/test/stamp
	.venv/test/bin/python benchmarks/crash_harness.py --kills $(KILLS)

# Three programs on one PostgreSQL database, killed or stopped for longer than their lease: the same. Where there is no
# PostgreSQL it says so.
FAULTS := 24

postgres-harness: .venv/test/stamp
	.venv/test/bin/python -m benchmarks.postgres_harness --faults $(FAULTS)

format-check: .venv/check/stamp
	.venv/check/bin/ruff format --check .

lint: .venv/check/stamp
	.venv/check/bin/ruff check .

types: .venv/check/stamp
	.venv/check/bin/mypy
	.venv/check/bin/pyright --pythonpath .venv/check/bin/python

layers: .venv/check/stamp
	.venv/check/bin/lint-imports --no-cache

coverage: .venv/test/stamp
	.venv/test/bin/coverage run -m pytest -q -rs
	.venv/test/bin/coverage report $$(.venv/test/bin/python -m tests.postgres)

ifeq ($(LOWEST),$(PYTHON))
lowest:
	@echo "this machine has one Python from 3.11 up: $(PYTHON)"
else
lowest: .venv/lowest/stamp
	.venv/lowest/bin/python -m pytest -q -rs
endif

nightly: .venv/test/stamp
	HYPOTHESIS_PROFILE=nightly .venv/test/bin/python -m pytest -q
	.venv/test/bin/python benchmarks/virtual_year.py --days 365
	.venv/test/bin/python benchmarks/virtual_year.py --days 7 --cron "* * * * * *"
	.venv/test/bin/python benchmarks/crash_harness.py --kills 5000
	.venv/test/bin/python -m benchmarks.postgres_harness --faults 1000

clean:
	rm -rf .venv build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
