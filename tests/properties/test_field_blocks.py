"""The fields of a header block are counted without decoding it."""

from __future__ import annotations

import hpack
import pytest
from hpack.exceptions import HPACKDecodingError
from hypothesis import given
from hypothesis import strategies as st

from mintws._core import count_fields
from mintws.http2.field_blocks import FIELDS_LIMIT, Decoder

#: Some are in the static table, some come again, and some are longer than a prefix tells.
NAMES = st.sampled_from([b":method", b"cookie", b"x-a", b"x-" + b"long" * 50])
VALUES = st.sampled_from([b"", b"GET", b"a=b", b"v" * 300]) | st.binary(max_size=40)
BLOCKS = st.lists(st.tuples(st.lists(st.tuples(NAMES, VALUES), max_size=30), st.integers(0, 8192)), max_size=4)


@given(BLOCKS, st.booleans())
def test_as_many_fields_are_counted_as_are_decoded(blocks, huffman):
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    decoder.max_allowed_table_size = 8192
    for fields, table_size in blocks:
        encoder.header_table_size = table_size
        block = encoder.encode(fields, huffman=huffman)
        assert count_fields(block, 1000) == len(decoder.decode(block, raw=True)) == len(fields)
        assert count_fields(block, 10) == min(len(fields), 10)


@given(st.binary(max_size=200))
def test_no_block_is_counted_wrong_that_can_be_decoded(block):
    decoder = hpack.Decoder()
    try:
        decoded = len(decoder.decode(block, raw=True))
    except Exception:
        return
    assert count_fields(block, 1000) == decoded


def test_what_is_cut_off_is_left_to_the_decoder():
    block = hpack.Encoder().encode([("x", "y" * 200)] * 3, huffman=False)
    assert [count_fields(block[:size], 10) for size in (0, 1, 2, 100, len(block))] == [0, 0, 0, 1, 3]


def test_an_integer_of_many_bytes_is_an_error():
    assert count_fields(b"\xff" * 100, 10) is None
    with pytest.raises(HPACKDecodingError, match="more than 5"):
        Decoder().decode(b"\xff" * (FIELDS_LIMIT + 1))
