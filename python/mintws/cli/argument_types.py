"""Types and actions of arguments."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any

from mintws import LocalProtocolError, UpgradeRequest
from mintws.connection import check_request

#: RFC 9110 §5.6.2: the names of headers and of subprotocols.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Headers that other arguments set.
_ELSEWHERE = {"host": "it is that of the URL", "sec-websocket-protocol": "use --subprotocol"}
_SIZE = re.compile(r"([0-9]+)(?:([kmg])(?:ib)?)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def port(text: str) -> int:
    """Parse the number of a port."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Parse a number of seconds, which may be infinite."""
    try:
        parsed = float(text)
    except ValueError:
        parsed = -1.0
    if not parsed >= 0:
        raise argparse.ArgumentTypeError(f"a time is a number of seconds, 0 or more, not {text!r}")
    return parsed


def size(text: str) -> int:
    """Parse a number of bytes, which may have a unit: K, M or G, powers of 1024."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"a size is a number of bytes, such as 500, 64K or 16M, not {text!r}")
    return int(found[1]) * _FACTORS[(found[2] or "").lower()]


def limit(text: str) -> int | None:
    """Parse a limit of bytes; `inf` is no limit."""
    return None if text.lower() == "inf" else size(text)


def count(text: str) -> int:
    """Parse a number of things, at least one."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"write a number, 1 or more, not {text!r}")
    return int(text)


def rate(text: str) -> float:
    """Parse a number of things a second."""
    try:
        parsed = float(text)
    except ValueError:
        parsed = 0.0
    if not 0 < parsed < float("inf"):
        raise argparse.ArgumentTypeError(f"a rate is a number of messages a second, more than 0, not {text!r}")
    return parsed


def token(text: str) -> str:
    """Check the name of a subprotocol."""
    if not _TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a subprotocol (RFC 6455 §4.1)")
    return text


def header(text: str) -> tuple[str, str]:
    """Parse a header of the request."""
    name, colon, value = text.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        raise argparse.ArgumentTypeError(f"write a header as NAME:VALUE, not {text!r}")
    if name.lower() in _ELSEWHERE:
        raise argparse.ArgumentTypeError(f"{name} is no header to give: {_ELSEWHERE[name.lower()]}")
    return _checked(name, value)


def origin(text: str) -> tuple[str, str]:
    """Parse the Origin of the request."""
    return _checked("Origin", text)


def text_message(text: str) -> str:
    """Check the text of a message, which was typed as bytes."""
    try:
        return os.fsencode(text).decode()
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8, so it cannot be text: use --binary") from None


def content(path: str) -> bytes:
    """Read a file; `-` is standard input."""
    try:
        with open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-") as file:
            return file.read()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {path!r}: {error.strerror or error}") from None
    except (AttributeError, ValueError):
        raise argparse.ArgumentTypeError("cannot read standard input: it is closed") from None


def application(text: str) -> str:
    """Check the name of an application."""
    module, colon, path = text.partition(":")
    if not colon or not all(it.isidentifier() for it in (*module.split("."), *path.split("."))):
        raise argparse.ArgumentTypeError(f"write an application as MODULE:NAME, not {text!r}")
    return text


class Each(argparse.Action):
    """Collects values that may be given once each."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        collected = getattr(namespace, self.dest)
        if values in collected:
            raise argparse.ArgumentError(self, f"{values!r} is given twice")
        setattr(namespace, self.dest, [*collected, values])


def _checked(name: str, value: str) -> tuple[str, str]:
    # Keep the bytes that were typed.
    line = (name, os.fsencode(value.strip()).decode("latin-1"))
    try:
        check_request(UpgradeRequest("localhost", headers=[line]))
    except LocalProtocolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return line
