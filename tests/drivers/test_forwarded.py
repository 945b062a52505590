"""A server takes the client's address, scheme and host from the headers of proxies that it trusts, and from no others."""

from __future__ import annotations

import logging
import socket
from ipaddress import ip_address, ip_network

import pytest
from drivers.conftest import listening, url

from mintws import LocalProtocolError, UpgradeError
from mintws.asyncio import connect, connect_http2
from mintws.events import Response

HERE = ["127.0.0.1"]


def told(request):
    peer = request.peer
    return f"{peer.address} {peer.proxy and peer.proxy[0]} {peer.scheme} {peer.host}"


async def tell(websocket):
    await websocket.send(told(websocket.request))


HEADERS = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.com"}


def test_hooks_and_handlers_see_the_client(run, http, caplog):
    def upgrade(connection, request):
        connection.app = request.peer.address

    async def handler(websocket):
        assert websocket.app == websocket.request.peer.address
        await tell(websocket)

    async def work():
        options = {"upgrade": upgrade, "respond": lambda request: Response(200, body=told(request).encode())}
        async with listening(handler, trusted_proxies=HERE, **options) as server:
            async with connect(url(server), http=http, headers=HEADERS) as websocket:
                assert await websocket.recv() == "('192.0.2.1', 0) 127.0.0.1 https example.com"
            async with connect_http2(url(server)) as client:
                response = await client.request("GET", "/", headers=HEADERS)
                assert response.body == b"('192.0.2.1', 0) 127.0.0.1 https example.com"

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "opened: 192.0.2.1:0 /" in caplog.text and "ended: 192.0.2.1:0 /" in caplog.text


def test_the_header_is_the_one_that_was_named(run, http):
    async def work():
        async with listening(tell, trusted_proxies=HERE, forwarded_header="Forwarded") as server:
            headers = {**HEADERS, "X-Forwarded-For": "made up", "Forwarded": 'for="[2001:db8::1]:5000";proto=http'}
            async with connect(url(server), http=http, headers=headers) as websocket:
                assert await websocket.recv() == "('2001:db8::1', 5000, 0, 0) 127.0.0.1 http None"

    run(work())


@pytest.mark.parametrize("trusted", [None, [], ["192.0.2.0/24"]], ids=["off", "none", "others"])
def test_headers_of_others_are_not_believed(run, http, trusted):
    async def work():
        async with listening(tell, trusted_proxies=trusted) as server:
            async with connect(url(server), http=http, headers=HEADERS) as websocket:
                ours = websocket.transport.get_extra_info("sockname")
                assert await websocket.recv() == f"{ours} None None None"

    run(work())


def test_a_malformed_header_of_a_trusted_proxy_refuses_the_request(run, http, caplog):
    async def work():
        async with listening(tell, trusted_proxies=HERE, respond=lambda request: Response(200)) as server:
            with pytest.raises(UpgradeError) as refused:
                await connect(url(server), http=http, headers={"X-Forwarded-For": "localhost"})
            assert refused.value.status == 400
            assert server.statistics().refused["invalid"] == 1
            async with connect_http2(url(server)) as client:
                response = await client.request("GET", "/", headers={"X-Forwarded-For": "localhost"})
                assert response.status == 400
            assert server.statistics().refused["invalid"] == 2

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(work())
    assert "400, a header of the proxy is malformed" in caplog.text


def test_pages_of_the_own_origin_are_let_in_behind_a_proxy_that_ends_tls(run, http):
    async def work():
        async with listening(tell, trusted_proxies=HERE) as server:
            cookie = {**HEADERS, "Cookie": "session=1"}
            async with connect(url(server), http=http, headers=cookie, origin="https://example.com"):
                pass
            for origin in ("http://example.com", "https://evil.example"):
                with pytest.raises(UpgradeError) as refused:
                    await connect(url(server), http=http, headers=cookie, origin=origin)
                assert refused.value.status == 403

    run(work())


def test_it_goes_with_the_proxy_protocol(run):
    """The header is that of a proxy whose address a PROXY header tells."""

    async def work():
        async with listening(tell, trusted_proxies=["192.0.2.1"], proxy_protocol=HERE) as server:
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.sendall(b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n")
            async with connect(url(server), sock=sock, headers={"X-Forwarded-For": "203.0.113.7"}) as websocket:
                assert await websocket.recv() == "('203.0.113.7', 0) 192.0.2.1 None None"

    run(work())


@pytest.mark.parametrize("argument", ["trusted_proxies", "proxy_protocol"])
@pytest.mark.parametrize(
    ("networks", "says"),
    [
        ("10.0.0.0/8", r"is a sequence of networks: write \['10.0.0.0/8'\]$"),
        (ip_network("10.0.0.0/8"), r"is a sequence of networks: write \[IPv4Network\('10.0.0.0/8'\)\]$"),
        (ip_address("::1"), r"is a sequence of networks: write \[IPv6Address\('::1'\)\]$"),
        (True, r'is a sequence of networks, such as \["10.0.0.0/8"\], not True$'),
    ],
    ids=str,
)
def test_what_is_no_sequence_of_networks_is_told_at_once(argument, networks, says):
    with pytest.raises(TypeError, match=f"^{argument} {says}"):
        listening(**{argument: networks})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"trusted_proxies": "10.0.0.0/8"}, TypeError),
        ({"trusted_proxies": ["10.0.0.1/8"]}, LocalProtocolError),
        ({"forwarded_header": "X-Real-IP"}, LocalProtocolError),
    ],
)
def test_wrong_arguments_are_told_at_once(options, error):
    with pytest.raises(error, match=next(iter(options))):
        listening(**options)
