"""The version of HTTP by the first bytes of a client (RFC 9113 §3.4), however they are cut."""

from __future__ import annotations

import pytest

from mintws.session import Preface

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def first(*chunks):
    """Give the version, and with how many bytes of which chunk it is known."""
    preface = Preface()
    for number, chunk in enumerate(chunks):
        start = preface.receive(chunk)
        if start is not None:
            return preface.http2, start, number
    return None


@pytest.mark.parametrize("cut", range(1, len(PREFACE)))
def test_http2_is_known_when_the_preface_is_whole(cut):
    assert first(PREFACE[:cut]) is None
    assert first(PREFACE[:cut], PREFACE[cut:] + b"more") == (True, PREFACE + b"more", 1)


def test_http2_is_known_at_once_by_a_chunk_that_has_more():
    assert first(memoryview(PREFACE + b"more")) == (True, PREFACE + b"more", 0)


@pytest.mark.parametrize("cut", range(1, len(PREFACE)))
def test_the_first_byte_that_differs_tells_http1(cut):
    assert first(PREFACE[:cut], b"?") == (False, PREFACE[:cut] + b"?", 1)


def test_a_request_of_a_method_that_begins_alike_is_http1():
    assert first(b"P", b"OST / HTTP/1.1\r\n") == (False, b"POST / HTTP/1.1\r\n", 1)


@pytest.mark.parametrize("start", [b"", b"P", PREFACE[:-1]])
def test_a_client_that_ends_before_speaks_http1(start):
    chunks = [start, b""] if start else [b""]
    assert first(*chunks) == (False, start, len(chunks) - 1)
