"""What is said in the TLS handshake: the server's name (RFC 6455 §4.1) and the protocol (RFC 9113 §3.2, §3.3)."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import pytest
from drivers.conftest import echo
from wire import H2_PING, h2_frame

from mintws import ConnectError, Http2, LocalProtocolError, Role
from mintws.asyncio import connect, connect_http2, serve
from mintws.asyncio.tls import default_context
from mintws.cli.certificate import make_certificate
from mintws.tls import offered


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext, list[Any]]:
    """TLS contexts of a client and a server, and the names by which the server is called."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, pem in zip((cert, key), make_certificate(), strict=True):
        path.write_bytes(pem if isinstance(pem, bytes) else pem.encode())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    names: list[Any] = []
    server.sni_callback = lambda _connection, name, _context: names.append(name)
    return ssl.create_default_context(cafile=str(cert)), server, names


@pytest.mark.parametrize("http", ["1.1", "2", "auto"])
def test_the_client_names_the_server_to_tls(run: Callable[..., Any], contexts: Any, http: str) -> None:
    client, server, names = contexts

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            address = f"wss://localhost:{listening.port}"
            async with connect(address, http=http, host="127.0.0.1", ssl=client) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    run(main())
    assert names == ["localhost"]


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost.", "localhost"), ("127.0.0.1", None), ("[::1]", None), ("[fe80::1%25lo]", None)],
)
def test_the_name_that_is_told_to_tls_has_no_last_dot_and_is_no_address(
    run: Callable[..., Any], contexts: Any, host: str, name: str | None
) -> None:
    # RFC 6066 §3. The certificate is checked for that name too, but for the last, which it has not.
    client, server, names = contexts
    requests = []

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            address, last = f"wss://{host}:{listening.port}", host.startswith("[fe80")
            client.check_hostname = not last
            async with connect(address, host="127.0.0.1", ssl=client) as websocket:
                requests.append(websocket.request.host)
            assert requests == [f"{host.replace('%25lo', '')}:{listening.port}"]

    run(main())
    assert names == [name]


@pytest.mark.parametrize(
    ("http", "protocols"),
    [("1.1", [b"http/1.1"]), ("2", [b"h2"]), ("auto", [b"h2", b"http/1.1"]), ("many", [b"h2"])],
)
def test_the_client_offers_what_it_speaks(
    run: Callable[..., Any], contexts: Any, http: str, protocols: list[bytes]
) -> None:
    # "h2c" is never offered.
    client, _, _ = contexts
    hellos = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.append(await reader.read(65536))
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as listening:
            address = f"wss://localhost:{listening.sockets[0].getsockname()[1]}"
            with pytest.raises(ConnectError):
                await (
                    connect_http2(address, ssl=client) if http == "many" else connect(address, http=http, ssl=client)
                )

    run(main())
    names = b"".join(bytes([len(name)]) + name for name in protocols)
    # The extension's number, its size, that of the list, the list (RFC 7301 §3.1).
    extension = b"\x00\x10" + (len(names) + 2).to_bytes(2, "big") + len(names).to_bytes(2, "big") + names
    assert extension in hellos[0]


@pytest.mark.parametrize("before", [["http/1.1"], ["h2", "http/1.1"], ["acme-tls/1"], ["x" * 255, "y"], []])
@pytest.mark.parametrize("http", ["1.1", "2", "auto", "many"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_context_offers_to_others_what_it_offered_before(
    run: Callable[..., Any], contexts: Any, http: str, before: list[str], version: ssl.TLSVersion
) -> None:
    client, server, _ = contexts
    client.maximum_version = version
    client.set_alpn_protocols(before)
    assert offered(client) == before

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            address = f"wss://localhost:{listening.port}"
            opening = connect_http2(address, ssl=client) if http == "many" else connect(address, http=http, ssl=client)
            async with opening as opened:
                assert offered(client) == before
                assert http == "many" or opened.http_version == ("1.1" if http == "1.1" else "2")
            with pytest.raises(ConnectError):
                await connect(address.replace("localhost", "127.0.0.2"), ssl=client)
        assert offered(client) == before

    run(main())


@pytest.mark.parametrize("http", ["1.1", "2", "auto"])
def test_a_context_is_told_the_name_of_the_server_each_time(run: Callable[..., Any], contexts: Any, http: str) -> None:
    # Contexts of other classes choose certificates by it, or refuse to begin without it.
    class Named(ssl.SSLContext):
        def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
            told.append(named.get("server_hostname"))
            return super().wrap_bio(*args, **named)

    _, server, _ = contexts
    told: list[Any] = []
    client = Named(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            async with connect(f"wss://localhost:{listening.port}", http=http, ssl=client):
                pass

    run(main())
    assert set(told) == {"localhost"}


def test_a_context_that_can_begin_no_handshake_is_an_error(run: Callable[..., Any], contexts: Any) -> None:
    client, server, _ = contexts
    client.minimum_version, client.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            with pytest.raises(ConnectError) as failed:
                await connect(f"wss://localhost:{listening.port}", ssl=client)
            assert isinstance(failed.value.__cause__, ssl.SSLError)
            await asyncio.sleep(0.01)
            # A socket that is not closed by now would close that of another connection later: a ResourceWarning, and so an error.
            gc.collect()

    run(main())


def test_a_servers_context_is_refused_where_it_is_given(contexts: Any) -> None:
    _, server, _ = contexts
    for call in (connect, connect_http2):
        with pytest.raises(LocalProtocolError, match="server's context"):
            call("wss://localhost/", ssl=server)


def test_a_clients_context_is_refused_where_a_server_gets_it(contexts: Any) -> None:
    client, _, _ = contexts
    with pytest.raises(
        LocalProtocolError, match=r"client's context: ssl\.create_default_context\(ssl\.Purpose\.CLIENT_AUTH\) makes"
    ):
        serve(echo, "127.0.0.1", 0, ssl=client)


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_server_takes_what_makes_its_context_and_calls_it_once(
    run: Callable[..., Any], contexts: Any, http: str
) -> None:
    client, server, names = contexts
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(server)
        return server

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=make) as listening:
            for _ in range(2):
                address = f"wss://localhost:{listening.port}"
                async with connect(address, http=http, host="127.0.0.1", ssl=client) as websocket:
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"

    run(main())
    assert made == [server]
    assert names == ["localhost"] * 2


@pytest.mark.parametrize("made", [None, "cert.pem"])
def test_what_makes_no_context_is_refused_where_it_is_given(made: Any) -> None:
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        serve(echo, "127.0.0.1", 0, ssl=lambda: made)


def test_what_makes_a_clients_context_is_refused_where_it_is_given(contexts: Any) -> None:
    client, _, _ = contexts
    with pytest.raises(LocalProtocolError, match="client's context"):
        serve(echo, "127.0.0.1", 0, ssl=lambda: client)


def test_a_certificate_that_is_loaded_later_holds_for_later_connections(
    run: Callable[..., Any], contexts: Any, tmp_path: Path
) -> None:
    # Both are for localhost, and sign themselves.
    client, server, _ = contexts
    cert, key = tmp_path / "later.pem", tmp_path / "later-key.pem"
    for path, pem in zip((cert, key), make_certificate(), strict=True):
        path.write_text(pem, encoding="ascii")

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            address = f"wss://localhost:{listening.port}"
            async with connect(address, host="127.0.0.1", ssl=client) as websocket:
                server.load_cert_chain(cert, key)
                with pytest.raises(ConnectError):
                    await connect(address, host="127.0.0.1", ssl=client)
                later = ssl.create_default_context(cafile=str(cert))
                async with connect(address, host="127.0.0.1", ssl=later):
                    await websocket.ping()

    run(main())


def test_connections_without_a_context_of_their_own_share_one_for_each_loop(
    run: Callable[..., Any], contexts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server, _ = contexts
    made = []

    def make() -> ssl.SSLContext:
        made.append(client)
        return client

    monkeypatch.setattr(ssl, "create_default_context", make)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server) as listening:
            address = f"wss://localhost:{listening.port}"
            for http in ("1.1", "2", "auto"):
                async with connect(address, http=http) as websocket:
                    await websocket.ping()
            async with connect_http2(address):
                pass

    for loops in (1, 2):
        run(main())
        assert len(made) == loops


def test_the_context_of_a_loop_takes_no_renegotiation(run: Callable[..., Any]) -> None:
    async def main() -> None:
        assert default_context(asyncio.get_running_loop()).options & ssl.OP_NO_RENEGOTIATION

    run(main())


def test_the_context_of_a_loop_goes_with_it(run: Callable[..., Any], contexts: Any) -> None:
    async def main() -> ReferenceType[ssl.SSLContext]:
        return ref(default_context(asyncio.get_running_loop()))

    kept = run(main())
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(
    ("http2", "offered", "chosen"),
    [
        (True, ["http/1.1", "h2"], "h2"),
        (True, ["h2c", "http/1.1"], "http/1.1"),
        (True, ["h2c"], None),
        (True, [], None),
        (False, ["h2", "http/1.1"], "http/1.1"),
        (False, ["h2"], None),
    ],
)
def test_the_server_speaks_http2_where_it_has_chosen_it_alone(
    run: Callable[..., Any], contexts: Any, http2: bool, offered: list[str], chosen: str | None
) -> None:
    # Over TLS the preface of HTTP/2 is no reason to speak it.
    client, server, _ = contexts
    if offered:
        client.set_alpn_protocols(offered)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=server, http2=http2) as listening:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", listening.port, ssl=client, server_hostname="localhost"
            )
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
            pong = h2_frame(H2_PING, 1, 0, b"are you?")
            writer.write(Http2(Role.CLIENT).start() + h2_frame(H2_PING, 0, 0, b"are you?"))
            data = b""
            while pong not in data and (more := await reader.read(65536)):
                data += more
            assert (pong in data) is (chosen == "h2")
            assert data.startswith(b"HTTP/1.1 505 ") is (chosen != "h2")
            writer.close()

    run(main())
