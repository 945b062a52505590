"""Messages as lines of text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintws.cli.rendering import indented

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda it: st.lists(it) | st.dictionaries(st.text(), it),
)


@given(VALUES, st.booleans())
def test_json_is_indented_as_python_does(value: object, ascii_only: bool) -> None:
    compact = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    expected = json.dumps(value, ensure_ascii=ascii_only, indent=2)
    assert indented(compact) == indented(expected) == expected


@pytest.mark.parametrize("text", ["", "no json", "[1,]", "NaN", "[Infinity]", '{"a":1} {"b":2}', "[" * 100_000, "'a'"])
def test_a_text_that_is_no_json_stays_as_it_is(text: str) -> None:
    assert indented(text) == text


def test_what_python_would_change_stays() -> None:
    digits = "1" * 5000
    text = f'[{digits},1.10,1e999,-0,"\\u00e9\\ud800"]'
    assert indented(text).split() == ["[", f"{digits},", "1.10,", "1e999,", "-0,", '"\\u00e9\\ud800"', "]"]
