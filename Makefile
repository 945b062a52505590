# make demo     set up what is missing and show it
# make test     set up what is missing and run all tests
# make peers    talk to other libraries, gateways and a browser, and install them where it can
# make check    what must pass before a commit: format, lints, types, tests
# make bench    measure against other libraries, about two minutes; make bench-full takes all cases
# make autobahn  all cases of Autobahn|Testsuite over HTTP/1.1 and HTTP/2, about 20 minutes: conformance/README.md
#
# It takes Rust and Python 3.10 or later, which PYTHON or MINTWS_PYTHON picks: `make test PYTHON=python3.13`.

MINTWS_PYTHON ?= $(shell for it in python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$it -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && echo $$it && break; done)
PYTHON ?= $(MINTWS_PYTHON)
CARGO ?= cargo
VENV ?= .venv
PY := $(VENV)/bin/python
# The core is built and checked against the Python that it is tested with.
export PYO3_PYTHON = $(abspath $(PY))
# What maturin installs into, whatever is active.
export VIRTUAL_ENV = $(abspath $(VENV))
unexport CONDA_PREFIX

RUST_SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock
FORMATTED := python tests docs $(wildcard benches conformance examples)

.DEFAULT_GOAL := test
.PHONY: demo test peers check format lint types rust-test everyday setup build tools clean

demo: build
	$(PY) -m mintws demo

test: build
	$(CARGO) test --no-default-features --quiet
	$(PY) -m pytest

# Real peers; as root it installs what is missing. WRITE_TABLE=--write-table writes docs/interop.md.
peers: build
	-tests/peers/setup.sh
	$(PY) -m pytest tests/peers $(WRITE_TABLE)

check: format lint types rust-test everyday

format: setup tools
	$(CARGO) fmt --check
	$(PY) -m ruff format --check $(FORMATTED)

lint: setup tools
	$(CARGO) clippy --quiet --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	$(PY) -m ruff check $(FORMATTED)

types: build tools
	$(PY) -m mypy --strict python/mintws
	$(PY) -m mypy.stubtest mintws._core

rust-test: setup
	$(CARGO) test --no-default-features --quiet

everyday: build
	HYPOTHESIS_PROFILE=everyday $(PY) -m pytest -m "not slow"

bench: build $(VENV)/.bench
	$(PY) benches/run.py

bench-full: build $(VENV)/.bench
	$(PY) benches/run.py --full

# Instruction counts of the hot paths against those recorded; it takes valgrind.
instructions: build
	$(PY) benches/instructions.py

.PHONY: autobahn
autobahn: build
	$(PY) conformance/run.py $(AUTOBAHN)

clean:
	rm -rf $(VENV) target

# What follows is done once, and again only when what it depends on has changed.

setup: $(VENV)/.set-up
build: $(VENV)/.built
tools: $(VENV)/.tools

$(VENV)/.set-up: pyproject.toml | rust python
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --disable-pip-version-check "maturin>=1.9,<2" --group test
	@touch $@

$(VENV)/.tools: $(VENV)/.set-up
	$(PY) -m pip install --quiet --disable-pip-version-check --group check
	@touch $@

$(VENV)/.bench: $(VENV)/.set-up
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade --group bench
	@touch $@

$(VENV)/.built: $(VENV)/.set-up $(RUST_SOURCES)
	$(PY) -m maturin develop --release --quiet
	@touch $@

.PHONY: rust python
rust:
	@command -v $(CARGO) >/dev/null || { \
		echo "Rust is missing: install it from https://rustup.rs, 1.93 or later, and open a new shell." >&2; exit 1; }

python:
	@test -x $(PY) || test -n "$(PYTHON)" || { \
		echo "Python 3.10 or later is missing: install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$(PYTHON) is older than Python 3.10, or no Python: name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
