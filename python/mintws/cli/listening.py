"""The arguments of commands that listen."""

from __future__ import annotations

import argparse
import ssl
from typing import Any

from mintws.cli.argument_types import port
from mintws.cli.tls import server_context


def add_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Add where to listen, and what is spoken there; return the group of the port, for other ways to give it."""
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="where to listen (%(default)s)")
    ports = parser.add_mutually_exclusive_group()
    ports.add_argument(
        "--port", type=port, default=8765, metavar="N", help="where to listen; 0 is a free port (%(default)s)"
    )
    parser.add_argument(
        "--http",
        choices=["1.1", "auto"],
        default="auto",
        help="the versions of HTTP (%(default)s: 1.1 and 2, as the client says)",
    )
    parser.add_argument("--cert", metavar="F", help="speak TLS, with the certificates in this PEM file")
    parser.add_argument("--key", metavar="F", help="the key of the certificate, if it is in a file of its own")
    return ports


def make_context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """Make the TLS context that was asked for, if one was.

    Raises:
        Unusable: a file is missing or wrong.
    """
    if arguments.key is not None and arguments.cert is None:
        arguments.usage_error("--key needs --cert")
    return None if arguments.cert is None else server_context(arguments.cert, arguments.key)


def authority(address: tuple[Any, ...]) -> str:
    """Give an address as it stands in a URL."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
