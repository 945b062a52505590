"""The hooks of `serve`: what they see of who asks, what their answers leave to the arguments, and what they hand on to the handler."""

from __future__ import annotations

import asyncio
import copy
import pickle
import socket
import ssl
from dataclasses import replace

import pytest
import trustme
from drivers.conftest import echo, listening, url

from mintws import ConnectError, PerMessageDeflate, UpgradeAccept, UpgradeReject
from mintws.asyncio import connect, connect_http2, serve
from mintws.events import Peer, Response

COOKIE = {"Set-Cookie": "session=1"}


@pytest.mark.parametrize(
    ("answer", "subprotocol", "bits"),
    [
        (UpgradeAccept(), "chat", "12"),
        (UpgradeAccept(headers=COOKIE), "chat", "12"),
        (replace(UpgradeAccept(), headers=COOKIE), "chat", "12"),
        (pickle.loads(pickle.dumps(UpgradeAccept())), "chat", "12"),
        (copy.deepcopy(UpgradeAccept()), "chat", "12"),
        (UpgradeAccept(subprotocol=None), None, "12"),
        (UpgradeAccept(subprotocol="tea"), "tea", "12"),
        (UpgradeAccept(extensions=()), "chat", None),
        (UpgradeAccept(extensions=[PerMessageDeflate(server_max_window_bits=10)]), "chat", "10"),
        (UpgradeAccept(subprotocol=None, extensions=()), None, None),
    ],
)
def test_what_an_accept_does_not_give_is_as_the_arguments_say(run, http, answer, subprotocol, bits):
    async def work():
        async with listening(upgrade=lambda connection, request: answer, subprotocols=["chat"]) as server:
            async with connect(url(server), http=http, subprotocols=["tea", "chat"]) as websocket:
                assert websocket.subprotocol == subprotocol
                offers = [dict(it.params).get("server_max_window_bits") for it in websocket.response.extensions]
                assert offers == ([] if bits is None else [bits])
                assert dict(websocket.response.headers).get("set-cookie") == dict(answer.headers).get("Set-Cookie")
                (accepted,) = server.websockets
                assert accepted.subprotocol == accepted.response.subprotocol == subprotocol
                assert len(accepted.connection.extensions) == len(offers)

    run(work())


def seen_by_hooks(peers):
    """Hooks that note who asks, in both forms that a hook may have."""

    async def upgrade(connection, request):
        peers.append(request.peer)
        await asyncio.sleep(0)
        assert connection.request is request

    def respond(request):
        peers.append(request.peer)
        return Response(200, body=b"a page")

    return {"upgrade": upgrade, "respond": respond}


async def ask_for_a_page(reader, writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"a page" in await reader.readuntil(b"a page")
    writer.close()
    return writer.get_extra_info("sockname")


def test_hooks_see_the_address_of_who_asks(run, http):
    peers = []

    async def work():
        async with listening(**seen_by_hooks(peers)) as server:
            async with connect(url(server), http=http) as websocket:
                ours = websocket.transport.get_extra_info("sockname")
                (accepted,) = server.websockets
                assert accepted.request.peer == peers[0] == Peer(ours)
                assert websocket.request.peer is None
            await asyncio.wait_for(accepted.wait_closed(), 5)
            assert accepted.request.peer.address == ours
            if http == "2":
                async with connect_http2(url(server)) as client:
                    ours = client._protocol.transport.get_extra_info("sockname")
                    websocket = await client.open()
                    assert (await client.request("GET", "/")).body == b"a page"
                    assert peers[1] is peers[2]
            else:
                ours = await ask_for_a_page(*await asyncio.open_connection("127.0.0.1", server.port))
            assert peers[-1] == Peer(ours)
            assert (peers[-1].tls, peers[-1].certificate) == (None, None)

    run(work())


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
@pytest.mark.parametrize("given", ["path", "sock"])
def test_hooks_see_the_address_of_who_asks_over_a_unix_socket(run, http, tmp_path, given):
    path, named, peers = str(tmp_path / "server"), str(tmp_path / "client"), []

    async def work():
        where = {"path": path}
        if given == "sock":
            where = {"sock": socket.socket(socket.AF_UNIX)}
            where["sock"].bind(path)
        async with serve(echo, **where, **seen_by_hooks(peers)):
            async with connect("ws://localhost/", http=http, path=path):
                assert peers == [Peer("")]
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(named)
            sock.connect(path)
            async with connect("ws://localhost/", http=http, sock=sock):
                assert peers[1:] == [Peer(named)]
            if http == "2":
                async with connect_http2("ws://localhost/", path=path) as client:
                    assert (await client.request("GET", "/")).body == b"a page"
            else:
                await ask_for_a_page(*await asyncio.open_unix_connection(path))
            assert peers[2:] == [Peer("")]

    run(work())


@pytest.mark.parametrize("asked_for", [True, False])
def test_hooks_see_the_certificate_of_who_asks(run, http, asked_for):
    authority = trustme.CA()
    server_tls, client_tls = (ssl.SSLContext(it) for it in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    for context, name in ((server_tls, "localhost"), (client_tls, "guest@mint.example")):
        authority.configure_trust(context)
        authority.issue_cert(name).configure_cert(context)
    server_tls.verify_mode = ssl.CERT_REQUIRED if asked_for else ssl.CERT_NONE
    peers = []

    async def work():
        async with listening(ssl=server_tls, **seen_by_hooks(peers)) as server:
            secure = f"wss://localhost:{server.port}/"
            async with connect(secure, http=http, ssl=client_tls, host="127.0.0.1"):
                pass
            if http == "2":
                async with connect_http2(secure, ssl=client_tls, host="127.0.0.1") as client:
                    await client.request("GET", "/")
            else:
                plain = ssl.create_default_context()
                plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
                if asked_for:
                    authority.issue_cert("guest@mint.example").configure_cert(plain)
                await ask_for_a_page(*await asyncio.open_connection("127.0.0.1", server.port, ssl=plain))
        assert len(peers) == 2
        for peer in peers:
            assert peer.tls.version().startswith("TLS")
            names = None if peer.certificate is None else peer.certificate["subjectAltName"]
            assert names == ((("email", "guest@mint.example"),) if asked_for else None)

    run(work())


def test_what_a_hook_keeps_is_there_for_the_handler(run, http):
    handled = []

    async def upgrade(connection, request):
        await asyncio.sleep(0)
        if request.target == "/named":
            connection.app = {"user": "mint"}

    async def handler(websocket):
        handled.append(websocket.app)
        websocket.app = "the handler's"
        await websocket.wait_closed()
        handled.append(websocket.app)

    async def work():
        async with listening(handler, upgrade=upgrade) as server:
            for target, kept in (("/named", {"user": "mint"}), ("/", None)):
                handled.clear()
                async with connect(url(server, target), http=http) as websocket:
                    assert websocket.app is None
                    websocket.app = websocket.connection.app = "the client's"
                    await websocket.ping()
                    assert [it.app for it in server.websockets] == ["the handler's"]
                    assert websocket.app == "the client's"
                while len(handled) < 2:
                    await asyncio.sleep(0.01)
                assert handled == [kept, "the handler's"]
                assert websocket.app == "the client's"

    run(work())


@pytest.mark.parametrize("answer", [UpgradeAccept(), UpgradeReject(403)], ids=lambda it: type(it).__name__)
def test_a_hook_that_sends_an_answer_itself_is_told_and_its_connection_ends(run, http, caplog, answer):
    def upgrade(connection, request):
        connection.send(answer)

    async def work():
        async with listening(upgrade=upgrade) as server:
            with pytest.raises(ConnectError):
                await connect(url(server), http=http)
            statistics = server.statistics()
            assert (statistics.refused["failed"], statistics.websockets_opened) == (1, 0)

    run(work())
    assert "the upgrade hook failed" in caplog.text
    assert "the answer is returned by the hook, and sent by the server" in caplog.text
