"""Bounds of what waits on a transport, in bytes."""

#: Bytes that wait to be written before `send` waits too.
WRITE_HIGH = 64 * 1024
#: Bytes of replies that a peer may make us keep, which does not take what we write, before it is read no more.
REPLIES_HIGH = 64 * 1024
#: Bytes on their way that keep nothing from the peer for long.
FEW = 16 * 1024

#: Bytes that wait to be decoded, behind more messages than the application takes, at which a transport is read no more. Those before it
#: may hold the peer's Close.
UNDECODED_HIGH = 64 * 1024
