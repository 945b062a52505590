"""The headers User-Agent, Server and Date."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

from mintws import _core
from mintws.errors import LocalProtocolError
from mintws.events import Headers, pairs

#: The value of User-Agent and Server (RFC 9110 §10.1.5, §10.2.4).
PRODUCT = f"mintws/{_core.__version__}"


def product_header(name: str, value: str | None) -> Headers:
    """Return the header User-Agent or Server; none if the value is `None`.

    Raises:
        LocalProtocolError: the value is empty or malformed.
        TypeError: the value is not a `str`.
    """
    if value is None:
        return ()
    if not isinstance(value, str):
        raise TypeError(f"{name} is a str, or None to leave it out, not {value!r}")
    if not value:
        raise LocalProtocolError(f"{name} names a product: give None to leave it out")
    return pairs(((name, value),))


@lru_cache(maxsize=1)
def date(second: int) -> str:
    """Format a time for Date (RFC 9110 §5.6.7), once for all responses of the same second.

    Args:
        second: seconds since 1970.
    """
    return formatdate(second, usegmt=True)
