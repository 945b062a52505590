"""Cookies of a client, kept in a jar of the standard library (RFC 6265)."""

from __future__ import annotations

from email.message import Message
from typing import Any
from urllib.request import Request

from mintws.events import Headers
from mintws.url import Url


class Cookies:
    """The cookies of a client.

    Args:
        jar: an `http.cookiejar.CookieJar`, which keeps them. It decides, by its policy, which of them go where.
    """

    def __init__(self, jar: Any) -> None:
        self._jar = jar

    def sent_to(self, url: Url) -> Headers:
        """Return the Cookie header for a server, if it gets any."""
        request = _request(url)
        self._jar.add_cookie_header(request)
        value = request.get_header("Cookie")
        return () if value is None else (("Cookie", value),)

    def keep(self, url: Url, headers: Headers) -> None:
        """Keep the cookies of an answer."""
        answer: Any = _Answer(headers)
        self._jar.extract_cookies(answer, _request(url))


class _Answer:
    """An answer, as a jar reads it."""

    def __init__(self, headers: Headers) -> None:
        self._message = Message()
        for name, value in headers:
            if name.lower().startswith("set-cookie"):
                self._message[name] = value

    def info(self) -> Message:
        return self._message


def _request(url: Url) -> Request:
    return Request(f"{'https' if url.secure else 'http'}://{url.authority}{url.target}")
