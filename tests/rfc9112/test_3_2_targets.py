"""The target of an ordinary request (RFC 9112 §3.2)."""

import pytest
from wire import fault, header_of, said

from mintws import Http1, Role
from mintws.events import Request, RequestStarted


def received(line, *headers):
    http = Http1(Role.SERVER)
    head = "\r\n".join([line, *headers])
    return http, http.receive(head.encode() + b"\r\n\r\n")


def started(line, *headers):
    _, answer = received(line, *headers)
    events = said(answer)
    assert isinstance(events[0], RequestStarted)
    return events[0].request


@pytest.mark.parametrize(
    ("absolute", "host", "target"),
    [
        ("http://tea.test/mint?x=1", "tea.test", "/mint?x=1"),
        ("HTTPS://tea.test:8443", "tea.test:8443", "/"),
        ("http://[::1]?q=/", "[::1]", "/?q=/"),
    ],
)
def test_an_absolute_target_is_its_path_and_its_host_counts(absolute, host, target):
    # §3.2.2: a server takes this form from any client, and leaves the Host that came.
    request = started(f"GET {absolute} HTTP/1.1", "X-First: 1", "Host: other.test", "X-Last: 2")
    headers = (("host", host), ("x-first", "1"), ("x-last", "2"))
    assert request == Request("GET", target, headers, None)


def test_the_host_of_an_absolute_target_stands_for_one_that_http_1_0_need_not_send():
    request = started("GET http://tea.test/ HTTP/1.0")
    assert (request.target, request.headers) == ("/", (("host", "tea.test"),))


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "GET /a?b=http://c/ HTTP/1.1", "GET ftp://tea.test/ HTTP/1.1"])
def test_a_target_of_another_form_is_handed_on_as_it_came(line):
    request = started(line, "Host: a.test")
    assert (request.target, request.headers) == (line.split()[1], (("host", "a.test"),))


@pytest.mark.parametrize("target", ["http:///mint", "http://user@tea.test/", "http://tea.test/#a", "http://tea test/"])
def test_an_absolute_target_that_is_none_is_refused_with_400_and_the_connection_closed(target):
    http, answer = received(f"GET {target} HTTP/1.1", "Host: a.test")
    assert fault(said(answer)).section.startswith("RFC 9112")
    assert answer[1].startswith(b"HTTP/1.1 400 ") and header_of(answer[1], "Connection") == "close"
    assert http.done


def test_a_client_that_waits_to_be_told_so_goes_on_behind_an_absolute_target():
    headers = ("Host: a.test", "Content-Length: 3", "Expect: 100-continue")
    _, (_, reply) = received("POST http://tea.test/ HTTP/1.1", *headers)
    assert reply.startswith(b"HTTP/1.1 100 ")
