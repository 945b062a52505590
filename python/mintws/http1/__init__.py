"""WebSockets over HTTP/1.1 (RFC 6455 §4): `Http1` is one connection, `Reader` parses its bytes, `ReceiveBuffer` holds unread ones."""

from mintws.http1.carrier import Http1

__all__ = ["Http1"]
