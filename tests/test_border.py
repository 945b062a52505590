"""What the core calls on classes of Python is declared in `mintws.border`, and what they use of its classes is used."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from mintws import Carrier, Connection, Http1, border
from mintws.asgi import AsgiWebSocket, WebSocketCycle
from mintws.asyncio import WebSocket
from mintws.asyncio.connector import ClientProtocol, ClientTls
from mintws.asyncio.server import ServerProtocol, ServerTls
from mintws.extensions import Chain
from mintws.http2.websocket import WebSocketStream
from mintws.sync import WebSocket as ThreadWebSocket
from mintws.sync.connector import ClientSocket
from mintws.sync.server import ServerSocket
from mintws.trio import WebSocket as TrioWebSocket

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "mintws"
RUST = ROOT / "src" / "py"

#: The classes whose objects the core is given as each of these.
ANSWERS: dict[str, tuple[type, ...]] = {
    "Transport": (ClientProtocol, ServerProtocol),
    "Channel": (ClientTls, ServerTls),
    "WebSocket": (WebSocket,),
    "Burst": (TrioWebSocket,),
    "AsgiWebSocket": (AsgiWebSocket,),
    "AsgiCycle": (WebSocketCycle,),
    "Socket": (ClientSocket, ServerSocket),
    "Blocking": (ThreadWebSocket,),
    "Endpoint": (Connection,),
    "Carrier": (Carrier, Http1, WebSocketStream),
    "Transforms": (Chain,),
}
#: What the core calls on objects that are not ours: event loops, futures, contexts, coroutines, protocols, and those of `ssl`.
FOREIGN = {
    "buffer_updated",
    "call_soon",
    "cast",
    "close",
    "create_future",
    "current_thread",
    "get_buffer",
    "is_closed",
    "main_thread",
    "read",
    "run",
    "set_result",
    "strerror",
    "throw",
    "write",
}
#: The classes of the core that classes of Python are built on, and what it hands of them to the event loop itself.
BASES = {
    "AsgiCycle",
    "BlockingWebSocket",
    "BurstWebSocket",
    "Endpoint",
    "ProtocolBase",
    "MessageQueue",
    "SocketBase",
    "TlsChannel",
    "WebSocket",
}
CALLED_BY_LOOP = {"_flush"}
#: What is for a driver that has no half in the core.
OF_PLAIN_QUEUES = {"_pop"}

CALL = re.compile(r'call_method\w*\(\s*(?:py,\s*)?(?:intern!\([^"]*)?"(\w+)"')


def called() -> dict[str, set[str]]:
    """Give the methods that `border.rs` calls, by its parts."""
    source = (RUST / "border.rs").read_text(encoding="utf-8")
    parts = re.split(r"^pub mod (\w+) \{$", source, flags=re.MULTILINE)
    return {name: set(re.findall(r'"(\w+)"', text)) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def declared() -> dict[str, set[str]]:
    """Give the methods of the protocols."""
    tree = ast.parse((PACKAGE / "border.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {it.name: {member.name for member in it.body if isinstance(member, ast.FunctionDef)} for it in classes}


def parameters(function: Any) -> list[tuple[str, Any]]:
    return [(it.name, it.kind) for it in inspect.signature(function).parameters.values()]


def test_what_the_core_calls_is_declared_and_nothing_else():
    assert called() == {name.lower(): methods for name, methods in declared().items()}
    assert ANSWERS.keys() == declared().keys()


def test_nothing_is_called_by_name_elsewhere_but_on_what_is_not_ours():
    found = {
        path.name: set(CALL.findall(path.read_text(encoding="utf-8")))
        for path in RUST.rglob("*.rs")
        if path.name != "border.rs"
    }
    assert {path: names - FOREIGN for path, names in found.items() if names - FOREIGN} == {}
    assert set().union(*found.values()) >= {"call_soon", "throw", "close"}


@pytest.mark.parametrize(
    "call",
    ['slf.call_method1(intern!(py, "x"), (a,))', 'it.call_method0(py, intern!(py, "x"))', 'it.call_method0("x")'],
)
def test_calls_are_found_however_they_are_written(call):
    assert CALL.findall(call) == ["x"]


@pytest.mark.parametrize(
    ("protocol", "answer", "method"),
    [
        (protocol, answer, method)
        for protocol, answers in ANSWERS.items()
        for answer in answers
        for method in sorted(declared()[protocol])
    ],
    ids=lambda it: getattr(it, "__name__", it),
)
def test_class_answers_as_declared(protocol, answer, method):
    expected = getattr(getattr(border, protocol), method)
    assert parameters(getattr(answer, method)) == parameters(expected)


def used() -> set[str]:
    """Give the names of all attributes that mintws uses."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_what_the_core_has_for_its_subclasses_is_used():
    tree = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    private = set()
    for base in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in BASES):
        for member in base.body:
            name = getattr(member, "name", None) or getattr(getattr(member, "target", None), "id", "")
            if name.startswith("_") and not name.startswith("__"):
                private.add(name)
    assert {"_receive_early", "_deliver_to", "_writer"} <= private
    assert private - used() - CALLED_BY_LOOP - OF_PLAIN_QUEUES == set()
