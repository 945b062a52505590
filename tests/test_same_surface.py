"""The drivers have the same names, with the same arguments and documentation; where they differ, it is listed here with its reason."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

import pytest

import mintws.asyncio
import mintws.asyncio.testing

#: The modules that are compared with those of asyncio's driver.
DRIVERS = ["mintws.trio", "mintws.trio.testing"]

#: What a driver has in place of a name or an argument of asyncio's, and why. The keys are `name`, `Class.member` or `call(argument)`.
MEANT: dict[str, dict[str, str]] = {
    "mintws.trio": {
        "connect(transport)": "trio has streams: connect(stream)",
        "connect(stream)": "trio has streams: connect(transport)",
        "connect(nursery)": "tasks run in a nursery",
        "connect_http2(transport)": "trio has streams: connect_http2(stream)",
        "connect_http2(stream)": "trio has streams: connect_http2(transport)",
        "connect_http2(nursery)": "tasks run in a nursery",
        "Pool(nursery)": "tasks run in a nursery",
        "Pool.connect(transport)": "trio has streams: Pool.connect(stream)",
        "Pool.connect(stream)": "trio has streams: Pool.connect(transport)",
        "Pool.connect(nursery)": "connect has it",
        "serve(task_status)": "nursery.start gives it",
        "serve.send": "a call of serve is a coroutine, for nursery.start",
        "serve.throw": "a call of serve is a coroutine, for nursery.start",
        "serve.close": "a call of serve is a coroutine, for nursery.start",
        "WebSocket.transport": "trio has streams: WebSocket.stream and WebSocket.ssl_object",
        "WebSocket.stream": "trio has streams: WebSocket.transport",
        "WebSocket.ssl_object": "trio has streams: WebSocket.transport.get_extra_info",
        "serve(listen)": "trio has streams: Server.serve_stream",
        "Server.serve_stream": "trio has streams, which others may accept",
    },
    "mintws.trio.testing": {
        "serve_in_memory(task_status)": "nursery.start gives it",
        "serve_in_memory.send": "a call of serve is a coroutine, for nursery.start",
        "serve_in_memory.throw": "a call of serve is a coroutine, for nursery.start",
        "serve_in_memory.close": "a call of serve is a coroutine, for nursery.start",
        "serve_in_memory(listen)": "trio has streams: Server.serve_stream",
        "MemoryServer.serve_stream": "trio has streams, which others may accept",
    },
}

#: The docstrings, or their entries, with another text than asyncio's, and why.
TOLD_OTHERWISE: dict[str, dict[str, str]] = {
    "mintws.trio": {
        "Http2Client.request": "trio.fail_after() limits its time",
        "Pool": "its tasks run in a nursery, and it belongs to no loop",
        "Pool.connect(LocalProtocolError)": "a pool may have no nursery",
        "WebSocket.send": "a send that does not wait cannot be cancelled either",
        "broadcast(RuntimeError)": "there may be another run in the same thread",
        "connect": "what is awaited needs a nursery",
        "connect(LocalProtocolError)": "what is awaited needs a nursery",
        "connect_http2(LocalProtocolError)": "what is awaited needs a nursery",
        "serve": "nursery.start stands for `await serve(...)`",
    },
    "mintws.trio.testing": {
        "serve_in_memory": "nursery.start stands for `await serve_in_memory(...)`",
    },
}

#: Words in place of which other drivers have their own.
WORDS = [
    (r"\basync (with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bmintws\.(trio|sync)\b", "mintws.asyncio"),
    (r"\bthread(s?)\b", r"task\1"),
    (r"\bof (a|this) run\b", r"of \1 loop"),
    (r"`stream`", "`transport`"),
]

#: Sections of a docstring that list arguments.
SECTION = re.compile(r"^Args:\n((?:    .*\n|\n)*)", re.MULTILINE)


def public(kind: type) -> dict[str, Any]:
    """Give the public members of a class, and its special methods of use."""
    special = {"__init__", "__aenter__", "__aexit__", "__aiter__", "__anext__", "__await__"}
    names = [name for name in dir(kind) if not name.startswith("_")]
    names += [name for name in special if getattr(kind, name, None) is not getattr(object, name, None)]
    return {name: inspect.getattr_static(kind, name) for name in names}


def surface(module: ModuleType) -> dict[str, Any]:
    """Give all public names of a driver, those of members after that of their class."""
    found = {}
    for name in module.__all__:
        kind = getattr(module, name)
        found[name] = kind
        found |= {f"{name}.{member}": it for member, it in public(kind).items()}
    return found


def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
    """Give the arguments of a function, each with its kind and its default."""
    return {it.name: (it.kind, it.default) for it in inspect.signature(function).parameters.values()}


def documented(found: Any) -> list[str]:
    """Give the arguments that a docstring tells of, in order."""
    section = SECTION.search((inspect.getdoc(found) or "") + "\n")
    lines = re.findall(r"^    (?=\S)((?:[^:(]|\n)+?):(?:\s|$)", section.group(1) if section else "", re.MULTILINE)
    return [name.strip() for line in lines for name in line.replace("\n", " ").split(",")]


def said(found: Any) -> dict[str, str]:
    """Give the texts of a docstring: those of its entries by their names, and that of all else by an empty one."""
    texts = {"": ""}
    for block in re.split(r"\n(?=\S)", inspect.getdoc(found) or ""):
        title, _, entries = block.partition("\n")
        if title not in ("Args:", "Attributes:", "Raises:", "Returns:"):
            texts[""] += f" {block}"
            continue
        for entry in re.split(r"^(?=    \S)", entries, flags=re.MULTILINE)[1:]:
            name, _, text = entry.partition(":")
            texts[" ".join(name.split())] = text
    for name, text in texts.items():
        for own, common in WORDS:
            text = re.sub(own, common, text)
        texts[name] = " ".join(text.split())
    return texts


def told_otherwise(module: ModuleType) -> set[str]:
    """Find the docstrings, and entries of them, whose text differs between a module of a driver and that of asyncio's."""
    own = mintws.asyncio.testing if module.__name__.endswith(".testing") else mintws.asyncio
    ours, theirs = surface(own), surface(module)
    found = set()
    for name in ours.keys() & theirs.keys():
        left, right = said(ours[name]), said(theirs[name])
        for entry in left.keys() & right.keys():
            if left[entry] != right[entry]:
                found.add(f"{name}({entry})" if entry else name)
    return found


def differences(module: ModuleType) -> set[str]:
    """Find what differs between a module of a driver and that of asyncio's."""
    own = mintws.asyncio.testing if module.__name__.endswith(".testing") else mintws.asyncio
    ours, theirs = surface(own), surface(module)
    found = set(ours.keys() ^ theirs.keys())
    for name in ours.keys() & theirs.keys():
        one, other = ours[name], theirs[name]
        call = name.removesuffix(".__init__")
        if not isinstance(one, property) and callable(one) and not isinstance(one, type):
            left, right = parameters(one), parameters(other)
            found |= {f"{call}({it})" for it in left.keys() ^ right.keys()}
            found |= {f"{call}({it})" for it in left.keys() & right.keys() if left[it] != right[it]}
            common = [[it for it in each if it in left and it in right] for each in (left, right)]
            if common[0] != common[1]:
                found.add(f"{call}(order)")
            if inspect.iscoroutinefunction(one) != inspect.iscoroutinefunction(other):
                found.add(f"{call}(awaited)")
        if isinstance(one, property) != isinstance(other, property):
            found.add(name)
        left, right = documented(one), documented(other)
        found |= {f"{name}({it})" for it in set(left) ^ set(right)}
    return found


@pytest.mark.parametrize("name", DRIVERS)
def test_drivers_differ_only_where_it_is_meant(name: str) -> None:
    assert differences(importlib.import_module(name)) == MEANT[name].keys()


@pytest.mark.parametrize("name", DRIVERS)
def test_docstrings_say_the_same_unless_otherwise_is_meant(name: str) -> None:
    assert told_otherwise(importlib.import_module(name)) == TOLD_OTHERWISE[name].keys()


def test_other_texts_are_found() -> None:
    class WebSocket(mintws.asyncio.WebSocket):
        __doc__ = mintws.asyncio.WebSocket.__doc__

        async def ping(self, data: bytes | None = None) -> float:
            """Ask.

            Args:
                data: the data, which
                    may be anything.
            """
            return 0.0

    module = ModuleType("other")
    module.__dict__.update({name: getattr(mintws.asyncio, name) for name in mintws.asyncio.__all__})
    module.__dict__.update(__all__=mintws.asyncio.__all__, WebSocket=WebSocket)
    assert told_otherwise(module) == {"WebSocket.ping", "WebSocket.ping(data)"}
    assert said(WebSocket.ping) == {"": "Ask.", "data": "the data, which may be anything."}


def test_differences_are_found() -> None:
    class WebSocket(mintws.asyncio.WebSocket):
        """An open WebSocket."""

        async def ping(self, data: bytes | None = b"", more: int = 0) -> float:
            """Ask.

            Args:
                data: the data.
                more: more.
            """
            return 0.0

        def close(self, code: int | None = 1000, reason: str = "") -> None:  # type: ignore[override]
            """Close.

            Args:
                code: the code.
            """

        async def other(self) -> None:
            """Do something else."""

    module = ModuleType("other")
    module.__dict__.update({name: getattr(mintws.asyncio, name) for name in mintws.asyncio.__all__})
    module.__dict__.update(__all__=mintws.asyncio.__all__, WebSocket=WebSocket)
    assert differences(module) == {
        "WebSocket.close(awaited)",
        "WebSocket.close(reason)",
        "WebSocket.other",
        "WebSocket.ping(data)",
        "WebSocket.ping(more)",
    }


def test_arguments_are_read_from_docstrings() -> None:
    assert documented(mintws.asyncio.connect)[:4] == ["url", "http", "headers", "auth"]
    assert {"sock", "path", "open_timeout", "options"} <= set(documented(mintws.asyncio.connect))
    assert documented(mintws.asyncio.WebSocket.send) == ["message", "compress"]
