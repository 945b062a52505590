"""Bounds on the bytes that wait on a transport."""

from mintws import _core

#: The unwritten bytes above which `send` waits.
WRITE_HIGH = _core.WRITE_HIGH
#: The bytes of replies kept for a peer that does not read, above which we stop reading the peer.
REPLIES_HIGH = 64 * 1024
#: Unsent bytes that delay a later message only briefly.
FEW = 16 * 1024

#: The undecoded bytes, after more messages than the application takes, at which we stop reading a transport. Up to then the peer's Close
#: may be among them.
UNDECODED_HIGH = 64 * 1024
