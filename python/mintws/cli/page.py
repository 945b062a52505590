"""The pages that `mintws serve` shows to browsers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files

from mintws.events import Request, Response

#: The page loads nothing, and cannot be embedded elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def respond_with_page(subprotocols: Sequence[str], name: str = "page.html") -> Callable[[Request], Response]:
    """Return a hook that answers a GET with the page of that name, which offers `subprotocols`."""
    source = files("mintws.cli").joinpath(name).read_text(encoding="utf-8")
    # The name of a subprotocol is a token, so it cannot end the script.
    page = source.replace("/* subprotocols */ []", json.dumps(list(subprotocols))).encode()
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", _POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    )

    def respond(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(
                405,
                (("Allow", "GET, HEAD"), ("Content-Type", "text/plain")),
                b"this is a server for WebSockets\n",
            )
        return Response(200, headers, page)

    return respond
