"""Basic credentials that a server asks for (RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

from mintws.connection import Connection
from mintws.errors import LocalProtocolError
from mintws.events import UpgradeReject, UpgradeRequest


def basic_auth(
    users: Mapping[str, str], *, realm: str = "WebSocket"
) -> Callable[[Connection, UpgradeRequest], UpgradeReject | None]:
    """Make an `upgrade` hook that lets in who sends a name and password of `users`, and answers others with 401.

    The name becomes `connection.app`, and so `websocket.app`. Passwords are compared in constant time.

    Args:
        users: passwords by name. It may change later.
        realm: what the credentials are for.

    Raises:
        LocalProtocolError: `realm` has a quotation mark, a backslash or a character that is not printable ASCII; or a name has a
            colon, which ends a name in credentials (RFC 7617 §2).
        TypeError: `users` is no mapping of `str` to `str`.
    """
    if not isinstance(users, Mapping):
        raise TypeError(
            f'users is a mapping of passwords by name, such as {{"ann": "secret"}}, not {type(users).__name__}'
        )
    for name, password in users.items():
        if not all(isinstance(it, str) for it in (name, password)):
            raise TypeError(f"the name and the password of user {name!r} are str, not bytes or others")
        if ":" in name:
            raise LocalProtocolError(
                f"the name of user {name!r} has a colon, which ends a name in credentials (RFC 7617 §2)"
            )
    if not (realm.isascii() and realm.isprintable()) or set(realm) & set('"\\'):
        raise LocalProtocolError(f"a realm has printable ASCII, without quotation marks and backslashes, not {realm!r}")
    challenge = {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}

    def upgrade(connection: Connection, request: UpgradeRequest) -> UpgradeReject | None:
        sent = credentials(request)
        if sent is not None and _is_known(users, *sent):
            connection.app = sent[0]
            return None
        return UpgradeReject(401, headers=challenge, body=b"a name and a password are needed\n")

    return upgrade


def credentials(request: UpgradeRequest) -> tuple[str, str] | None:
    """Return the name and the password of a request's Basic credentials, or `None` if it has none, or not exactly one."""
    sent = request.headers.all("authorization")
    scheme, _, token = (sent[0] if len(sent) == 1 else "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _is_known(users: Mapping[str, str], name: str, password: str) -> bool:
    # Digests have one length, and an unknown name takes as long as a known one.
    expected = users.get(name)
    same = hmac.compare_digest(_digest(password), _digest(expected or ""))
    return same and expected is not None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
