"""Proxies of Debian, between our client and our server."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from conversation import PATIENCE, Certificate
from process import client_context, command_serving, free_port, need_program, running

import mintws.asyncio
import mintws.sync
import mintws.trio
from mintws import ProxyError

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 20
{auth}
"""

SQUID = """
http_port 127.0.0.1:{port}
pid_filename none
cache deny all
access_log none
cache_log /dev/null
logfile_rotate 0
cache_store_log none
coredump_dir {folder}
shutdown_lifetime 1 second
visible_hostname localhost
{auth}
"""

DANTE = """
logoutput: /dev/null
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
user.unprivileged: {user}
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"""

#: Programs, with their packages.
PACKAGES = {"tinyproxy": "tinyproxy", "squid": "squid", "microsocks": "microsocks", "danted": "dante-server"}


def command_of(name: str, port: int, folder: Path, auth: bool) -> list[str]:
    """Give the command of a proxy, which asks for ann and her secret, or for nothing."""
    config = folder / f"{name}.conf"
    if name == "tinyproxy":
        config.write_text(TINYPROXY.format(port=port, auth="BasicAuth ann secret" if auth else ""))
        return ["tinyproxy", "-d", "-c", str(config)]
    if name == "squid":
        helper = folder / "helper.sh"
        helper.write_text('#!/bin/sh\nwhile read -r line; do [ "$line" = "ann secret" ] && echo OK || echo ERR; done\n')
        helper.chmod(0o755)
        asks = f"auth_param basic program {helper}\nacl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all"
        config.write_text(SQUID.format(port=port, folder=folder, auth=asks if auth else "http_access allow all"))
        return ["squid", "-N", "-f", str(config)]
    if name == "microsocks":
        return ["microsocks", "-i", "127.0.0.1", "-p", str(port), *(["-u", "ann", "-P", "secret"] if auth else [])]
    config.write_text(DANTE.format(port=port, user=getpass.getuser()))
    return ["danted", "-f", str(config)]


@contextlib.asynccontextmanager
async def proxy(name: str, folder: Path, auth: bool = False) -> AsyncIterator[int]:
    """Run a proxy; give its port."""
    need_program(name, PACKAGES[name])
    port = free_port()
    # Squid gives up its rights, and has to read what root's tests have written.
    for each in (folder, *folder.parents):
        if each.owner() == getpass.getuser() and each != Path("/tmp"):
            with contextlib.suppress(OSError):
                each.chmod(each.stat().st_mode | 0o011)
    folder.chmod(0o777)
    async with running(command_of(name, port, folder, auth), ports=[port], stdout=DEVNULL, stderr=DEVNULL, cwd=folder):
        yield port


def converse(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 2 * PATIENCE))


async def echoes(driver: str, url: str, **options: Any) -> bool:
    """Whether a client of a driver gets back what it sends."""

    async def await_echoes(connect: Any) -> bool:
        async with connect(url, **options) as websocket:
            await websocket.send("hello")
            await websocket.send(bytes(200_000))
            return await websocket.recv() == "hello" and await websocket.recv() == bytes(200_000)

    def block_for_echoes() -> bool:
        with mintws.sync.connect(url, **options) as websocket:
            websocket.send("hello", timeout=PATIENCE)
            websocket.send(bytes(200_000), timeout=PATIENCE)
            return websocket.recv(PATIENCE) == "hello" and websocket.recv(PATIENCE) == bytes(200_000)

    if driver == "asyncio":
        return await await_echoes(mintws.asyncio.connect)
    if driver == "trio":
        return await asyncio.to_thread(trio.run, await_echoes, mintws.trio.connect)
    return await asyncio.to_thread(block_for_echoes)


DRIVERS = pytest.mark.parametrize("driver", ["asyncio", "trio", "sync"])


@DRIVERS
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("tinyproxy", "http"),
        ("squid", "http"),
        ("microsocks", "socks5h"),
        ("microsocks", "socks5"),
        ("danted", "socks5h"),
        ("danted", "socks4"),
    ],
)
def test_websockets_pass(
    driver: str, name: str, scheme: str, http: Any, tls: bool, certificate: Certificate, tmp_path: Path
) -> None:
    async def work() -> None:
        async with command_serving(certificate if tls else None) as server, proxy(name, tmp_path) as port:
            context = client_context(certificate) if tls else None
            url = f"{'wss' if tls else 'ws'}://localhost:{server}/"
            assert await echoes(driver, url, http=http, ssl=context, proxy=f"{scheme}://127.0.0.1:{port}")

    converse(work())


@DRIVERS
@pytest.mark.parametrize(
    ("name", "scheme", "statuses"),
    # Of wrong credentials, tinyproxy 1.11.1 says 401.
    [("tinyproxy", "http", (401, 407)), ("squid", "http", (407,)), ("microsocks", "socks5h", ())],
)
def test_credentials_are_asked_for_and_sent(
    driver: str, name: str, scheme: str, statuses: tuple[int, ...], tmp_path: Path
) -> None:
    async def work() -> None:
        async with command_serving(None) as server, proxy(name, tmp_path, auth=True) as port:
            url = f"ws://localhost:{server}/"
            assert await echoes(driver, url, proxy=f"{scheme}://ann:secret@127.0.0.1:{port}")
            for wrong in ("", "ann:wrong@"):
                with pytest.raises(ProxyError) as told:
                    await echoes(driver, url, proxy=f"{scheme}://{wrong}127.0.0.1:{port}")
                assert told.value.status in (statuses or (None,))
                if statuses:
                    assert {"proxy-authenticate", "www-authenticate"} & dict(told.value.headers).keys()
                    assert b"html" in told.value.body.lower()

    converse(work())


@DRIVERS
@pytest.mark.parametrize(
    ("name", "scheme", "status"),
    [("tinyproxy", "http", 500), ("squid", "http", 503), ("microsocks", "socks5h", 5), ("danted", "socks5h", 5)],
)
def test_a_server_that_is_not_there_is_the_proxys_answer(
    driver: str, name: str, scheme: str, status: int, tmp_path: Path
) -> None:
    async def work() -> None:
        async with proxy(name, tmp_path) as port:
            with pytest.raises(ProxyError) as told:
                await echoes(driver, f"ws://127.0.0.1:{free_port()}/", proxy=f"{scheme}://127.0.0.1:{port}")
            assert told.value.status == status

    converse(work())


def test_curl_and_we_choose_the_same_proxy(tmp_path: Path) -> None:
    """What `no_proxy` means is nowhere written: curl is what most people know."""
    need_program("curl", "curl")
    from mintws.session import environment_proxy

    cases = [
        ("example.test", "example.test"),
        ("example.test", ".example.test"),
        ("www.example.test", "example.test"),
        ("badexample.test", "example.test"),
        ("example.test", "*"),
        ("192.0.2.1", "192.0.2.0/24"),
        ("192.0.3.1", "192.0.2.0/24"),
        ("example.test", "other.test,example.test"),
        ("example.test", "other.test example.test"),
    ]

    async def asks_proxy(host: str, no_proxy: str) -> bool:
        asked = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(re.match(rb"CONNECT (\S+)", await reader.readuntil(b"\r\n\r\n")))
            writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            environ = {**os.environ, "https_proxy": there, "no_proxy": no_proxy}
            command = ["curl", "--silent", "--connect-timeout", "1", "--max-time", "2", f"https://{host}/"]
            process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=DEVNULL, stderr=DEVNULL)
            await process.wait()
        return bool(asked)

    async def work() -> None:
        for host, no_proxy in cases:
            environ = {"https_proxy": "http://proxy.example", "no_proxy": no_proxy}
            ours = environment_proxy(host, 443, secure=True, environ=environ) is not None
            assert ours is await asks_proxy(host, no_proxy), (host, no_proxy)

    converse(work())
