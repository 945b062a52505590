"""WebSockets over HTTP/2 (RFC 8441): many on one connection, side by side with ordinary requests."""

from mintws.http2.connection import Http2
from mintws.http2.response import StreamedResponse

__all__ = ["Http2", "StreamedResponse"]
