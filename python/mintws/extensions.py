"""Extensions (RFC 6455 §9), including permessage-deflate (RFC 7692)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from mintws import _core
from mintws.errors import LocalProtocolError, RemoteProtocolError
from mintws.limits import INT63, check_int

Params: TypeAlias = tuple[tuple[str, str | None], ...]

#: RSV1, RSV2 and RSV3 in the first byte of a frame (RFC 6455 §5.2).
_RSV = 0x70


class Offer(NamedTuple):
    """One element of Sec-WebSocket-Extensions, of a request or of an answer (RFC 6455 §9.1).

    Attributes:
        name: the extension's token.
        params: its parameters in order, each with its value or `None`. Names and values are tokens; others cannot be sent.
    """

    name: str
    params: Params = ()

    def __str__(self) -> str:
        return "; ".join([self.name, *(name if value is None else f"{name}={value}" for name, value in self.params)])


class Transform(ABC):
    """The effect of an agreed extension on the complete messages of one connection."""

    @abstractmethod
    def send(self, data: bytes, *, text: bool) -> tuple[bytes, int]:
        """Transform a message that is sent.

        Args:
            data: the message; text is in UTF-8.
            text: whether it is text.

        Returns:
            The transformed message, and those of the extension's RSV bits to set, as in `Agreed.rsv`.

        An exception propagates to the caller of `Connection.send`, and nothing is sent.
        """

    def forget(self, messages: int) -> None:
        """Undo the last calls of `send`: their messages are not sent after all.

        This happens if another extension raised, or another message of the same `send_many`. Override it if `send` counts messages or
        refers to earlier ones. The default does nothing.

        Args:
            messages: the number of messages to undo.
        """

    @abstractmethod
    def receive(self, data: bytes, rsv: int, *, text: bool) -> bytes:
        """Reverse the peer's `send`.

        Args:
            data: the message as received.
            rsv: those of the extension's RSV bits that were set.
            text: whether it is text; the result must then be UTF-8.

        Raises:
            RemoteProtocolError: the message breaks the extension's rules. The connection fails with its code, and its message is sent to
                the peer. Any other exception fails the connection with 1011, as the cause of that error, and is not sent to the peer.
        """


@dataclass(frozen=True, slots=True)
class Agreed:
    """An extension as agreed on for one connection.

    Attributes:
        answer: the element of the server's answer; a client has its own copy.
        transform: the transform of messages.
        rsv: the RSV bits that the extension owns on the first frame of a message: 0x40, 0x20, 0x10.

    Raises:
        LocalProtocolError: `rsv` has other bits.
    """

    answer: Offer
    transform: Transform
    rsv: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.rsv, bool) or not isinstance(self.rsv, int):
            raise TypeError(f"rsv must be an int, not {type(self.rsv).__name__}")
        if self.rsv & ~_RSV:
            raise LocalProtocolError(f"rsv must be made of 0x40, 0x20 and 0x10, not {self.rsv:#x}")


class Extension(ABC):
    """An extension, as a client offers it and as a server is willing to use it.

    Attributes:
        name: the token in the header.
    """

    name: str

    @abstractmethod
    def offer(self) -> Params:
        """Return the parameters that a client offers."""

    @abstractmethod
    def accept(self, offer: Params) -> Agreed | None:
        """On a server, accept the parameters of one offer, or return `None` to decline it."""

    @abstractmethod
    def agree(self, answer: Params) -> Agreed | None:
        """On a client, check the parameters of the server's answer. Return `None` if they do not fit the offer.

        Raises:
            RemoteProtocolError: they do not fit, for the reason in its message. Any other exception also fails the connection, as from
                `Transform.receive`.
        """


@dataclass(frozen=True, slots=True)
class PerMessageDeflate(Extension):
    """permessage-deflate (RFC 7692), as a client offers it or as a server is willing to use it.

    Args:
        server_no_context_takeover: the server compresses each message by itself (§7.1.1.1).
        client_no_context_takeover: the client does (§7.1.1.2).
        server_max_window_bits: the largest window of the server, 8 to 15 bits; `None` leaves it at 15 (§7.1.2.1).
        client_max_window_bits: on a client, `True` lets the server choose the client's window, a number of bits does so up to that size,
            and `None` keeps it at 15. On a server, a number of bits is requested from clients that allow it (§7.1.2.2).
        level: the compression level, from 1 (fast) to 9 (small); 0 only stores.
        memory_level: the memory for compression, 1 to 9: `1 << (memory_level + 9)` bytes.
        threshold: shorter messages, in bytes, are not compressed unless `send` is told to.

    Attributes:
        pool: the compression contexts, which take much memory. All connections that use this very object share them, so pass the same
            object to all. An equal object has its own pool, and so has one made by `dataclasses.replace` or pickle.

    Raises:
        LocalProtocolError: a number is out of range.
        TypeError: an argument has the wrong type.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | bool | None = True
    level: int = 4
    memory_level: int = 5
    threshold: int = 64
    pool: _core.Pool = field(default_factory=_core.Pool, init=False, repr=False, compare=False)

    name = "permessage-deflate"

    def __post_init__(self) -> None:
        for parameter in ("server_no_context_takeover", "client_no_context_takeover"):
            value = getattr(self, parameter)
            if not isinstance(value, bool):
                raise TypeError(f"{parameter} must be a bool, not {type(value).__name__}")
        for parameter, low, high, *others in _RANGES:
            value = getattr(self, parameter)
            if type(value) in others:
                continue
            check_int(parameter, value, low, high)

    def offer(self) -> Params:
        return _core.deflate_offer(self)

    def accept(self, offer: Params) -> Agreed | None:
        return self._agreed(_core.deflate_accept(self, list(offer)))

    def agree(self, answer: Params) -> Agreed | None:
        return self._agreed(_core.deflate_agree(self, list(answer)))

    def _agreed(self, agreement: _core.DeflateAgreement | None) -> Agreed | None:
        if agreement is None:
            return None
        return Agreed(Offer(self.name, agreement.answer), Deflate(self, agreement), _core.RSV1)


#: Parameters with their least and greatest value, and the types allowed besides int.
_RANGES: tuple[tuple[Any, ...], ...] = (
    ("server_max_window_bits", 8, 15, type(None)),
    ("client_max_window_bits", 8, 15, type(None), bool),
    ("level", 0, 9),
    ("memory_level", 1, 9),
    ("threshold", 0, 1 << 62),
)


class Deflate(Transform):
    """permessage-deflate as agreed on for one connection.

    Next to the wire the core applies it in its own pass over the bytes. Behind another extension it is a transform like any other.
    """

    def __init__(self, wish: PerMessageDeflate, agreement: _core.DeflateAgreement) -> None:
        self.wish = wish
        self.server_no_context_takeover = agreement.server_no_context_takeover
        self.client_no_context_takeover = agreement.client_no_context_takeover
        self.server_bits = agreement.server_max_window_bits
        self.client_bits = agreement.client_max_window_bits
        self._contexts: _core.Contexts | None = None

    def inflate(self, *, client: bool) -> tuple[int, bool]:
        """Return window bits and context takeover of the peer's direction."""
        return self._direction(client=not client)

    def deflate(self, *, client: bool) -> tuple[int, bool, int, int, int]:
        """Return window bits, context takeover, level, memory level and threshold of our direction."""
        return (*self._direction(client=client), self.wish.level, self.wish.memory_level, self.wish.threshold)

    def opened(self, *, client: bool, limit: int | None) -> Deflate:
        """Return a copy with contexts, for a connection with another extension next to the wire."""
        made = copy(self)
        made._contexts = _core.Contexts(self.inflate(client=client), self.deflate(client=client), limit, self.wish.pool)
        return made

    def forget(self, messages: int) -> None:
        if self._contexts is not None:
            # No later message refers to an earlier one.
            self._contexts.forget()

    def send(self, data: bytes, *, text: bool, compress: bool | None = None) -> tuple[bytes, int]:
        if self._contexts is None or not (len(data) >= self.wish.threshold if compress is None else compress):
            return data, 0
        return self._contexts.deflate(data), _core.RSV1

    def receive(self, data: bytes, rsv: int, *, text: bool) -> bytes:
        if self._contexts is None or not rsv:
            return data
        return self._contexts.inflate(data)

    def _direction(self, *, client: bool) -> tuple[int, bool]:
        if client:
            return self.client_bits, not self.client_no_context_takeover
        return self.server_bits, not self.server_no_context_takeover


class Chain:
    """The transforms of one connection, in the order of the header. A message that is sent passes the first one first.

    Args:
        agreed: the extensions, without a permessage-deflate next to the wire, which the core applies.
        limit: the most bytes of a message after all transforms, inclusive; `None` is no limit. Between transforms it may be longer: see
            `in_transit`.
        client: whether the connection is a client's.
    """

    def __init__(self, agreed: Sequence[Agreed], limit: int | None, *, client: bool) -> None:
        self._limit = limit
        self._agreed = [
            replace(it, transform=it.transform.opened(client=client, limit=in_transit(limit) if i else limit))
            if isinstance(it.transform, Deflate)
            else it
            for i, it in enumerate(agreed)
        ]

    def send(self, text: bool, data: bytes, compress: bool | None) -> tuple[bytes, int]:
        bits = 0
        passed: list[Transform] = []
        try:
            for agreed in self._agreed:
                transform = agreed.transform
                if isinstance(transform, Deflate):
                    data, rsv = transform.send(data, text=text, compress=compress)
                else:
                    data, rsv = transform.send(data, text=text)
                passed.append(transform)
                _check_bytes(agreed, data)
                bits |= rsv & agreed.rsv
        except BaseException:
            for transform in passed:
                transform.forget(1)
            raise
        return data, bits

    def forget(self, messages: int) -> None:
        """Have all transforms undo their last messages, which are not sent after all."""
        for agreed in self._agreed:
            agreed.transform.forget(messages)

    def receive(self, text: bool, rsv: int, data: bytes) -> tuple[bytes | None, RemoteProtocolError | None]:
        try:
            for agreed in reversed(self._agreed):
                data = agreed.transform.receive(data, rsv & agreed.rsv, text=text)
                _check_bytes(agreed, data)
        except RemoteProtocolError as error:
            return None, error
        except Exception as cause:
            return None, failure(cause)
        if self._limit is not None and len(data) > self._limit:
            too_big = f"a message has more than {self._limit} bytes"
            return None, RemoteProtocolError(too_big, code=1009, section="RFC 6455 §10.4", hint="raise `limit`")
        return data, None


def in_transit(limit: int | None) -> int | None:
    """Return the most bytes of a message before all extensions have been reversed.

    The growth that an extension may cause is unknown, so it is bounded.
    """
    return None if limit is None else min(2 * limit + 64 * 1024, INT63)


def failure(cause: BaseException) -> RemoteProtocolError:
    """Return the error of a connection whose extension raised an exception of its own.

    The exception is for this side only. The peer is told only that an extension failed.
    """
    error = RemoteProtocolError("an extension failed", code=1011, section="RFC 6455 §9")
    error.__cause__ = cause
    return error


def offers(extensions: Sequence[Extension | Offer]) -> list[Offer]:
    """Return the offers of a client."""
    return [it if isinstance(it, Offer) else Offer(it.name, it.offer()) for it in extensions]


def choose(asked: Sequence[Offer], willing: Sequence[Extension | Offer]) -> list[Agreed]:
    """On a server, choose from a client's offers: each extension once, with its first acceptable offer.

    An extension whose RSV bits are already in use is declined.
    """
    chosen: list[Agreed] = []
    for offer in asked:
        for extension in willing:
            if isinstance(extension, Offer) or extension.name != offer.name:
                continue
            agreed = extension.accept(offer.params)
            if agreed is not None and _fits(agreed, chosen):
                chosen.append(agreed)
                break
    return chosen


def match(answers: Sequence[Offer], offered: Sequence[Extension | Offer]) -> list[Agreed]:
    """On a client, check a server's answers (RFC 6455 §9.1).

    Raises:
        RemoteProtocolError: an answer does not match an offer. Exceptions of extensions propagate too.
    """
    matched: list[Agreed] = []
    for answer in answers:
        candidates = (it.agree(answer.params) for it in offered if isinstance(it, Extension) and it.name == answer.name)
        agreed = next((it for it in candidates if it is not None), None)
        if agreed is None or not _fits(agreed, matched):
            unoffered = "an extension must be one that was offered, and as it was offered"
            raise RemoteProtocolError(f"{unoffered}; the answer is {answer}", section="RFC 6455 §9.1")
        matched.append(agreed)
    return matched


def _fits(agreed: Agreed, others: Sequence[Agreed]) -> bool:
    return all(agreed.answer.name != other.answer.name and not agreed.rsv & other.rsv for other in others)


def _check_bytes(agreed: Agreed, data: object) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"the transform of {agreed.answer.name} must give bytes, not {type(data).__name__}")
