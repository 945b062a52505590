"""inflate(deflate(x)) = x, and both agree with zlib."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import payloads

from mintws import RemoteProtocolError, _core

TAIL = b"\x00\x00\xff\xff"
settings = st.tuples(st.integers(8, 15), st.booleans(), st.integers(0, 9), st.integers(1, 9), st.just(0))
messages = st.lists(payloads, min_size=1, max_size=8)


def contexts(setting) -> _core.Contexts:
    return _core.Contexts(setting[:2], setting, None)


@given(settings, messages)
def test_inflate_undoes_deflate(setting, messages):
    one, other = contexts(setting), contexts(setting)
    for message in messages:
        assert other.inflate(one.deflate(message)) == message


@given(settings, messages)
def test_zlib_inflates_what_is_deflated(setting, messages):
    bits, takeover = setting[:2]
    maker = contexts(setting)
    inflater = zlib.decompressobj(wbits=-max(bits, 9))
    for message in messages:
        assert inflater.decompress(maker.deflate(message) + TAIL) == message
        if not takeover:
            inflater = zlib.decompressobj(wbits=-max(bits, 9))


@given(
    settings,
    messages,
    st.lists(st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH]), min_size=8, max_size=8),
)
def test_what_zlib_deflates_is_inflated(setting, messages, flushes):
    bits, takeover, level, memory_level, _ = setting
    taker = contexts(setting)

    def new():
        return zlib.compressobj(level, wbits=-max(bits, 9), memLevel=memory_level)

    maker = new()
    for message, flush in zip(messages, flushes, strict=False):
        data = maker.compress(message) + maker.flush(flush)
        if flush == zlib.Z_FINISH:
            data += b"\x00"
        assert taker.inflate(data.removesuffix(TAIL) or b"\x00") == message
        if flush == zlib.Z_FINISH or not takeover:
            maker = new()


@given(settings, st.lists(st.tuples(payloads, st.booleans()), min_size=2, max_size=8))
def test_what_is_forgotten_is_not_referred_to(setting, messages):
    # Messages that were made and not sent leave the peer in step.
    maker, taker = contexts(setting), contexts(setting)
    for message, sent in messages:
        data = maker.deflate(message)
        if sent:
            assert taker.inflate(data) == message
        else:
            maker.forget()


@given(st.binary(max_size=100))
def test_noise_inflates_as_zlib_says_or_fails(noise):
    taker = contexts((15, True, 6, 8, 0))
    expected = whole(noise)
    if expected is None:
        with pytest.raises(RemoteProtocolError) as caught:
            taker.inflate(noise)
        assert caught.value.code == 1007
    else:
        assert taker.inflate(noise) == expected


def whole(noise: bytes) -> bytes | None:
    """What zlib makes of a message; `None` if it is broken or not whole."""
    inflater, made, data = zlib.decompressobj(wbits=-15), b"", noise
    try:
        while data:
            made += inflater.decompress(data)
            if not inflater.eof:
                # The empty block of the tail ends between blocks, and so a final one may follow it there.
                if inflater.decompress(TAIL):
                    return None
                if not inflater.eof and inflater.decompress(b"\x03\x00"):
                    return None
                return made if inflater.eof and not inflater.unused_data else None
            data, inflater = inflater.unused_data, zlib.decompressobj(wbits=-15, zdict=made[-32768:])
    except zlib.error:
        return None
    return made


@given(st.integers(0, 2), st.lists(settings, min_size=1, max_size=3), st.data())
def test_connections_that_share_few_contexts_stay_apart(capacity, kinds, data):
    # Each has a peer of its own, who shares nothing: zlib.
    pool = _core.Pool(capacity)
    made = []
    for setting in kinds * 2:
        bits, takeover, level, memory_level, _ = setting
        ends = _core.Contexts(setting[:2], setting, None, pool)
        inflater = zlib.decompressobj(wbits=-max(bits, 9))
        deflater = zlib.compressobj(level, wbits=-max(bits, 9), memLevel=memory_level)
        made.append((setting, ends, inflater, deflater))
    for which, message, forget in data.draw(
        st.lists(st.tuples(st.integers(0, len(made) - 1), payloads, st.booleans()), min_size=2, max_size=20)
    ):
        (bits, takeover, level, memory_level, _), ends, inflater, deflater = made[which]
        if not takeover:
            inflater = zlib.decompressobj(wbits=-max(bits, 9))
            deflater = zlib.compressobj(level, wbits=-max(bits, 9), memLevel=memory_level)
        if forget:
            ends.deflate(message)
            ends.forget()
        assert inflater.decompress(ends.deflate(message) + TAIL) == message
        sent = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
        assert ends.inflate(sent.removesuffix(TAIL)) == message
