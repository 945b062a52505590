"""Limits (RFC 6455 §10.4): what a peer can make us hold."""

import pytest
from wire import BINARY, CLOSE, CONTINUATION, RSV1, TEXT, client, cost, deflated, fault, frame, masked, server

from mintws import Binary, Text


@pytest.mark.parametrize("limit", [0, 1, 125, 126, 1000, 65535, 65536])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_message_of_the_limit_passes_and_one_byte_more_fails(limit, more):
    size = limit + more
    if size < 0:
        return
    plain, fragmented, bytewise = (server(limit=limit) for _ in range(3))
    half = size // 2
    whole = [masked(BINARY, b"x" * size)]
    parts = [masked(BINARY, b"x" * half, fin=False), masked(CONTINUATION, b"x" * (size - half))]
    data = whole[0]
    bytes_ = [data[i : i + 1] for i in range(min(len(data), 300))] + [data[300:]]
    for end, chunks in [(plain, whole), (fragmented, parts), (bytewise, [it for it in bytes_ if it])]:
        if more <= 0:
            assert end.receive(*chunks) == [Binary(b"x" * size)]
        else:
            assert end.fails(*chunks) == 1009


def test_default_limit_is_1_mib():
    assert server().receive(masked(BINARY, bytes(1 << 20))) == [Binary(bytes(1 << 20))]
    assert server().fails(masked(BINARY, bytes((1 << 20) + 1))) == 1009


def test_no_limit_is_none():
    assert server(limit=None).receive(masked(BINARY, bytes(3 << 20))) == [Binary(bytes(3 << 20))]


def test_limit_counts_bytes_not_characters():
    assert server(limit=3).receive(masked(TEXT, "\u20ac".encode())) == [Text("\u20ac")]
    assert server(limit=2).fails(masked(TEXT, "\u20ac".encode())) == 1009


def test_message_over_the_limit_fails_by_its_header():
    assert server(limit=10).fails(b"\x82\x8b\x00\x00\x00\x00") == 1009
    assert client(limit=10).fails(b"\x02\x0a" + b"x" * 10, b"\x80\x01") == 1009


def test_limit_is_of_one_message_not_of_many():
    end = server(limit=10)
    assert len(end.receive(*[masked(BINARY, b"x" * 10)] * 100)) == 100


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_million_fragments_fail_with_1009(payload):
    end = server(limit=1 << 20)
    end.receive(masked(BINARY, payload, fin=False))
    chunk = masked(CONTINUATION, payload, fin=False) * 1000
    for _ in range(1000):
        events = end.receive(chunk)
        if events:
            break
    assert fault(events).code == 1009


def test_fragments_that_the_limit_pays_for_pass():
    # 16 bytes a fragment and 64 KiB for all: a limit of 1 MiB lets 69633 of them pass.
    end = server(limit=1 << 20)
    allowed = ((1 << 20) + 65536) // 16
    assert end.receive(masked(BINARY, b"", fin=False), masked(CONTINUATION, b"", fin=False) * allowed) == []
    assert fault(end.receive(masked(CONTINUATION, b""))).code == 1009


def test_last_fragment_that_never_comes_holds_what_was_sent_and_no_more():
    end = server()
    end.receive(masked(BINARY, b"x" * 100, fin=False), *[masked(CONTINUATION, b"x" * 100, fin=False)] * 99)
    assert 10_000 <= end.conn.undelivered_bytes < 10_100


def test_idle_connection_holds_nothing():
    end = server()
    end.receive(masked(BINARY, bytes(1 << 20)))
    assert end.conn.undelivered_bytes == 0
    end.receive(masked(BINARY, bytes(100_000), fin=False) + masked(CONTINUATION, b""))
    assert end.conn.undelivered_bytes == 0


def test_failed_connection_holds_nothing():
    end = server()
    end.receive(masked(BINARY, bytes(100_000), fin=False))
    end.fails(b"\x83\x80")
    assert end.conn.undelivered_bytes == 0


def test_unfinished_compressed_message_holds_what_was_sent_and_no_more():
    # However little it takes to be inflated to so much.
    packed = deflated(bytes(1 << 20))
    end = server("permessage-deflate")
    assert end.receive(masked(BINARY, packed, fin=False, rsv=RSV1)) == []
    assert end.conn.undelivered_bytes == len(packed) < 1100
    assert end.receive(masked(CONTINUATION, b"")) == [Binary(bytes(1 << 20))]


@pytest.mark.parametrize("how", ["close", "lost", "abort", "fault"])
def test_ended_connection_holds_nothing(how):
    packed = deflated(bytes(1 << 20))
    end = server("permessage-deflate")
    end.receive(masked(BINARY, packed, fin=False, rsv=RSV1))
    assert end.conn.undelivered_bytes == len(packed)
    if how == "abort":
        end.conn.abort()
    else:
        end.receive({"close": masked(CLOSE, b""), "lost": b"", "fault": b"\x83\x80"}[how])
    assert end.conn.undelivered_bytes == 0


def test_reads_of_one_byte_cost_linear_time():
    def read(size: int) -> None:
        end = server()
        data = memoryview(masked(BINARY, bytes(size)))
        events = []
        for i in range(len(data)):
            events += end.http.receive(data[i : i + 1])[0]
        assert len(events) == 1

    # Ten times as many cost ten times as much, give or take; they would cost a hundred times if each looked at all before it.
    assert cost(lambda: read(200_000)) < 3 * 10 * cost(lambda: read(20_000))


def test_unmasked_bytes_are_never_left_from_an_earlier_message():
    end = server()
    end.receive(masked(BINARY, b"secret" * 1000))
    assert end.receive(frame(BINARY, b"", key=b"abcd")) == [Binary(b"")]
    assert end.receive(masked(BINARY, b"\x01")) == [Binary(b"\x01")]
