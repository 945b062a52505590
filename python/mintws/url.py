"""`ws:` and `wss:` URLs (RFC 6455 §3)."""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from mintws.errors import LocalProtocolError

_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
_SECURE = {"wss", "https"}


class Url(NamedTuple):
    """What a URL says.

    Attributes:
        secure: whether TLS is spoken.
        host: where to connect to; without the brackets of an IPv6 address, in its ASCII form.
        port: where to connect to.
        authority: host and port as Host and `:authority` have them: without a port that is the scheme's own.
        target: path and query, percent-encoded, from "/" on.
        authorization: the value of an Authorization header for the URL's user and password (RFC 7617), or `None`.
    """

    secure: bool
    host: str
    port: int
    authority: str
    target: str
    authorization: str | None


def parse(url: str) -> Url:
    """Take a URL apart.

    Raises:
        LocalProtocolError: it is no URL of a WebSocket: another scheme, no host, a fragment (RFC 6455 §3), or a user that Basic
            credentials cannot name. The message shows no URL that has a user or a password in it.
        TypeError: it is no `str`.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}")
    shown = "the URL" if "@" in url else repr(url)
    if any(character < " " or character == "\x7f" for character in url):
        # `urlsplit` drops some of them without a word.
        raise LocalProtocolError(f"{shown} has a control character, which must be percent-encoded")
    try:
        url.encode()
        parts = urlsplit(url)
    except ValueError:
        raise LocalProtocolError(f"{shown} is no URL") from None
    try:
        port = parts.port
    except ValueError:
        raise LocalProtocolError(f"{shown} has a port that is no number from 0 to 65535") from None
    if parts.scheme not in _PORTS:
        raise LocalProtocolError(f"{shown} must begin with ws:// or wss://")
    if parts.fragment or url.endswith("#"):
        raise LocalProtocolError(f"{shown} has a fragment, which a WebSocket's URL may not have (RFC 6455 §3)")
    host = _ascii(parts.hostname or "", shown)
    # The zone of an IPv6 address means something to this host alone (RFC 6874 §4).
    authority = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        authority += f":{port}"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=-._~?")
    authorization = None if parts.username is None else _basic(parts.username, parts.password or "")
    return Url(
        parts.scheme in _SECURE, host, _PORTS[parts.scheme] if port is None else port, authority, target, authorization
    )


def _ascii(host: str, shown: str) -> str:
    if not host:
        raise LocalProtocolError(f"{shown} names no host")
    if ":" in host:
        return host
    try:
        # A name in ASCII too, whose labels may be empty or too long.
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise LocalProtocolError(f"the host of {shown} is no name: a label is empty, too long or not in IDNA") from None


def _basic(user: str, password: str) -> str:
    """Write a user and a password, percent-encoded, as Basic credentials (RFC 7617 §2)."""
    user, password = unquote(user), unquote(password)
    if ":" in user:
        raise LocalProtocolError("the user of a URL may not have a colon, where its password would begin (RFC 7617 §2)")
    if any(character < " " or character == "\x7f" for character in user + password):
        raise LocalProtocolError("the user and the password of a URL may not have control characters (RFC 7617 §2)")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
