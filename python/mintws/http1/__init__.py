"""WebSockets over HTTP/1.1 (RFC 6455 §4): `Http1` is one connection, `Reader` parses its bytes, `ReceiveBuffer` holds unread ones.

`StreamedResponse` sends the response to an ordinary request in parts. `tunnel.HttpTunnel` opens a tunnel through a proxy.
"""

from mintws.http1.carrier import Http1
from mintws.http1.response import StreamedResponse

__all__ = ["Http1", "StreamedResponse"]
