"""`ws:` and `wss:` URLs (RFC 6455 §3, RFC 3986)."""

from __future__ import annotations

import base64
import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from mintws._core import DEFAULT_PORTS
from mintws.errors import LocalProtocolError

_SECURE = {"wss", "https"}

#: Scheme, authority, path, query, fragment (RFC 3986 appendix B).
_PARTS = re.compile(r"([^:/?#]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)
#: User and password, host, port (RFC 3986 §3.2).
_AUTHORITY = re.compile(r"(?:(.*)@)?(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?", re.DOTALL)
#: The characters of a registered name that need no percent-encoding (RFC 3986 §3.2.2).
_NAME = re.compile(r"[a-z0-9\-._~!$&'()*+,;=]+")
#: The zone of an IPv6 address, after "%25" (RFC 6874 §2) or a bare "%", which §3 suggests to accept too.
_ZONE = re.compile(r"%(?:25|(?!25))((?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})+)")
#: A last label of an IPv4 address. No top-level domain is a number.
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\.?")
#: A "%" that begins no percent-encoded octet (RFC 3986 §2.1).
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Url(NamedTuple):
    """The parts of a WebSocket URL.

    Attributes:
        secure: whether to use TLS.
        host: the host to connect to, in its ASCII form; an IPv6 address has no brackets.
        port: the port to connect to.
        authority: host and port for Host and `:authority` (RFC 9113 §8.3.1), without user and password, without the zone of an IPv6
            address, and without a default port.
        target: path and query, percent-encoded, beginning with "/".
        authorization: the value of an Authorization header for the URL's user and password (RFC 7617), or `None`.
    """

    secure: bool
    host: str
    port: int
    authority: str
    target: str
    authorization: str | None

    @property
    def server_name(self) -> str:
        """The name for SNI and the certificate check, without a trailing dot (RFC 6066 §3) and without a zone."""
        return self.host.partition("%")[0].removesuffix(".")


def parse(url: str) -> Url:
    """Parse a URL.

    Raises:
        LocalProtocolError: it is not a WebSocket URL: it has another scheme, no valid host, a fragment (RFC 6455 §3), or a user that Basic
            credentials cannot represent. The message omits a URL that contains a user or a password.
        TypeError: it is not a `str`.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}")
    shown = "the URL" if "@" in url else repr(url)
    if any(character < " " or character == "\x7f" for character in url):
        raise LocalProtocolError(f"{shown} has a control character, which must be percent-encoded")
    if url != url.strip(" "):
        raise LocalProtocolError(f"{shown} begins or ends with a space")
    try:
        url.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{shown} is no URL: a surrogate is no character") from None
    parts = _PARTS.fullmatch(url)
    scheme = parts[1].lower() if parts else ""
    if parts is None or scheme not in DEFAULT_PORTS:
        raise LocalProtocolError(f"{shown} must begin with ws:// or wss://")
    _, written, path, query, fragment = parts.groups()
    if fragment is not None:
        raise LocalProtocolError(f"{shown} has a fragment, which a WebSocket's URL may not have (RFC 6455 §3)")
    if _BAD_PERCENT.search(path + (query or "")):
        raise LocalProtocolError(f"{shown} has a % in its path or query that begins no octet: a percent sign is %25")
    authority = _AUTHORITY.fullmatch(written)
    if authority is None:
        raise LocalProtocolError(f"{shown} must have a host, and a port that is a number, between // and the path")
    if "\\" in written:
        raise LocalProtocolError(f"{shown} has a backslash before its path, which browsers take for a slash")
    user, host, digits = authority.groups()
    # An empty port is the default of the scheme (RFC 3986 §3.2.3).
    port = int(digits.lstrip("0")[:6] or 0) if digits else DEFAULT_PORTS[scheme]
    if port > 65535:
        raise LocalProtocolError(f"{shown} has a port that is no number from 0 to 65535")
    try:
        host = ipv6_host(host[1:-1]) if host.startswith("[") else ascii_host(_percent_decoded(host))
    except ValueError as error:
        raise LocalProtocolError(f"the host of {shown} {error}") from None
    # The zone of an IPv6 address has a meaning on this host only (RFC 6874 §4).
    named = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port != DEFAULT_PORTS[scheme]:
        named += f":{port}"
    target = quote(path or "/", safe="/%:@!$&'()*+,;=-._~")
    if query:
        target += "?" + quote(query, safe="/%:@!$&'()*+,;=-._~?")
    return Url(scheme in _SECURE, host, port, named, target, _basic(user) if user is not None else None)


def ascii_host(host: str) -> str:
    """Return a name or an IPv4 address in lower-case ASCII. International names are mapped by UTS 46 and encoded by IDNA 2008.

    Raises:
        ValueError: it is neither. The message is a predicate, to be put after a subject.
    """
    if not host.isascii():
        host = _from_unicode(host)
    host = host.lower()
    if not host:
        raise ValueError("is empty")
    if not _NAME.fullmatch(host):
        raise ValueError("has a character that no host has: a space, a backslash or a bracket, say")
    labels = host.removesuffix(".").split(".")
    if not all(0 < len(label) < 64 for label in labels) or len(host.removesuffix(".")) > 253:
        raise ValueError("is no name: a label is empty or has more than 63 characters, or it has more than 253 in all")
    if _NUMBER.fullmatch(labels[-1]) and not _is_ipv4(host):
        # Systems read 127.1, 0177.0.0.1 and 0x7f000001 as addresses, each in its own way (RFC 3986 §7.4).
        raise ValueError("ends in a number and is no IPv4 address: write that as four decimal numbers")
    return host


def _from_unicode(host: str) -> str:
    # The import takes 20 ms, so only such names pay for it.
    import idna

    try:
        # Never transitional: "ß" is a letter of its own. The caller checks the characters that are ASCII after this.
        mapped = idna.uts46_remap(host, std3_rules=False)
        return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in mapped.split("."))
    except idna.IDNAError as error:
        raise ValueError(f"is no international name (IDNA 2008): {error}") from None


def ipv6_host(address: str) -> str:
    """Return an IPv6 address without brackets, with its zone, if any, after a "%" (RFC 4007 §11).

    Raises:
        ValueError: as from `ascii_host`.
    """
    import ipaddress

    address, percent, zone = address.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError("is no IPv6 address") from None
    if not percent:
        return address.lower()
    named = _ZONE.fullmatch(percent + zone)
    if named is None:
        raise ValueError("has an IPv6 zone that is none: it follows %25, and other characters are percent-encoded")
    zone = _percent_decoded(named[1])
    if not zone.isascii() or not zone.isprintable() or set(zone) & set("%/ "):
        raise ValueError("has an IPv6 zone that names no interface")
    return f"{address.lower()}%{zone}"


def _percent_decoded(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise ValueError("has a % that begins no octet")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("is percent-encoded, and no UTF-8 (RFC 3986 §3.2.2)") from None


def _is_ipv4(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _basic(userinfo: str) -> str | None:
    """Return Basic credentials for a percent-encoded user and password (RFC 7617 §2), or `None` if both are empty."""
    user, _, password = (unquote_to_bytes(part) for part in userinfo.partition(":"))
    return basic_credentials(user, password) if user or password else None


def basic_credentials(user: bytes, password: bytes) -> str:
    """Return Basic credentials (RFC 7617 §2).

    Raises:
        LocalProtocolError: they cannot represent the user or the password.
    """
    if b":" in user:
        raise LocalProtocolError("a user may not have a colon, where the password would begin (RFC 7617 §2)")
    if any(octet < 0x20 or octet == 0x7F for octet in user + password):
        raise LocalProtocolError("a user and a password may not have control characters (RFC 7617 §2)")
    return "Basic " + base64.b64encode(user + b":" + password).decode()
