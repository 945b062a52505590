"""What permessage-deflate may be agreed on (RFC 7692 §5, §7, §7.1)."""

import pytest
from wire import ANSWER, accept_of, client, fault, header_of, said, server

from mintws import Failed, Http1, LocalProtocolError, PerMessageDeflate, Role, UpgradeRequest

PMD = PerMessageDeflate
BITS = range(8, 16)


def answer_to(offer: str, willing: PerMessageDeflate | None = None) -> str | None:
    """What a server answers to an offer."""
    return header_of(server(offer, [willing or PMD()]).head, "Sec-WebSocket-Extensions")


def takes(wish: PerMessageDeflate, answer: str) -> bool:
    """Whether a client with this offer takes the answer."""
    http = Http1(Role.CLIENT)
    head = http.open().send(UpgradeRequest("example.com", "/chat", extensions=[wish]))
    right = accept_of(header_of(head, "Sec-WebSocket-Key")).encode()
    data = ANSWER.replace(header_of(ANSWER, "Sec-WebSocket-Accept").encode(), right)
    (event,) = said(http.receive(data + b"Sec-WebSocket-Extensions: " + answer.encode() + b"\r\n\r\n"))
    if type(event) is Failed:
        assert fault([event]).code == 1002
        return False
    return True


@pytest.mark.parametrize(
    ("wish", "header"),
    [
        (PMD(), "permessage-deflate; client_max_window_bits"),
        (PMD(client_max_window_bits=None), "permessage-deflate"),
        (PMD(client_max_window_bits=10), "permessage-deflate; client_max_window_bits=10"),
        (PMD(client_max_window_bits=None, server_max_window_bits=8), "permessage-deflate; server_max_window_bits=8"),
        (
            PMD(server_no_context_takeover=True, client_no_context_takeover=True, server_max_window_bits=15),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits",
        ),
    ],
)
def test_offer_says_what_is_wished(wish, header):
    head = Http1(Role.CLIENT).open().send(UpgradeRequest("example.com", extensions=[wish]))
    assert header_of(head, "Sec-WebSocket-Extensions") == header


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
        # §7.1.2.1: accepted with the parameter, of the same or a smaller value.
        ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
        # §7.1.1.1: accepted with the parameter.
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        ('permessage-deflate;server_max_window_bits="10"', "permessage-deflate; server_max_window_bits=10"),
    ],
)
def test_offer_is_answered(offer, answer):
    assert answer_to(offer) == answer


@pytest.mark.parametrize(
    ("willing", "offer", "answer"),
    [
        (PMD(server_no_context_takeover=True), "permessage-deflate", "permessage-deflate; server_no_context_takeover"),
        (PMD(client_no_context_takeover=True), "permessage-deflate", "permessage-deflate; client_no_context_takeover"),
        (PMD(server_max_window_bits=9), "permessage-deflate", "permessage-deflate; server_max_window_bits=9"),
        (
            PMD(server_max_window_bits=9),
            "permessage-deflate; server_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=9",
        ),
        (
            PMD(server_max_window_bits=12),
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9",
        ),
        (
            PMD(client_max_window_bits=9),
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=9",
        ),
        (
            PMD(client_max_window_bits=12),
            "permessage-deflate; client_max_window_bits=9",
            "permessage-deflate; client_max_window_bits=9",
        ),
        # §7.1.2.2: without it in the offer the server must not send it.
        (PMD(client_max_window_bits=9), "permessage-deflate", "permessage-deflate"),
    ],
)
def test_answer_says_what_the_server_wishes(willing, offer, answer):
    assert answer_to(offer, willing) == answer


@pytest.mark.parametrize(
    "bits", ["7", "16", "0", "015", "08", "+9", "-9", "abc", "9.0", "1e1", "99999999999999999999", '"16"']
)
@pytest.mark.parametrize("name", ["server_max_window_bits", "client_max_window_bits"])
def test_window_bits_out_of_range_are_declined_and_fail(bits, name):
    # §7: a server declines, a client fails the connection.
    assert answer_to(f"permessage-deflate; {name}={bits}") is None
    assert not takes(PMD(), f"permessage-deflate; {name}={bits}")


@pytest.mark.parametrize(
    "params",
    [
        "server_max_window_bits",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=9; client_max_window_bits=10",
        "server_max_window_bits=9; server_max_window_bits=9",
        "foo",
        "foo=1",
        "Server_No_Context_Takeover",
        "x=1; server_no_context_takeover",
    ],
)
def test_wrong_parameters_are_declined_and_fail(params):
    assert answer_to(f"permessage-deflate; {params}") is None
    assert not takes(PMD(), f"permessage-deflate; {params}")


def test_answer_with_client_max_window_bits_needs_its_value():
    assert not takes(PMD(), "permessage-deflate; client_max_window_bits")


def test_answer_with_client_max_window_bits_needs_the_offer_of_it():
    assert not takes(PMD(client_max_window_bits=None), "permessage-deflate; client_max_window_bits=10")


@pytest.mark.parametrize(
    ("wish", "answer", "ok"),
    [
        (12, "; client_max_window_bits=12", True),
        (12, "; client_max_window_bits=9", True),
        (12, "; client_max_window_bits=13", False),
        # Left out, the client keeps to what it offered.
        (12, "", True),
        (True, "; client_max_window_bits=15", True),
        (True, "; client_max_window_bits=8", True),
        (True, "", True),
    ],
)
def test_answer_may_not_widen_the_clients_window(wish, answer, ok):
    assert takes(PMD(client_max_window_bits=wish), "permessage-deflate" + answer) is ok


@pytest.mark.parametrize(
    ("wish", "answer", "ok"),
    [
        (12, "; server_max_window_bits=12", True),
        (12, "; server_max_window_bits=9", True),
        (12, "; server_max_window_bits=13", False),
        (12, "", False),
        (14, "", False),
        # Left out, the window is 15 bits, which was offered.
        (15, "", True),
        (15, "; server_max_window_bits=15", True),
        (15, "; server_max_window_bits=9", True),
        (None, "; server_max_window_bits=9", True),
    ],
)
def test_answer_must_keep_to_the_servers_window_that_was_asked_for(wish, answer, ok):
    assert takes(PMD(server_max_window_bits=wish), "permessage-deflate" + answer) is ok


@pytest.mark.parametrize(
    ("wish", "answer", "ok"),
    [
        (True, "", False),
        (True, "; server_no_context_takeover", True),
        (False, "; server_no_context_takeover", True),
        (False, "", True),
    ],
)
def test_answer_must_keep_to_server_no_context_takeover(wish, answer, ok):
    assert takes(PMD(server_no_context_takeover=wish), "permessage-deflate" + answer) is ok


@pytest.mark.parametrize("answer", ["", "; client_no_context_takeover"])
def test_answer_may_have_client_no_context_takeover_or_not(answer):
    assert takes(PMD(client_no_context_takeover=True), "permessage-deflate" + answer)
    assert takes(PMD(), "permessage-deflate" + answer)


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate;server_max_window_bits=10;client_max_window_bits=11",
        "permessage-deflate; client_max_window_bits=11 ; server_max_window_bits=10",
    ],
)
def test_answer_may_have_any_space_and_order(answer):
    assert takes(PMD(), answer)


def test_first_acceptable_offer_counts():
    offer = "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=10, permessage-deflate"
    assert answer_to(offer) == "permessage-deflate; server_max_window_bits=10"


def test_server_that_is_not_willing_answers_nothing():
    assert header_of(server("permessage-deflate", []).head, "Sec-WebSocket-Extensions") is None


def test_two_offers_are_alternatives():
    wishes = [PMD(server_max_window_bits=10), PMD(client_max_window_bits=None)]
    end = client("permessage-deflate", wishes)
    assert header_of(end.head, "Sec-WebSocket-Extensions").count("permessage-deflate") == 2
    assert len(end.conn.extensions) == 1


@pytest.mark.parametrize("bits", [7, 16, 0, -1])
def test_window_bits_out_of_range_are_refused_locally(bits):
    for name in ["server_max_window_bits", "client_max_window_bits"]:
        with pytest.raises(LocalProtocolError):
            PMD(**{name: bits})


@pytest.mark.parametrize(
    "wrong", [{"level": 10}, {"level": -1}, {"memory_level": 0}, {"memory_level": 10}, {"threshold": -1}]
)
def test_other_numbers_out_of_range_are_refused_locally(wrong):
    with pytest.raises(LocalProtocolError):
        PMD(**wrong)


@pytest.mark.parametrize("wrong", [True, False, 9.0, "9", b"9", None, [9]], ids=repr)
@pytest.mark.parametrize(
    "name", ["server_max_window_bits", "client_max_window_bits", "level", "memory_level", "threshold"]
)
def test_parameter_that_is_no_number_is_a_type_error(name, wrong):
    if (wrong is None and "window_bits" in name) or (name == "client_max_window_bits" and isinstance(wrong, bool)):
        PMD(**{name: wrong})
        return
    with pytest.raises(TypeError):
        PMD(**{name: wrong})


@pytest.mark.parametrize("wrong", [1, 0, None, "yes"])
@pytest.mark.parametrize("name", ["server_no_context_takeover", "client_no_context_takeover"])
def test_parameter_that_is_no_bool_is_a_type_error(name, wrong):
    with pytest.raises(TypeError):
        PMD(**{name: wrong})


def test_rsv1_without_negotiation_fails():
    for end in [server(), server("permessage-deflate", [])]:
        assert end.fails(b"\xc1\x80\x00\x00\x00\x00") == 1002
