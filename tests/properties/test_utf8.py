"""Text is what `bytes.decode` says it is, at every cut."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import mutated
from wire import TEXT, fault, frame, masked, server

from mintws import Text

nearly_text = st.one_of(
    mutated(st.text(max_size=60).map(str.encode)),
    st.lists(
        st.sampled_from(
            [
                b"a",
                b"\xc3",
                b"\xa9",
                b"\xe2",
                b"\x82",
                b"\xac",
                b"\xed",
                b"\xa0",
                b"\xf0",
                b"\x9f",
                b"\x98",
                b"\x80",
                b"\xf4",
                b"\x90",
                b"\xc0",
                b"\xff",
            ]
        ),
        max_size=40,
    ).map(b"".join),
)


def first_fault(data: bytes) -> int | None:
    """How many bytes it takes to see that they are no text; `None` if they are the start of one."""
    for size in range(len(data) + 1):
        try:
            data[:size].decode()
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                return size
    return None


@given(nearly_text, st.integers(0, 60), st.binary(min_size=4, max_size=4))
def test_text_agrees_with_decode(data, place, key):
    try:
        expected = [Text(data.decode())]
    except UnicodeDecodeError:
        expected = None
    chunks = frame(TEXT, data, key=key)
    for end, pieces in [
        (server(), [chunks]),
        (server(), [chunks[:place], chunks[place:]]),
        (server(), [frame(TEXT, data[:place], fin=False, key=key), frame(0, data[place:], key=key)]),
        (server(text_as_bytes=True), [chunks]),
    ]:
        events = end.receive(*(it for it in pieces if it))
        if expected is None:
            assert fault(events).code == 1007
        else:
            assert [event.data if type(event.data) is str else event.data.decode() for event in events] == [
                expected[0].data
            ]


@given(nearly_text)
def test_text_fails_at_its_first_wrong_byte(data):
    end = server()
    assert end.receive(masked(TEXT, b"", fin=False)) == []
    wrong = first_fault(data)
    for i in range(len(data)):
        events = end.receive(masked(0, data[i : i + 1], fin=False))
        if wrong is not None and i + 1 == wrong:
            assert fault(events).code == 1007
            return
        assert events == []
    assert wrong is None
