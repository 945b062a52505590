"""Whatever the cut of what comes, no piece of it reaches over an empty line, and nothing is lost."""

import re
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from strategies import cut

from mintws.http1.receive_buffer import PIECE, ReceiveBuffer

chunks = st.lists(st.text("\r\n a", min_size=1, max_size=3).map(str.encode), min_size=1, max_size=12)


@given(st.sampled_from([b"", *(b"a" * (PIECE - i) for i in range(3))]), chunks)
def test_a_piece_ends_where_an_empty_line_does(start, chunks):
    buffer, pieces = ReceiveBuffer(), []
    buffer.append(memoryview(start))
    for chunk in chunks:
        buffer.append(memoryview(chunk))
        while piece := buffer.cut(None):
            pieces.append(piece)
    stream = b"".join([start, *chunks])
    assert b"".join(pieces) == stream
    # Empty lines may share an LF: each end counts.
    ends = {found.end(1) for found in re.finditer(rb"(?=(\n\r?\n))", stream)}
    assert ends <= set(accumulate(map(len, pieces)))
    assert all(len(piece) <= PIECE for piece in pieces)


@given(st.data(), st.binary(max_size=100), st.integers(0, 120))
def test_a_length_is_kept_to(data, stream, most):
    buffer, taken = ReceiveBuffer(), b""
    for chunk in data.draw(cut(stream)):
        buffer.append(memoryview(chunk))
        taken += buffer.cut(most - len(taken))
    assert taken == stream[:most]
    assert buffer.take() == stream[most:]
    assert len(buffer) == 0
