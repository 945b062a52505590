"""Redirects of the opening handshake (RFC 9110 §15.4)."""

from __future__ import annotations

from urllib.parse import urldefrag, urljoin

from mintws.errors import ConnectError, LocalProtocolError, UpgradeError
from mintws.events import Headers
from mintws.url import Url, parse

#: The redirects of one opening that are followed unless the caller says otherwise.
REDIRECTS = 10

#: The statuses whose Location is followed. The request is a GET, so all of them mean the same.
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

#: Headers that another origin does not get.
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})


class Redirects:
    """The redirects of one opening.

    Args:
        url: the URL of the caller.
        most: the number of redirects to follow; 0 follows none.
        elsewhere: whether redirects to other origins are followed. An origin is a scheme, a host and a port.

    Attributes:
        url: the URL to open now.
        left: whether a redirect has led to another origin than the caller's. Credentials are not sent from then on, not even if a later
            redirect leads back.
    """

    def __init__(self, url: Url, most: int = REDIRECTS, *, elsewhere: bool = True) -> None:
        self.url = url
        self.left = False
        self._most = most
        self._followed = 0
        self._elsewhere = elsewhere

    def follow(self, refusal: UpgradeError) -> bool:
        """Return whether a refusal is a redirect to follow; `url` then is its Location.

        Raises:
            ConnectError: it is a redirect that must not be followed: one too many, one from `wss:` to `ws:`, or to what is no WebSocket.
                `__cause__` is the refusal.
        """
        location = next((value for name, value in refusal.headers if name.lower() == "location"), None)
        if not self._most or refusal.status not in REDIRECT_STATUSES or location is None:
            return False
        try:
            if self._followed == self._most:
                raise ValueError(f"it is redirected more than {self._most} times (`redirects`)")
            target = self._resolve(location)
        except (ValueError, LocalProtocolError) as error:
            made = ConnectError(f"cannot connect to {self.url.authority}: {error}")
            raise made from refusal
        self._followed += 1
        self.url = target
        return True

    def permitted(self, headers: Headers) -> Headers:
        """Return the headers of the caller that the server of `url` gets."""
        if not self.left:
            return headers
        return tuple([(name, value) for name, value in headers if name.lower() not in _CREDENTIALS])

    def _resolve(self, location: str) -> Url:
        """Return the URL that a Location means (RFC 9110 §10.2.2, RFC 3986 §5), without its fragment.

        Raises:
            ValueError, LocalProtocolError: it must not be followed.
        """
        if any(character < " " or character == "\x7f" for character in location):
            # What resolves references drops some of them.
            raise ValueError("it is redirected to a URL with a control character")
        try:
            location = location.encode("latin-1").decode()
        except UnicodeDecodeError:
            pass
        here = self.url
        base = f"{'wss' if here.secure else 'ws'}://{here.authority}{here.target}"
        try:
            found = parse(urldefrag(urljoin(base, location.strip())).url)
        except (ValueError, LocalProtocolError) as error:
            raise ValueError(f"it is redirected to what is no WebSocket: {error}") from None
        if here.secure and not found.secure:
            raise ValueError("it is redirected from wss: to ws:, without TLS")
        if (found.secure, found.authority) == (here.secure, here.authority):
            # With the zone of an IPv6 address, which is not sent, and never with credentials of a server's choice.
            return here._replace(target=found.target)
        if not self._elsewhere:
            raise ValueError(f"it is redirected to {found.authority}, which `path` does not reach")
        self.left = True
        return found._replace(authorization=None)
