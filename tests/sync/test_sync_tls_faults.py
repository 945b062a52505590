"""Connections to a server for threads whose TLS fails end, and count as refused."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import time

import pytest
from sync.conftest import listening, until

#: What no TLS server takes.
GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["FIN", "RST"])
def test_a_client_that_ends_after_a_fault_is_waited_for_no_longer(end, tls_contexts):
    with listening(ssl=tls_contexts[0]) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(GARBAGE)
        until(lambda: server.statistics().refused["tls"])
        end(sock)
        until(lambda: not server.statistics().connections)
        assert server.statistics().refused["tls"] == 1


def test_what_a_client_sends_after_a_fault_does_not_extend_its_time(tls_contexts):
    with listening(ssl=tls_contexts[0], close_timeout=0.3) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(GARBAGE)
            until(lambda: server.statistics().refused["tls"])
            ends = time.monotonic() + 5
            with contextlib.suppress(OSError):
                while time.monotonic() < ends:
                    sock.sendall(b"x")
                    time.sleep(0.05)
            assert time.monotonic() < ends
        until(lambda: not server.statistics().connections)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"], ids=["nothing", "part"])
@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["FIN", "RST"])
def test_a_client_that_leaves_in_the_handshake_is_logged_and_counted(end, sent, tls_contexts, caplog):
    caplog.set_level(logging.INFO, "mintws.server")
    with listening(ssl=tls_contexts[0]) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(sent)
        until(lambda: server.statistics().handshakes)
        end(sock)
        until(lambda: not server.statistics().connections)
        assert server.statistics().refused["tls"] == 1
    assert caplog.text.count("- TLS handshake failed: 127.0.0.1:") == 1


def test_a_handshake_that_has_failed_is_no_longer_under_way(tls_contexts):
    with listening(ssl=tls_contexts[0]) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(GARBAGE)
        until(lambda: server.statistics().refused["tls"])
        now = server.statistics()
        assert (now.connections, now.handshakes) == (1, 0)
