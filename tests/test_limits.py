"""Numbers that a caller gives are held to their range where they are given."""

import pytest

from mintws import Connection, Http1, Http2, LocalProtocolError, PerMessageDeflate, Role
from mintws.limits import INT31, INT63, check_int


def test_number_is_in_its_range():
    for value in (1, 2, 3):
        check_int("it", value, 1, 3)


@pytest.mark.parametrize("value", [0, 4, -1, 1 << 70])
def test_number_out_of_its_range_is_named_with_the_range(value):
    with pytest.raises(LocalProtocolError, match=rf"^it must be 1 to 3 bytes, not {value}$"):
        check_int("it", value, 1, 3, " bytes")


@pytest.mark.parametrize(("most", "shown"), [(65535, "65535"), (INT31, r"2\^31-1"), (INT63, r"2\^63-1")])
def test_largest_number_is_shown_as_its_rfc_writes_it(most, shown):
    with pytest.raises(LocalProtocolError, match=f"^it must be 0 to {shown}, not -1$"):
        check_int("it", -1, 0, most)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, b"1"])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^it is an int: a number of bytes, not "):
        check_int("it", value, 0, 3, " bytes")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Http1(Role.CLIENT, limit=-1), r"limit must be 0 to 2\^63-1 bytes, or None for no limit, not -1"),
        (lambda: Http2(Role.CLIENT, max_frame=0), r"max_frame must be 1 to 2\^63-1 bytes, or None for no limit, not 0"),
        (lambda: Http2(Role.SERVER, window=1), r"window must be 65535 to 2\^31-1"),
        (lambda: Http2(Role.SERVER, max_concurrent_streams=-1), r"max_concurrent_streams must be 0 to 2\^31-1, not -1"),
        (lambda: PerMessageDeflate(level=10), "level must be 0 to 9, not 10"),
    ],
    ids=["limit", "max_frame", "window", "max_concurrent_streams", "level"],
)
def test_numbers_of_connections_say_their_range(make, told):
    with pytest.raises(LocalProtocolError, match=told):
        make()


def test_options_are_checked_by_a_connection_alone_too():
    with pytest.raises(TypeError, match=r"limit is an int: a number of bytes, or None for no limit, not 'x'"):
        Connection(Role.CLIENT, Http1(Role.CLIENT), limit="x")
