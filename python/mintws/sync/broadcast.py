"""One message to many WebSockets at once."""

from __future__ import annotations

from collections.abc import Iterable

from mintws.drivers.broadcast import MAX_UNSENT, Broadcast, Slow, deliver
from mintws.drivers.messages import WholeMessage
from mintws.sync.websocket import WebSocket, send_to_all


def broadcast(
    websockets: Iterable[WebSocket],
    message: WholeMessage,
    *,
    compress: bool | None = None,
    max_unsent: int = MAX_UNSENT,
    slow: Slow[WebSocket] = "skip",
) -> Broadcast[WebSocket]:
    """Send a message to many WebSockets at once, and wait for none of them. Any thread may call it.

    The message is encoded once, and compressed once for each size of window that was agreed on. WebSockets on one HTTP/2 connection are
    written together. What the system does not take at once waits in the transport, or, over HTTP/2, for the peer's flow control.

    Args:
        websockets: the WebSockets. One that is given twice gets the message once.
        message: a whole message: `str`, bytes, `Text`, `Binary` or a `PreparedMessage`.
        compress: as in `WebSocket.send`.
        max_unsent: a WebSocket with more unsent bytes than this is too slow: the message is not sent on it. 0 means that only those get it
            that have taken everything else.
        slow: what becomes of those that are too slow. "skip" leaves them open, "close" closes them with 1013, and a `Close` with its code
            and reason. A function is called with each that is skipped, after the message was sent to all others.

    Returns:
        What became of each. Those within a message in fragments are skipped, whatever `slow` is.

    Raises:
        LocalProtocolError: the message may not be sent, or an argument is out of range; nothing was sent.
        TypeError: an argument has a wrong type; nothing was sent.

    An exception of `slow`, or of an extension of your own, is raised after the message was sent to all others: the first one, when `slow`
    was called with all that are skipped. A call that a signal interrupts may have sent it to some.
    """
    return deliver(send_to_all, websockets, message, compress=compress, max_unsent=max_unsent, slow=slow)
