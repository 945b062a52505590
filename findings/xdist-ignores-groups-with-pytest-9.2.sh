#!/usr/bin/env bash
# Surprise: with pytest 9.2.0, pytest-xdist's --dist loadgroup silently stops grouping. Tests that are marked with
# xdist_group("server"), since they share a port or a fixture that is made once, run in several processes at a time, and
# nothing says so: the run is green until two of them meet. With pytest 9.1.0 and the same xdist the group is a suffix of
# the test's name ("...@server") and all of it runs in one process.
# Versions: pytest-xdist 3.8.0 with pytest 9.1.0 and 9.2.0, Python 3.11 and newer.
# Source: pytest-xdist's documentation of --dist loadgroup ("guarantees that all tests in a group run in the same
# worker"); that it appends the group to a private attribute of the test, from which pytest 9.2.0 no longer takes the
# name, is read from its source and observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > test_group.py <<'PYTHON'
import time

import pytest


@pytest.mark.xdist_group("server")
@pytest.mark.parametrize("number", range(8))
def test_of_a_group(number):
    time.sleep(0.2)
PYTHON

# How many processes ran the eight tests of the group, and how many of these are named with it.
for version in 9.1.0 9.2.0; do
    python3 -m venv --clear venv
    timeout 300 venv/bin/pip install --quiet --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0
    timeout 60 venv/bin/python -m pytest -p no:cacheprovider --numprocesses 2 --dist loadgroup --verbose > log
    processes=$(grep --only-matching '^\[gw[0-9]*\]' log | sort -u | wc -l)
    named=$(grep --count 'PASSED .*@server' log || true)
    passed=$(grep --count ' PASSED ' log)
    echo "pytest $version, pytest-xdist 3.8.0: $passed passed in $processes process(es), $named named with their group"
    case $version in
        9.1.0) test "$passed $processes $named" = "8 1 8" ;;
        9.2.0) test "$passed $processes $named" = "8 2 0" ;;
    esac || { echo "it behaves differently now"; exit 1; }
done
