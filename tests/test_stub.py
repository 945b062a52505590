"""The stub of the core says what help() says. That the signatures agree is checked by `python -m mypy.stubtest mintws._core`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from mintws import _core

STUB = Path(__file__).resolve().parent.parent / "python" / "mintws" / "_core.pyi"
#: Methods that Python names, and whose docstrings are its own.
NAMED_BY_PYTHON = {"__new__", "__eq__", "__hash__", "__await__", "__iter__", "__next__", "__aiter__", "__anext__"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.ClassDef | Function


def stubs() -> Iterator[tuple[str, Documented]]:
    """Give everything in the stub that can have a docstring, by its dotted name."""
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, Documented):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, Function) and member.name not in NAMED_BY_PYTHON:
                    yield f"{node.name}.{member.name}", member


STUBS = dict(stubs())


@pytest.mark.parametrize("name", STUBS)
def test_docstring_is_that_of_the_core(name: str) -> None:
    found = _core
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
        found = found.__func__ if isinstance(found, staticmethod) else found
    written = ast.get_docstring(STUBS[name]) or ""
    shown = inspect.cleandoc(found.__doc__ or "")
    assert written == shown


def public() -> list[str]:
    """Give what needs a docstring: all that has no underscore but the fields of events, of which their classes tell."""
    fields = {
        f"{owner}.{field}" for owner in STUBS for field in getattr(getattr(_core, owner, None), "__match_args__", ())
    }
    return [name for name in STUBS if name not in fields and not any(part[0] == "_" for part in name.split("."))]


@pytest.mark.parametrize("name", public())
def test_what_is_public_has_a_docstring(name: str) -> None:
    assert ast.get_docstring(STUBS[name])
