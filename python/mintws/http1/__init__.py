"""WebSockets over HTTP/1.1 (RFC 6455 §4): `Http1` is one connection, `Reader` reads what comes on it, `ReceiveBuffer` is what waits."""

from mintws.http1.carrier import Http1

__all__ = ["Http1"]
