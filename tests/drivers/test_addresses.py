"""Which address of a server is connected to, and from which: names with several addresses are raced (RFC 8305)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys
from pathlib import Path

import pytest
from drivers.conftest import echo, listening, url

from mintws import ConnectError, LocalProtocolError
from mintws.asyncio import connect, connect_http2, serve

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere 127.0.0.2 is no address of this machine"
)


@contextlib.asynccontextmanager
async def opened(address, how, **options):
    """Open a WebSocket and give the transport that it is on."""
    if how == "many":
        async with connect_http2(address, **options) as client:
            yield (await client.open()).transport
    else:
        async with connect(address, http=how, **options) as websocket:
            yield websocket.transport


@pytest.fixture(params=["1.1", "2", "many"])
def how(request):
    return request.param


@contextlib.contextmanager
def silent_listener():
    """Listen on 127.0.0.2, where the queue is full, so that who connects hears nothing."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def resolve_to(*addresses):
    """Have the running loop find these addresses for a name, of the families that are asked for."""
    system = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host, port, *, family=0, **options):
        if host != "many.example":
            # uvloop looks addresses up too.
            return await system(host, port, family=family, **options)
        return [
            (kind, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
            if family in (0, kind := socket.AF_INET6 if ":" in address else socket.AF_INET)
        ]

    asyncio.get_running_loop().getaddrinfo = getaddrinfo


def test_an_address_that_is_silent_holds_up_the_next_for_a_moment(run, how):
    async def work():
        with silent_listener() as port, socket.create_server(("127.0.0.1", port)) as good:
            async with serve(echo, sock=good):
                resolve_to("127.0.0.2", "127.0.0.1")
                begun = asyncio.get_running_loop().time()
                async with opened(f"ws://many.example:{port}", how) as transport:
                    assert asyncio.get_running_loop().time() - begun < 5
                    assert transport.get_extra_info("peername") == ("127.0.0.1", port)
                await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) <= 4

    run(work())


def test_an_address_that_refuses_holds_up_nothing(run, how):
    async def work():
        async with listening() as server:
            resolve_to("127.0.0.2", "127.0.0.1")
            async with opened(f"ws://many.example:{server.port}", how) as transport:
                assert transport.get_extra_info("peername")[0] == "127.0.0.1"

    run(work())


def test_the_errors_of_all_addresses_are_told(run, how):
    async def work():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            resolve_to("127.0.0.2", "127.0.0.1")
            with pytest.raises(ConnectError) as failed:
                async with opened(f"ws://many.example:{unused.getsockname()[1]}", how):
                    pass
            for part in ("127.0.0.2", "127.0.0.1", "Multiple exceptions"):
                assert part in str(failed.value.__cause__)

    run(work())


def test_what_is_cancelled_leaves_no_socket_and_no_task(run, how):
    async def work():
        with silent_listener() as port:
            resolve_to("127.0.0.2", "127.0.0.2")
            before = asyncio.all_tasks()
            with pytest.raises(ConnectError, match="the TCP connection did not come"):
                async with opened(f"ws://many.example:{port}", how, open_timeout=0.4):
                    pass
            assert asyncio.all_tasks() == before

    # A socket that is left open is a ResourceWarning, and so an error.
    run(work())


def link_local():
    """Give an IPv6 address of this machine that means nothing without its zone, or `None`."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines() if Path("/proc/net/if_inet6").exists() else ():
        digits, *_, interface = line.split()
        if digits.startswith("fe80"):
            return f"{ipaddress.IPv6Address(int(digits, 16))}%{interface}"
    return None


@pytest.mark.skipif(link_local() is None, reason="this machine has no link-local address")
@pytest.mark.parametrize("by", ["URL", "host"])
def test_an_address_with_a_zone_is_reached(run, how, by):
    async def work():
        found = socket.getaddrinfo(link_local(), 0, type=socket.SOCK_STREAM)
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(found[0][4])
            async with serve(echo, sock=sock) as server:
                address = link_local().replace("%", "%25")
                host = None if by == "URL" else link_local()
                async with opened(f"ws://[{address}]:{server.port}", how, host=host) as transport:
                    assert transport.get_extra_info("peername")[3] == found[0][4][3]

    run(work())


def test_a_family_leaves_the_addresses_of_others_out(run, how):
    async def work():
        async with listening() as server:
            resolve_to("::1", "127.0.0.1")
            address = f"ws://many.example:{server.port}"
            async with opened(address, how, family=socket.AF_INET) as transport:
                assert transport.get_extra_info("peername") == ("127.0.0.1", server.port)
            with pytest.raises(ConnectError):
                async with opened(address, how, family=socket.AF_INET6):
                    pass

    run(work())


def test_local_addr_is_where_is_connected_from(run, how):
    async def work():
        async with listening() as server:
            async with opened(url(server), how, local_addr=("127.0.0.3", 0)) as transport:
                assert transport.get_extra_info("sockname")[0] == "127.0.0.3"

    run(work())


def test_server_hostname_is_what_the_certificate_is_for(run, how, tls_contexts):
    server_tls, client_tls = tls_contexts
    names = []
    server_tls.sni_callback = lambda _connection, name, _context: names.append(name)

    async def work():
        async with listening(ssl=server_tls) as server:
            for name in ("localhost", "localhost."):
                address = f"wss://elsewhere.example:{server.port}"
                async with opened(address, how, host="127.0.0.1", server_hostname=name, ssl=client_tls):
                    pass

    run(work())
    assert names == ["localhost", "localhost"]


@pytest.mark.parametrize("argument", ["host", "server_hostname"])
def test_an_international_name_is_looked_up_and_told_in_its_ascii_form(run, how, tls_contexts, argument):
    server_tls, client_tls = tls_contexts
    told = []
    server_tls.sni_callback = lambda _connection, name, _context: told.append(name)
    client_tls.check_hostname = False

    async def work():
        async with listening(ssl=server_tls) as server:
            system = asyncio.get_running_loop().getaddrinfo

            async def getaddrinfo(host, port, **options):
                if host == "127.0.0.1":
                    return await system(host, port, **options)
                told.append(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

            asyncio.get_running_loop().getaddrinfo = getaddrinfo
            async with opened(f"wss://a.example:{server.port}", how, ssl=client_tls, **{argument: "straße.de"}):
                pass

    run(work())
    assert told == [*(["xn--strae-oqa.de", "a.example"] if argument == "host" else ["a.example", "xn--strae-oqa.de"])]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"host": "a b.exämple"}, LocalProtocolError),
        ({"host": b"localhost"}, TypeError),
        ({"host": "[::1]"}, LocalProtocolError),
        ({"host": "::1\0.example"}, LocalProtocolError),
        ({"server_hostname": "localhost:443"}, LocalProtocolError),
        ({"server_hostname": "☃.example"}, LocalProtocolError),
        ({"server_hostname": 5}, TypeError),
        ({"port": 65536}, LocalProtocolError),
        ({"port": -1}, LocalProtocolError),
        ({"port": "80"}, TypeError),
        ({"family": "inet"}, TypeError),
        ({"local_addr": "127.0.0.1"}, TypeError),
        ({"family": socket.AF_UNIX}, LocalProtocolError),
        ({"local_addr": ("127.0.0.1", "x")}, TypeError),
        ({"local_addr": ("127.0.0.1", True)}, TypeError),
        ({"local_addr": ("127.0.0.1", 65536)}, LocalProtocolError),
        ({"local_addr": ("127.0.0.1", -1)}, LocalProtocolError),
        ({"local_addr": ("a" * 64 + ".example", 0)}, LocalProtocolError),
        ({"sock": 5}, TypeError),
        ({"sock": "datagrams"}, LocalProtocolError),
        ({"path": 5}, TypeError),
        ({"path": ""}, LocalProtocolError),
        ({"path": "/socket", "host": "localhost"}, LocalProtocolError),
        ({"path": "/socket", "local_addr": ("127.0.0.1", 0)}, LocalProtocolError),
    ],
)
def test_a_wrong_address_is_refused_where_it_is_given(wrong, error):
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        given = {name: datagrams if value == "datagrams" else value for name, value in wrong.items()}
        for call in (connect, connect_http2):
            with pytest.raises(error):
                call("wss://localhost/", **given)


def test_a_socket_takes_the_place_of_all_other_addresses():
    with socket.socket() as sock:
        for other in ({"path": "/socket"}, {"host": "localhost"}, {"port": 80}, {"family": socket.AF_INET}):
            for call in (connect, connect_http2):
                with pytest.raises(LocalProtocolError, match="instead of"):
                    call("ws://localhost/", sock=sock, **other)
