# `make setup` makes .venv from requirements.lock; every other target calls it. Each target
# prints what it runs.

PYTHON ?= python3
PEERS ?= ../shared/peers
CORPORA ?= ../shared/corpora
BIN := .venv/bin

.PHONY: setup demo test check interop fuzz chaos bench matrix rfc cases lock clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "soboo-mta needs Python 3.11 or later: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/python -m soboo_mta demo

test: setup
	$(BIN)/pytest -n 2

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2

# Real peers: Debian packages, installed first where this runs as root.
interop: setup
	tests/interop/prepare.sh
	@test -d "$(CORPORA)" || echo "no corpora at $(CORPORA): the tests over other people's messages are left out"
	SOBOO_CORPORA="$(CORPORA)" $(BIN)/pytest -n 2 --dist loadfile tests/interop \
	  $(if $(wildcard $(CORPORA)/*),,--ignore-glob='*test_corpora_*')
	$(BIN)/pytest tests/chaos

# The properties again, each with so many times the examples of `make test`, and random.
fuzz: export SOBOO_FUZZ ?= 20
fuzz: setup
	$(BIN)/pytest -n 2 -m hypothesis tests/unit

# Kills at named points and faults from outside, both stores, 500 rounds (40 in `make
# interop`). As root: a small disk is mounted.
chaos: setup
	SOBOO_CHAOS_ROUNDS=500 $(BIN)/pytest tests/chaos

# PEERS is a folder with the bench rig (setup.sh, bench.sh, table.py); docs/performance.md
# says what it measures. As root on an idle machine: five interleaved rounds, then medians.
bench: export RIG ?= /var/tmp/soboo-peers
bench: export RESULTS = $(RIG)/results/soboo-bench.jsonl
bench: setup
	@test -x "$(PEERS)/bench.sh" || \
	  { echo "no bench rig at $(PEERS): make bench PEERS=/path/to/it" >&2; exit 1; }
	test -s "$(RIG)/keys/rig.pem" || "$(PEERS)/setup.sh"
	rm -f "$(RESULTS)"
	"$(PEERS)/bench.sh" 5 "10 50" 10240 "postfix $(CURDIR)/bench/peer-one.sh $(CURDIR)/bench/peer.sh"
	"$(PEERS)/table.py" "$(RESULTS)"

# One thing at a time is another: size, sessions, TLS, signatures, tenants, destinations,
# stores. Some minutes on an idle machine.
matrix: setup
	$(BIN)/python bench/matrix.py

rfc: setup
	$(BIN)/python tools/rfc_index.py

cases: setup
	$(BIN)/python tools/case_index.py

# requirements-run.lock: what the relay needs, without what its tests do.
lock: export CUSTOM_COMPILE_COMMAND = make lock
lock: COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: setup
	$(BIN)/python -m pip install --quiet pip-tools
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file requirements-run.lock pyproject.toml

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
