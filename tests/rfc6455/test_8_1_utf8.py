"""Text that is not UTF-8 fails with 1007, at its first wrong byte (RFC 6455 §8.1)."""

import pytest
from wire import TEXT, client, frame, masked, server

from mintws import Text

WRONG = {
    "lone continuation": b"\x80",
    "two lone continuations": b"\x80\xbf",
    "overlong /": b"\xc0\xaf",
    "overlong in two bytes": b"\xc1\xbf",
    "overlong in three bytes": b"\xe0\x80\xaf",
    "greatest overlong in three bytes": b"\xe0\x9f\xbf",
    "overlong in four bytes": b"\xf0\x80\x80\xaf",
    "greatest overlong in four bytes": b"\xf0\x8f\xbf\xbf",
    "lowest surrogate": b"\xed\xa0\x80",
    "highest surrogate": b"\xed\xbf\xbf",
    "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "above 10FFFF": b"\xf4\x90\x80\x80",
    "first byte F5": b"\xf5\x80\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "latin-1": b"caf\xe9!",
    "cut in two": b"\xc3",
    "cut in three": b"\xe2\x82",
    "cut in four": b"\xf0\x9f\x98",
    "cut by ASCII": b"\xe2\x82a",
    "after good text": "κόσμε".encode() + b"\xed\xa0\x80edited",
}
RIGHT = [
    "\x00",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\U0001fffe",
]
PADDING = [b"", b"a" * 15, b"a" * 64, b"\xe2\x82\xac" * 50]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("padding", PADDING, ids=len)
def test_wrong_text_fails_with_1007(wrong, padding):
    assert server().fails(masked(TEXT, padding + wrong)) == 1007
    assert server().fails(masked(TEXT, padding + wrong, fin=False), masked(0, b"")) == 1007
    data = masked(TEXT, padding + wrong)
    assert server().fails(*(data[i : i + 1] for i in range(len(data)))) == 1007


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_text_cut_by_a_frame_fails_with_1007(wrong):
    for cut in range(len(wrong) + 1):
        assert server().fails(masked(TEXT, wrong[:cut], fin=False) + masked(0, wrong[cut:])) == 1007


@pytest.mark.parametrize("right", RIGHT, ids=ascii)
@pytest.mark.parametrize("padding", PADDING, ids=len)
def test_right_text_is_taken_however_it_is_cut(right, padding):
    text = padding + right.encode() + padding
    for cut in range(len(padding), len(padding) + 5):
        assert server().receive(masked(TEXT, text[:cut], fin=False) + masked(0, text[cut:])) == [Text(text.decode())]
    data = frame(TEXT, text, key=b"\x12\x34\x56\x78")
    assert server().receive(*(data[i : i + 1] for i in range(len(data)))) == [Text(text.decode())]


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc0", b"\xed\xa0", b"\xf4\x90", b"\xe2\x82\x00", b"\xf0\x80"])
def test_first_wrong_byte_fails_before_the_rest_comes(wrong):
    # Neither the rest of the frame nor the last fragment is waited for.
    data = masked(TEXT, b"good " + wrong + b"x" * 100)
    assert server().fails(data[: 6 + 5 + len(wrong)]) == 1007
    assert server().fails(masked(TEXT, b"good " + wrong, fin=False)) == 1007
    assert client().fails(frame(TEXT, b"good " + wrong, fin=False)) == 1007


def test_character_cut_by_a_ping_is_taken():
    end = server()
    events = end.receive(masked(TEXT, b"\xf0\x9f", fin=False) + masked(9, b"\xff") + masked(0, b"\x98\x80"))
    assert events[-1] == Text("\U0001f600")


def test_binary_and_pings_may_have_any_bytes():
    assert len(server().receive(masked(2, b"\xff"), masked(9, b"\xff"), masked(10, b"\xff"))) == 3


def test_wrong_text_in_parts_fails_with_1007():
    end = server(parts=True)
    assert end.receive(masked(TEXT, b"good ", fin=False)) == [Text("good ", fin=False)]
    assert end.fails(masked(0, b"\xff")) == 1007
