# make demo      set up what is missing and show it
# make test      set up what is missing and run all tests
# make peers     talk to other libraries, gateways and a browser, and install them where it can
# make check     what must pass before a commit: format, lints, types, tests
# make docs      build the documentation into target/docs
# make fuzz      look for inputs that break the core, ten minutes; it takes a nightly Rust
# make bench     measure against other libraries, about six minutes; make bench-full takes all cases
# make wheels    build wheels and the source distribution into target/wheels: docs/wheels.md
# make autobahn  all cases of Autobahn|Testsuite over HTTP/1.1 and HTTP/2, about 13 minutes of two cores: conformance/README.md
#
# It takes Rust, and Python 3.10 or later: the one that PYTHON or MINTWS_PYTHON names, `make test PYTHON=python3.13`, else that of .venv,
# else the first that is found.

VENV ?= .venv
PY := $(VENV)/bin/python
CARGO ?= cargo
CANDIDATES := $(or $(PYTHON),$(MINTWS_PYTHON),$(PY) python3 python python3.14 python3.13 python3.12 python3.11 python3.10)
# Its series, such as 3.13, and the program that environments are made with, which is outside of any.
FOUND := $(shell for it in $(CANDIDATES); do $$it -c 'import sys; sys.version_info < (3, 10) and sys.exit(1); \
	print("%d.%d" % sys.version_info[:2], getattr(sys, "_base_executable", sys.executable))' 2>/dev/null && break; done)
SERIES := $(word 1,$(FOUND))
BASE := $(word 2,$(FOUND))
RUST := $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml)
# The core is built and checked against the Python that it is tested with.
export PYO3_PYTHON = $(abspath $(PY))
# What maturin installs into, whatever is active.
export VIRTUAL_ENV = $(abspath $(VENV))
unexport CONDA_PREFIX

RUST_SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock
FORMATTED := python tests docs $(wildcard benches conformance examples wheels)

.DEFAULT_GOAL := test
.PHONY: demo test peers check format lint types rust-test everyday setup build tools clean

demo: build
	$(PY) -m mintws demo

test: build $(VENV)/.test
	$(CARGO) test --no-default-features --quiet
	$(PY) -m pytest $(SIDE_BY_SIDE)

# Most tests wait more than they compute.
SIDE_BY_SIDE := --numprocesses 3

# Real peers; as root it installs what is missing. WRITE_TABLE=--write-table writes docs/interop.md.
peers: build $(VENV)/.test
	-sh tests/peers/setup.sh
	$(PY) -m pytest tests/peers $(WRITE_TABLE)

check: format lint types rust-test everyday

format: rust tools
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(PY) -m ruff format --check $(FORMATTED)

lint: rust tools
	$(CARGO) clippy --quiet --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	$(PY) -m ruff check $(FORMATTED)

types: build tools
	$(PY) -m mypy --strict python/mintws
	$(PY) -m mypy --strict examples
	$(PY) -m mypy.stubtest mintws._core

rust-test: rust
	$(CARGO) test --no-default-features --quiet

# Build and test the core with exactly the oldest Rust that it is declared for.
.PHONY: oldest-rust
oldest-rust: build
	@command -v rustup >/dev/null || { echo "rustup is missing, which installs Rust $(RUST): https://rustup.rs" >&2; exit 1; }
	rustup toolchain install $(RUST) --profile minimal --no-self-update
	CARGO_TARGET_DIR=target/oldest rustup run $(RUST) cargo test --locked --no-default-features --quiet
	CARGO_TARGET_DIR=target/oldest rustup run $(RUST) cargo check --locked --all-targets --quiet

# Check that the core compiles for CPython 3.14t and 3.15t. No such interpreter can be had for tests: a file says what PyO3 would ask it.
.PHONY: free-threaded
free-threaded: rust
	for python in .ci/cpython-*t.txt; do \
		PYO3_CONFIG_FILE=$(abspath .)/$$python CARGO_TARGET_DIR=target/free-threaded $(CARGO) check --locked --quiet || exit 1; \
	done

# Look for inputs that break the core: ten minutes in all, unless FUZZ_SECONDS says how long for each of the targets.
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
FUZZ_SECONDS ?= $(shell expr 600 / $(words $(FUZZ_TARGETS)))
FUZZ := PATH="$(abspath target/tools/bin):$$PATH" $(CARGO) +nightly fuzz
.PHONY: fuzz
fuzz: target/tools/bin/cargo-fuzz
	@$(CARGO) +nightly --version || rustup toolchain install nightly --profile minimal --no-self-update || { \
		echo "fuzzing takes a nightly Rust, which rustup installs: https://rustup.rs" >&2; exit 1; }
	$(FUZZ) build
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		$(FUZZ) run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=20 \
			-rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 || exit 1; \
	done

target/tools/bin/cargo-fuzz:
	$(CARGO) install cargo-fuzz --version 0.13.2 --locked --quiet --root target/tools

everyday: build $(VENV)/.test
	HYPOTHESIS_PROFILE=everyday $(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow"

# The driver's tests once more, on the other loop; the commands run asyncio's.
.PHONY: uvloop
uvloop: build $(VENV)/.test
	$(PY) -m pytest $(SIDE_BY_SIDE) --loop uvloop -m "not slow" --ignore-glob 'tests/drivers/test_cli*' tests/drivers tests/asgi

# The documentation, from docs/ and from docstrings, without network; a warning is an error. Sphinx takes Python 3.11 or later.
.PHONY: docs
docs: build $(VENV)/.docs
	$(PY) -m sphinx -E -W --keep-going -n -q -j auto docs target/docs

bench: build $(VENV)/.bench
	$(PY) benches/run.py

bench-full: build $(VENV)/.bench
	$(PY) benches/run.py --full

# Instruction counts of the hot paths against those recorded.
.PHONY: instructions
instructions: build
	@command -v valgrind >/dev/null || { \
		echo "valgrind is missing: on Debian and Ubuntu, apt install valgrind" >&2; exit 1; }
	$(PY) benches/instructions.py

# All of them take most of an hour; WHEELS names some: make wheels WHEELS="sdist cp310-manylinux_x86_64 cp31?-musllinux_*"
WHEELS ?= *
.PHONY: wheels check-wheels
wheels: rust $(VENV)/.wheels
	$(PY) wheels/build.py $(foreach it,$(WHEELS),'$(it)')

# The workflow files, which nothing here can run. Go brings the tool.
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
.PHONY: workflows
workflows:
	@command -v go >/dev/null || { echo "Go is missing: on Debian and Ubuntu, apt install golang-go" >&2; exit 1; }
	go run $(ACTIONLINT) .github/workflows/*.yml

# What is in target/wheels, run with each of PYTHONS that a wheel is for: make check-wheels PYTHONS="python3.10 python3.13"
PYTHONS ?= $(BASE)
check-wheels: $(VENV)/.wheels
	$(PY) wheels/check.py $(foreach it,$(PYTHONS),--python '$(it)') $(CHECK_WHEELS)

# The build that is tested, as a wheel in an environment where nothing else is: a newcomer's way through the tutorial there, and a chat of
# FastAPI under uvicorn in Chromium, if that is here.
.PHONY: installed
installed: build $(VENV)/.test
	rm -rf target/installed
	$(PY) -m maturin build --release --locked --quiet --compatibility linux --out target/installed
	$(BASE) -m venv target/installed/environment
	cd target/installed && environment/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo *.whl)[demo]" $(OR_HINT)
	cd target/installed && environment/bin/mintws demo
	cd target/installed && environment/bin/python -m pip install --quiet --disable-pip-version-check pytest uvicorn fastapi $(OR_HINT)
	cd target/installed && environment/bin/python -m pytest -q -c /dev/null --noconftest $(abspath tests/test_tutorial.py)
	MINTWS_INSTALLED=$(abspath target/installed/environment/bin/python) $(PY) -m pytest -q tests/peers/test_asgi_clients.py -k chromium

.PHONY: autobahn
autobahn: build
	$(PY) conformance/run.py $(AUTOBAHN)

clean:
	rm -rf $(VENV) target .cache

# What follows is done once, and again only when what it depends on has changed.

SET_UP := $(VENV)/.set-up-$(SERIES)
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
OR_HINT := || { echo "pip could not install what is missing; it takes them from PyPI: is the network there?" >&2; exit 1; }

setup: $(SET_UP)
build: $(VENV)/.built
tools: $(VENV)/.tools

# Whether the environment is one, of the right Python, with pip. What is none would let pip install into the Python beneath.
WHOLE := $(shell $(PY) -c 'import os, pip, sys; print(sys.prefix != sys.base_prefix and os.path.samefile(sys.prefix, "$(VENV)") \
	and "%d.%d" % sys.version_info[:2] == "$(SERIES)" or "")' 2>/dev/null)

$(SET_UP): pyproject.toml $(if $(WHOLE),,environment) | python
	@$(PIP) "pip>=25.1" $(OR_HINT)
	@$(PIP) "maturin>=1.9,<2" $(OR_HINT)
	@touch $@

$(VENV)/.test $(VENV)/.tools $(VENV)/.docs $(VENV)/.bench $(VENV)/.wheels: $(SET_UP)
	@$(PIP) $(if $(filter .bench,$(@F)),--upgrade) --group $(GROUP$(suffix $@)) $(OR_HINT)
	@touch $@

GROUP.test := test
GROUP.tools := check
GROUP.docs := docs
GROUP.bench := bench
GROUP.wheels := wheels

$(VENV)/.built: $(SET_UP) $(RUST_SOURCES) | rust
	$(PY) -m maturin develop --release --quiet --extras demo,cli
	@touch $@

.PHONY: environment rust python
environment: | python
	@if test -e $(VENV)/pyvenv.cfg; then \
		echo "$(VENV) is not of Python $(SERIES), or not whole: it is set up anew"; \
	elif test -e $(VENV); then \
		echo "$(VENV) is no virtual environment: move it away" >&2; exit 1; fi
	rm -rf $(VENV)
	$(BASE) -m venv $(VENV)

rust:
	@have=$$($(CARGO) --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/'); \
	if test -z "$$have"; then \
		echo "Rust is missing: install it from https://rustup.rs, $(RUST) or later, and open a new shell." >&2; exit 1; fi; \
	echo "$$have $(RUST)" | awk '{ split($$1, have, "."); split($$2, need, "."); \
		exit have[1] * 1000 + have[2] < need[1] * 1000 + need[2] }' || { \
		echo "Rust $$have is older than $(RUST): rustup update" >&2; exit 1; }

python:
	@test -n "$(SERIES)" || { echo "Python 3.10 or later is missing, looked for as: $(CANDIDATES)" >&2; \
		echo "install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -n "$(WHOLE)" || $(BASE) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(BASE) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
