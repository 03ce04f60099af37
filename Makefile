# make run and make test set up all they need; both are safe to repeat, as root and as an ordinary user.

# The first of these that is Python 3.11 or newer; make PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

VENV = .venv
BIN  = $(VENV)/bin
PIP  = $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

# Arguments for `ipcserver serve`: make run ARGS='--port 6600 --journal memory'
ARGS =
# Arguments for pytest: make test TESTS='tests/xdr -k quad'
TESTS =
# How long each atheris harness of make fuzz runs.
SECONDS = 120
# How many processes run the tests.
JOBS = 2

.DEFAULT_GOAL := help

help:  ## show this
	@echo 'make run        start ipcserver here, in the foreground (ARGS="..." for ipcserver serve)'
	@echo 'make test       run every test (TESTS="..." for pytest)'
	@echo 'make lint       ruff check, ruff format --check, mypy --strict'
	@echo 'make docs       build the site into build/docs, with pictures of the server at work'
	@echo 'make generate   compile the .x files into the committed _gen modules again'
	@echo 'make bench      measure this machine'
	@echo 'make torture    kill, cut and crash a server for a while and count what it lost'
	@echo 'make fuzz       look for bad input that hurts, for a while'
	@echo 'make clean      remove everything that was made here, .venv included'

run: $(VENV)/.run
	@exec $(BIN)/ipcserver serve $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=$(JOBS) $(TESTS)

lint: $(VENV)/.lint
	@failed=0; for check in 'ruff check .' 'ruff format --check .' mypy; do \
	    echo "== $$check"; $(BIN)/$$check || failed=1; \
	done; exit $$failed

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(VENV)/.run
	for package in oncrpc rpcbind_reg ipcserver; do \
	    $(BIN)/xdr compile --package $$package._gen -o $$package/_gen $$package/spec/*.x || exit 1; \
	done

	$(BIN)/python tools/manpages.py contrib/man

# Warnings are errors. Without Chromium the site is built without its pictures.
docs: $(VENV)/.docs
	$(BIN)/python tools/gallery.py build/gallery
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --nitpicky --jobs auto --quiet \
	    --doctree-dir build/doctrees docs build/docs
	@echo 'the site is build/docs/index.html'

bench: $(VENV)/.test
	for program in benchmarks/[!_]*.py; do echo "== $$program"; $(BIN)/python $$program || exit 1; done

torture: $(VENV)/.test
	$(BIN)/python -m pytest -m torture -p no:cacheprovider --override-ini=addopts= --override-ini=faulthandler_timeout=1800 tests $(TESTS)

fuzz: $(VENV)/.test $(VENV)/.fuzz
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --numprocesses=$(JOBS) -m fuzz --override-ini=addopts= tests $(TESTS)
	for harness in fuzz/[!_]*.py; do \
	    echo "== $$harness"; $(BIN)/python $$harness -max_total_time=$(SECONDS) -artifact_prefix=$(VENV)/ || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	$(MAKE) -C examples/c clean

.PHONY: help run test lint format generate docs bench torture fuzz clean

# ---- the virtual environment: a stamp for what was put into it -----------------------------------------------------

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'ipcserver needs Python 3.11 or newer, and none is in the PATH: apt-get install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@echo 'setting up $(VENV) (once; about a minute) ...'
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo 'installing ipcserver into $(VENV) ...'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo 'installing ipcserver and what its tests need into $(VENV) ...'
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo 'installing ipcserver and what builds its documentation into $(VENV) ...'
	@$(PIP) install --editable '.[docs]'
	@touch $@ $(VENV)/.run

$(VENV)/.fuzz: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo 'installing atheris into $(VENV) ...'
	@$(PIP) install --editable '.[test,fuzz]'
	@touch $@ $(VENV)/.run $(VENV)/.test

$(VENV)/.lint: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo 'installing ipcserver, linters and what they look at into $(VENV) ...'
	@$(PIP) install --editable '.[test,lint]'
	@touch $@ $(VENV)/.run $(VENV)/.test
