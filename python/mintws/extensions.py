"""Extensions: what two sides agree to do to messages (RFC 6455 §9), permessage-deflate among them (RFC 7692)."""

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

#: RSV1, RSV2 and RSV3 as they stand in the first byte of a frame (RFC 6455 §5.2).
_RSV = 0x70


class Offer(NamedTuple):
    """One element of Sec-WebSocket-Extensions, of a request or of an answer (RFC 6455 §9.1).

    Attributes:
        name: the extension's token.
        params: its parameters in their order, each with its value or `None`: tokens too. Another is not sent.
    """

    name: str
    params: Params = ()

    def __str__(self) -> str:
        return "; ".join([self.name, *(name if value is None else f"{name}={value}" for name, value in self.params)])


class Transform(ABC):
    """What an agreed extension does to the whole messages of one connection."""

    @abstractmethod
    def send(self, data: bytes, *, text: bool) -> tuple[bytes, int]:
        """Change a message that is sent.

        Args:
            data: the message, text in UTF-8.
            text: whether it is text.

        Returns:
            The changed message, and which of the extension's RSV bits to set, as in `Agreed.rsv`.

        An exception is raised to whoever sends: nothing was sent.
        """

    def forget(self, messages: int) -> None:
        """Take back the last messages that passed `send`: they are not sent after all.

        That is so where another extension raised, or another message of the same `send_many`. Whoever counts messages, or refers
        from one to those before, goes back by so many. It does nothing unless it is overridden.

        Args:
            messages: how many.
        """

    @abstractmethod
    def receive(self, data: bytes, rsv: int, *, text: bool) -> bytes:
        """Undo what the peer's `send` did.

        Args:
            data: the message as it came.
            rsv: which of the extension's RSV bits were set.
            text: whether it is text; what is returned must then be UTF-8.

        Raises:
            RemoteProtocolError: the message breaks the extension's rules; the connection fails with its code, and the peer is told
                its message. Any other exception fails it with 1011, and is the cause of that error, of which the peer is told nothing.
        """


@dataclass(frozen=True, slots=True)
class Agreed:
    """An extension as it holds on one connection.

    Attributes:
        answer: what the server writes; a client's own copy of it.
        transform: what is done to messages.
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
        """Give the parameters that a client offers."""

    @abstractmethod
    def accept(self, offer: Params) -> Agreed | None:
        """Decide, on a server, on the parameters of one offer; `None` declines."""

    @abstractmethod
    def agree(self, answer: Params) -> Agreed | None:
        """Check, on a client, the parameters that the server answered; `None` if they do not fit the offer.

        Raises:
            RemoteProtocolError: they do not, and this is why. Any other exception fails the connection too, as from
                `Transform.receive`.
        """


@dataclass(frozen=True, slots=True)
class PerMessageDeflate(Extension):
    """permessage-deflate (RFC 7692), as a client offers it or as a server is willing to use it.

    Args:
        server_no_context_takeover: the server compresses each message by itself (§7.1.1.1).
        client_no_context_takeover: the client does (§7.1.1.2).
        server_max_window_bits: the largest window of the server, 8 to 15 bits; `None` leaves it at 15 (§7.1.2.1).
        client_max_window_bits: of a client, `True` lets the server choose the client's window, a number of bits does too and
            says the largest, `None` keeps it at 15. Of a server, a number of bits asks those clients for it that let it (§7.1.2.2).
        level: how hard to compress, from 1, fast, to 9, small; 0 only stores.
        memory_level: memory for compressing, 1 to 9: `1 << (memory_level + 9)` bytes.
        threshold: messages of fewer bytes are not compressed, unless `send` is told to.

    Attributes:
        pool: the contexts, which take much memory: they are shared by all connections that agree by this very object, so hand the same
            one to all. An equal one has a pool of its own, and so have those that `dataclasses.replace` and pickle make.

    Raises:
        LocalProtocolError: a number out of its range.
        TypeError: what is to be a number is none, or what is to be a bool.
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


#: Parameters with their least and their greatest value, and what they may be besides an int.
_RANGES: tuple[tuple[Any, ...], ...] = (
    ("server_max_window_bits", 8, 15, type(None)),
    ("client_max_window_bits", 8, 15, type(None), bool),
    ("level", 0, 9),
    ("memory_level", 1, 9),
    ("threshold", 0, 1 << 62),
)


class Deflate(Transform):
    """permessage-deflate as it holds on one connection.

    Next to the wire the core does it within its own pass over the bytes; behind another extension, as any transform.
    """

    def __init__(self, wish: PerMessageDeflate, agreement: _core.DeflateAgreement) -> None:
        self.wish = wish
        self.server_no_context_takeover = agreement.server_no_context_takeover
        self.client_no_context_takeover = agreement.client_no_context_takeover
        self.server_bits = agreement.server_max_window_bits
        self.client_bits = agreement.client_max_window_bits
        self._contexts: _core.Contexts | None = None

    def inflate(self, *, client: bool) -> tuple[int, bool]:
        """Give window bits and context takeover of what the peer compresses."""
        return self._direction(client=not client)

    def deflate(self, *, client: bool) -> tuple[int, bool, int, int, int]:
        """Give window bits, context takeover, level, memory level and threshold of what is compressed here."""
        return (*self._direction(client=client), self.wish.level, self.wish.memory_level, self.wish.threshold)

    def opened(self, *, client: bool, limit: int | None) -> Deflate:
        """Give one that has contexts, for a connection on which another extension stands next to the wire."""
        made = copy(self)
        made._contexts = _core.Contexts(self.inflate(client=client), self.deflate(client=client), limit, self.wish.pool)
        return made

    def forget(self, messages: int) -> None:
        if self._contexts is not None:
            # No later message refers to any before.
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
    """The transforms of one connection, in the order of the header: a message that is sent passes the first one first.

    Args:
        agreed: the extensions, without the permessage-deflate next to the wire, which is the core's.
        limit: the most bytes of a message as it is received in the end, inclusive; `None` is no limit. On its way it may have more:
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
        """Tell all transforms that the last messages which passed are not sent after all."""
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
    """Give the most bytes that a message may have while extensions have yet to undo what they did to it.

    What they add to a small message, or make of a large one, is not known: it is bounded, so that they do not get any size.
    """
    return None if limit is None else min(2 * limit + 64 * 1024, INT63)


def failure(cause: BaseException) -> RemoteProtocolError:
    """Make the error of a connection on which an extension failed by an exception of its own.

    What that says is for this side alone: the peer is told no more than that there was one.
    """
    error = RemoteProtocolError("an extension failed", code=1011, section="RFC 6455 §9")
    error.__cause__ = cause
    return error


def offers(extensions: Sequence[Extension | Offer]) -> list[Offer]:
    """Give what a client offers."""
    return [it if isinstance(it, Offer) else Offer(it.name, it.offer()) for it in extensions]


def choose(asked: Sequence[Offer], willing: Sequence[Extension | Offer]) -> list[Agreed]:
    """Agree, on a server, with a client's offers: each extension once, with the first of its offers that is acceptable.

    An extension whose RSV bits are taken already is declined.
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
    """Check, on a client, a server's answers (RFC 6455 §9.1).

    Raises:
        RemoteProtocolError: one was not offered, or not so. Whatever an extension raises is raised too.
    """
    matched: list[Agreed] = []
    for answer in answers:
        candidates = (it.agree(answer.params) for it in offered if isinstance(it, Extension) and it.name == answer.name)
        agreed = next((it for it in candidates if it is not None), None)
        if agreed is None or not _fits(agreed, matched):
            unoffered = "an extension must be one that was offered, and as it was offered"
            raise RemoteProtocolError(unoffered, section="RFC 6455 §9.1")
        matched.append(agreed)
    return matched


def _fits(agreed: Agreed, others: Sequence[Agreed]) -> bool:
    return all(agreed.answer.name != other.answer.name and not agreed.rsv & other.rsv for other in others)


def _check_bytes(agreed: Agreed, data: object) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"the transform of {agreed.answer.name} must give bytes, not {type(data).__name__}")
