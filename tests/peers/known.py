"""Defects of peers: what goes wrong between them and us by their fault, as long as it does.

Each entry says which conversations it hurts and how they fail. A test that meets one asserts that it still fails so: when a peer is
mended, the entry must go. Nothing here is worked around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from conversation import Variant


@dataclass(frozen=True)
class Known:
    """One defect of a peer.

    Attributes:
        peer: its name.
        checks: the checks that it hurts.
        fails: a pattern of how they fail.
        reason: what the peer does, and the rule.
        serving: the peer is the server, or the client, or either.
        http, deflate: the connections that it hurts, or all.
    """

    peer: str
    checks: tuple[str, ...]
    fails: str
    reason: str
    serving: bool | None = None
    http: str | None = None
    deflate: bool | None = None

    def hurts(self, peer: str, serving: bool, variant: Variant, check: str) -> bool:
        return (
            self.peer == peer
            and check in self.checks
            and self.serving in (None, serving)
            and self.http in (None, variant.http)
            and self.deflate in (None, variant.deflate)
        )


KNOWN: tuple[Known, ...] = (
    Known(
        "aiohttp",
        ("client closes",),
        r"the client's Close was echoed as Ending\(code=1000",
        "Its server answers a Close with 1000, whatever code it got, where RFC 6455 §5.5.1 has the code echoed as a rule.",
        serving=True,
    ),
    Known(
        "aiohttp",
        ("server closes",),
        r"the server's Close was echoed as Ending\(code=1000",
        "Its client answers a Close with 1000, whatever code it got, where RFC 6455 §5.5.1 has the code echoed as a rule.",
        serving=False,
    ),
    Known(
        "wsproto",
        ("pings",),
        "closed with 1007|Closed: Ending.code=.*1007|the closing handshake was not done|Ending.code=1007",
        "A control frame between the fragments of a compressed message spoils its inflater: it fails with 1007 what RFC 7692 §6 allows"
        " (pull request 205).",
        deflate=True,
    ),
    Known(
        "hypercorn",
        ("pings",),
        "without a Close",
        "A control frame between the fragments of a compressed message ends the transport without a Close, by the fault of its wsproto;"
        " over HTTP/2 with all other streams on it.",
        deflate=True,
    ),
    Known(
        "hypercorn",
        ("client closes",),
        r"the server saw Ending\(code=1006",
        "It tells the application 1006 for every Close of a client, though the Close came and was answered.",
    ),
    Known(
        "hypercorn",
        ("server closes",),
        r"the server's Close was echoed as Ending\(code=1000",
        "It tells the application 1000 where the client answered its Close with another code.",
        http="1.1",
    ),
    Known(
        "hypercorn",
        ("server closes",),
        "the server never told how it ended",
        "After its own Close it forgets the stream while the client's answer is due, and that ends the connection with KeyError"
        " (protocol/h2.py): all other streams are lost, and the application is never told.",
        http="2",
    ),
    Known(
        "lighttpd",
        ("server closes",),
        r"the server's Close was echoed as Ending\(code=1006",
        "Over HTTP/2 it drops a Close that comes in one read with the end of the stream, so that the server never gets the answer to its"
        " own.",
        serving=True,
        http="2",
    ),
)


def find(peer: str, serving: bool, variant: Variant, check: str) -> Known | None:
    """Give the defect that a conversation meets."""
    return next((it for it in KNOWN if it.hurts(peer, serving, variant, check)), None)


def hold_to(known: Known | None, error: BaseException | None) -> None:
    """Judge a conversation: what failed must have been known, and in this way; what was known must have failed."""
    if known is None:
        if error is not None:
            raise error
        return
    if error is None:
        pytest.fail(f"{known.peer} no longer does this, so take it out of known.py: {known.reason}", pytrace=False)
    said = f"{type(error).__name__}: {error}"
    if re.search(known.fails, said) is None:
        raise AssertionError(f"known to fail with {known.fails!r}, but it failed otherwise: {said}") from error
