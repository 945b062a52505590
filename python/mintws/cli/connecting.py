"""The arguments of commands that connect, and the failures of connecting."""

from __future__ import annotations

import argparse
import os
import re
import socket
import ssl as tls
from http import HTTPStatus
from typing import Any

from mintws import ConnectError, LocalProtocolError, UpgradeError
from mintws.cli.argument_types import Each, header, limit, origin, token
from mintws.cli.rendering import harmless
from mintws.cli.tls import client_context

#: The most bytes of a message that is taken, if the command line does not say.
LIMIT = 64 * 1024 * 1024

#: A proxy in the text of an error.
_PROXY = re.compile(r" by the proxy \S+(?=: )")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where to connect to, and how."""
    parser.add_argument(
        "url",
        metavar="URL",
        help="ws://... or wss://...; without a scheme, as in localhost:8765, ws:// is meant, and wss:// with -k or --cafile",
    )
    parser.add_argument(
        "--http", choices=["1.1", "2", "auto"], default="auto", help="the version of HTTP (%(default)s: by ALPN)"
    )
    parser.add_argument(
        "-H",
        "--header",
        type=header,
        action="append",
        default=[],
        metavar="K:V",
        help="a header of the request; may be repeated",
    )
    parser.add_argument(
        "-o",
        "--origin",
        dest="header",
        type=origin,
        action="append",
        metavar="O",
        help="the Origin of the request, such as https://example.com",
    )
    parser.add_argument(
        "--subprotocol", type=token, action=Each, default=[], metavar="P", help="offer it; may be repeated"
    )
    parser.add_argument(
        "--limit",
        type=limit,
        default=LIMIT,
        metavar="SIZE",
        help="the most bytes of a message that is taken, such as 500, 64K or 16M; inf is no limit (64M)",
    )
    parser.add_argument(
        "--proxy",
        default="auto",
        metavar="URL",
        help="connect by this proxy, such as http://localhost:3128 or socks5h://localhost; none is none "
        "(what https_proxy, http_proxy or all_proxy says in the environment)",
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("-k", "--insecure", action="store_true", help="take any certificate")
    trust.add_argument("--cafile", metavar="F", help="trust the certificates in this PEM file")


def read_arguments(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the URL, and the keyword arguments of both `connect` and `connect_http2`.

    Raises:
        LocalProtocolError: the arguments contradict each other.
        Unusable: the file of certificates is missing or wrong.
    """
    if [name.lower() for name, _ in arguments.header].count("origin") > 1:
        raise LocalProtocolError("a request has one Origin (RFC 6454 §7.3), and two are given")
    url: str = arguments.url
    trusts = arguments.insecure or arguments.cafile is not None
    if not _SCHEME.match(url):
        url = f"{'wss' if trusts else 'ws'}://{url}"
    context = client_context(arguments.cafile, insecure=arguments.insecure)
    if context is not None and url.partition(":")[0].lower() in ("ws", "http"):
        raise LocalProtocolError("--insecure and --cafile are for wss:// URLs")
    proxy = None if arguments.proxy == "none" else arguments.proxy
    return url, {"ssl": context, "limit": arguments.limit, "proxy": proxy}


def describe_failure(error: ConnectError) -> str:
    """Describe why no WebSocket was opened, on one line."""
    if isinstance(error, UpgradeError):
        return f"refused: {_describe_refusal(error)}"
    beneath = error.__cause__
    if not isinstance(beneath, OSError):
        return str(error)
    # The text of `error` also names the server, which the user has just typed.
    proxy = _PROXY.search(str(error))
    return f"cannot connect{proxy[0] if proxy else ''}: {describe_cause(beneath)}"


def describe_cause(error: OSError) -> str:
    """Describe a failure of the network or of TLS, once for all addresses that were tried."""
    if isinstance(error, tls.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message} (--cafile, --insecure)"
    if isinstance(error, tls.SSLError):
        hint = "; if the server speaks no TLS, write ws://" if error.reason == "WRONG_VERSION_NUMBER" else ""
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}{hint}"
    # asyncio joins several failures, which differ at least in their addresses, to one error without a number.
    numbers = re.findall(r"\[Errno (\d+)\]", str(error))
    if isinstance(error, socket.gaierror) or not numbers:
        said = error.strerror or str(error)
    else:
        said = "; ".join(dict.fromkeys(os.strerror(int(number)) for number in numbers))
    return said[:1].lower() + said[1:] or type(error).__name__


def _describe_refusal(error: UpgradeError) -> str:
    """Describe a refusal: its status, and the first line of a plain text."""
    try:
        refusal = f"{error.status} {HTTPStatus(error.status).phrase}"
    except ValueError:
        refusal = str(error.status)
    kind = next((value for name, value in error.headers if name == "content-type"), "")
    text = error.body.decode("utf-8", "replace").strip().splitlines() if kind.startswith("text/plain") else []
    return f"{refusal}: {harmless(text[0][:200])}" if text else refusal
