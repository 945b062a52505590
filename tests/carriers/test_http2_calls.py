"""How `Http2` is made and called: what is wrong is said at once, and nothing is sent."""

import pytest
from wire import HEADERS, SETTINGS, H2Peer, h2_frame, h2_frames

from mintws import Http2, LocalProtocolError, Role, UpgradeRequest
from mintws.events import Request

GET = Request("GET", "/", (("host", "example.com"),))


@pytest.mark.parametrize("role", [0, 1, 5, "client", None, True])
def test_role_that_is_none_is_a_type_error(role):
    with pytest.raises(TypeError):
        Http2(role)


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0},
        {"window": 65534},
        {"window": 1 << 31},
        {"window": -1},
        {"max_concurrent_streams": -1},
        {"max_concurrent_streams": 1 << 31},
        {"max_header_size": 1023},
        {"max_header_size": (1 << 20) + 1},
        {"scheme": "wss"},
        {"scheme": "HTTPS"},
        {"scheme": 5},
        {"limit": -1},
        {"limit": 1 << 63},
    ],
    ids=str,
)
@pytest.mark.parametrize("role", list(Role))
def test_option_out_of_its_range_is_refused_where_it_is_given(role, options):
    with pytest.raises(LocalProtocolError):
        Http2(role, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"window": 70000.0},
        {"window": "70000"},
        {"window": None},
        {"max_concurrent_streams": "100"},
        {"max_concurrent_streams": 1.5},
        {"max_concurrent_streams": True},
        {"max_header_size": "2000"},
        {"limit": "x"},
        {"limitt": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("role", list(Role))
def test_option_of_a_wrong_type_or_name_is_a_type_error_where_it_is_given(role, options):
    with pytest.raises(TypeError):
        Http2(role, **options)


@pytest.mark.parametrize(
    "options", [{"window": 65535}, {"window": (1 << 31) - 1}, {"max_concurrent_streams": (1 << 31) - 1}], ids=str
)
def test_option_at_the_end_of_its_range_is_taken(options):
    H2Peer(Role.SERVER, **options).open()


def test_server_may_allow_no_streams():
    peer = H2Peer(Role.SERVER, max_concurrent_streams=0)
    assert peer.h2.remote_settings.max_concurrent_streams == 0


@pytest.mark.parametrize("role", list(Role))
def test_nothing_is_received_asked_or_shut_down_before_the_start(role):
    http = Http2(role)
    for call in (lambda: http.receive(h2_frame(SETTINGS, 0, 0)), lambda: http.receive(b""), http.shutdown):
        with pytest.raises(LocalProtocolError, match="start"):
            call()
    with pytest.raises(LocalProtocolError):
        http.request(GET)
    assert not http.done
    assert http.proceed() == ([], b"")
    assert http.start() == Http2(role).start()


@pytest.mark.parametrize("role", list(Role))
def test_connection_starts_once(role):
    http = Http2(role)
    assert http.start()
    with pytest.raises(LocalProtocolError):
        http.start()
    http.receive(b"")
    with pytest.raises(LocalProtocolError):
        http.start()


def test_handshake_may_be_sent_ahead_of_the_start_and_waits():
    http = Http2(Role.CLIENT)
    conn = http.open()
    assert conn.send(UpgradeRequest("example.com")) == b""
    assert http.start() == Http2(Role.CLIENT).start()
    _, reply = http.receive(h2_frame(SETTINGS, 0, 0, b"\0\x08\0\0\0\x01"))
    assert [kind for kind, *_ in h2_frames(reply)] == [SETTINGS, HEADERS]
    assert http.h2.open_outbound_streams == 1


WRONG = [None, "", "x", 0, 5, [], [1], (), {}, 1.5, object(), memoryview(b"abcd")[::2], memoryview(b"abcd").cast("I")]


@pytest.mark.parametrize("data", WRONG, ids=[f"{type(it).__name__}-{at}" for at, it in enumerate(WRONG)])
@pytest.mark.parametrize("role", list(Role))
def test_what_is_no_bytes_is_a_type_error_at_any_time(role, data):
    http = Http2(role)
    http.start()
    with pytest.raises(TypeError):
        http.receive(data)
    assert not http.done
    http.receive(b"")
    assert http.done
    with pytest.raises(TypeError):
        http.receive(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_bytearray_and_memoryview_are_received(kind):
    http = Http2(Role.CLIENT)
    http.start()
    http.receive(kind(h2_frame(SETTINGS, 0, 0, b"\0\x08\0\0\0\x01")))
    assert http.can_open is True
    http.receive(kind(b""))
    assert http.done
