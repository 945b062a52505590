"""Handshakes of TLS that fail: both sides learn why, the server logs it, and nothing waits for longer than it was told."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

import pytest
from drivers.conftest import listening, until
from drivers.raw import blocking_server
from wire import REQUEST, TEXT, masked

from mintws import ConnectError
from mintws.asyncio import connect

BOUND = 10.0
#: The head of a record that says it has 512 bytes.
HEAD = b"\x16\x03\x01\x02\x00"
NOT_DONE = "the peer ended the transport before the TLS handshake was done"


@pytest.fixture
def refusals(caplog):
    """Give what the server has logged of handshakes: levels, and texts without the address."""
    caplog.set_level(logging.DEBUG, "mintws.server")

    def given():
        return [
            (it.levelname, it.getMessage().partition(": 127.0.0.1:")[2].partition(": ")[2])
            for it in caplog.records
            if it.name == "mintws.server" and it.getMessage().startswith("- TLS handshake failed")
        ]

    return given


def talk(port, sent, *, end=False):
    """Send bytes on TCP, and read to the end."""
    with socket.create_connection(("127.0.0.1", port), BOUND) as sock:
        sock.sendall(sent)
        if end:
            sock.shutdown(socket.SHUT_WR)
        got = b""
        while data := sock.recv(65536):
            got += data
        return got


@pytest.mark.parametrize(
    ("sent", "end", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False, "http request"),
        (b"\x16\x03\x01\x00\x02\x01\x00", True, NOT_DONE),
        (HEAD, True, NOT_DONE),
        (b"", True, NOT_DONE),
    ],
    ids=["HTTP", "half a message", "half a record", "nothing"],
)
def test_a_server_logs_what_is_no_handshake(run, tls_contexts, refusals, sent, end, said):
    async def work():
        async with listening(ssl=tls_contexts[0]) as server:
            await asyncio.to_thread(talk, server.port, sent, end=end)
            await until(refusals)
            await until(lambda: not server._channels)

    run(work())
    [(level, text)] = refusals()
    assert level == "INFO"
    assert said in text.lower() or said in text


def test_a_server_learns_by_an_alert_that_a_client_does_not_trust_it(run, http, tls_contexts, refusals):
    async def work():
        async with listening(ssl=tls_contexts[0]) as server:
            with pytest.raises(ConnectError) as failed:
                await connect(f"wss://localhost:{server.port}", http=http, ssl=ssl.create_default_context())
            assert isinstance(failed.value.__cause__, ssl.SSLCertVerificationError)
            await until(refusals)

    run(work())
    [(level, text)] = refusals()
    assert level == "INFO" and "UNKNOWN_CA" in text


def test_a_client_sends_its_alert_before_it_ends_the_transport(run, http, tls_contexts):
    alerts = []

    def accept(sock):
        try:
            with tls_contexts[0].wrap_socket(sock, server_side=True) as secure:
                secure.recv(1)
        except ssl.SSLError as error:
            alerts.append(error.reason)

    async def work(port):
        with pytest.raises(ConnectError):
            await connect(f"wss://localhost:{port}", http=http, ssl=ssl.create_default_context())

    with blocking_server(accept) as port:
        run(work(port))
    assert alerts == ["TLSV1_ALERT_UNKNOWN_CA"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_without_the_certificate_that_is_wanted_is_told_so(run, http, tls_contexts, refusals, version):
    server_tls, client_tls = tls_contexts
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.maximum_version = version

    async def work():
        async with listening(ssl=server_tls) as server:
            with pytest.raises(ConnectError) as failed:
                await connect(f"wss://localhost:{server.port}", http=http, host="127.0.0.1", ssl=client_tls)
            cause = failed.value.__cause__
            assert isinstance(cause, ssl.SSLError)
            assert cause.reason in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
            await until(refusals)

    run(work())
    [(_, text)] = refusals()
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in text


def test_a_client_that_speaks_no_version_of_the_servers_is_told_so(run, http, tls_contexts, refusals):
    server_tls, client_tls = tls_contexts
    server_tls.minimum_version = ssl.TLSVersion.TLSv1_3
    client_tls.maximum_version = ssl.TLSVersion.TLSv1_2

    async def work():
        async with listening(ssl=server_tls) as server:
            with pytest.raises(ConnectError) as failed:
                await connect(f"wss://localhost:{server.port}", http=http, host="127.0.0.1", ssl=client_tls)
            assert failed.value.__cause__.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
            await until(refusals)

    run(work())
    assert "UNSUPPORTED_PROTOCOL" in refusals()[0][1]


def test_what_a_context_raises_is_logged_with_its_traceback(run, tls_contexts, certificate, caplog):
    class Broken(ssl.SSLContext):
        def wrap_bio(self, *args, **named):
            raise RuntimeError("no more connections today")

    async def work():
        broken = Broken(ssl.PROTOCOL_TLS_SERVER)
        broken.load_cert_chain(*certificate)
        async with listening(ssl=broken) as server:
            with pytest.raises(ConnectError):
                await connect(f"wss://localhost:{server.port}", host="127.0.0.1", ssl=tls_contexts[1])

    run(work())
    [record] = [it for it in caplog.records if it.name == "mintws.server"]
    assert record.levelname == "ERROR"
    assert record.exc_info is not None and "no more connections today" in str(record.exc_info[1])


@pytest.mark.parametrize("sent", [b"", HEAD], ids=["nothing", "half a record"])
def test_a_handshake_that_takes_longer_than_it_may_is_cut_off(run, tls_contexts, refusals, sent):
    async def work():
        async with listening(ssl=tls_contexts[0], open_timeout=0.2) as server:
            await asyncio.to_thread(talk, server.port, sent)
            await until(refusals)
            await until(lambda: not server._channels)

    run(work())
    assert refusals() == [("INFO", "the TLS handshake did not end within 0.2 s")]


def test_a_server_that_is_closed_waits_for_no_handshake(run, tls_contexts):
    async def work():
        server = await listening(ssl=tls_contexts[0], open_timeout=None)
        talking = asyncio.ensure_future(asyncio.to_thread(talk, server.port, HEAD))
        await until(lambda: server._channels)
        await server.close()
        await until(lambda: not server._channels)
        await asyncio.wait([talking])
        # An end or a reset: there is no fault to tell.
        assert talking.exception() is not None or talking.result() == b""

    run(work())


def test_a_client_gives_up_a_handshake_in_time_and_leaves_nothing_open(run, http, tls_contexts):
    ended = []

    def accept(sock):
        while sock.recv(65536):
            pass
        ended.append(True)

    async def work(port):
        with pytest.raises(ConnectError, match=r"the end of the TLS handshake did not come within 1 s"):
            await connect(f"wss://localhost:{port}", http=http, ssl=tls_contexts[1], open_timeout=1.0)

    with blocking_server(accept) as port:
        run(work(port))
    assert ended == [True]


def test_what_comes_with_the_end_of_the_handshake_is_not_lost(run, tls_contexts):
    def client(port):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = tls_contexts[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), BOUND) as sock:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
            # In one piece: the client's Finished, its request and a message.
            tls.write(REQUEST + b"\r\n")
            tls.write(masked(TEXT, b"hello"))
            sock.sendall(outgoing.read())
            got = b""
            while not got.endswith(b"\x81\x05hello"):
                try:
                    got += tls.read(65536)
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(65536))
            return got

    async def work():
        async with listening(ssl=tls_contexts[0], extensions=()) as server:
            return await asyncio.to_thread(client, server.port)

    assert run(work()).startswith(b"HTTP/1.1 101 ")
