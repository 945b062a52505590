"""What is not used is not loaded: mintws without HTTP/2, and a driver over HTTP/1.1."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mintws

LIBRARIES = {"h2", "hpack", "hyperframe"}


def loaded(code: str) -> set[str]:
    """Give the names of the modules that a new process has after it has run `code`."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.split())


def test_http2_is_loaded_when_it_is_first_used():
    first = loaded("import mintws")
    assert not {name for name in first if name.split(".")[0] in LIBRARIES or name.startswith("mintws.http2")}
    assert loaded("import mintws; mintws.Http2") >= LIBRARIES
    assert loaded("from mintws import *; Http2") >= LIBRARIES


@pytest.mark.parametrize("module", ["mintws.session", "mintws.asyncio"])
def test_module_does_not_load_http2(module):
    first = loaded(f"import {module}")
    assert module in first
    assert not {name for name in first if name.split(".")[0] in LIBRARIES or name.startswith("mintws.http2")}


TALK = """
import asyncio
from mintws.asyncio import connect, serve

async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)

async def main():
    async with serve(echo, "127.0.0.1", 0, http2={http2}) as server:
        async with connect(f"ws://127.0.0.1:{{server.port}}/", http="{version}") as websocket:
            await websocket.send("a")
            assert await websocket.recv() == "a"

asyncio.run(asyncio.wait_for(main(), 30))
"""


def test_driver_loads_http2_where_it_is_spoken():
    assert loaded(TALK.format(http2=False, version="1.1")).isdisjoint(LIBRARIES)
    assert loaded(TALK.format(http2=True, version="2")) >= LIBRARIES


def test_server_that_speaks_http2_has_loaded_it_before_its_first_client():
    assert loaded("from mintws.asyncio import serve; serve(print, port=0)") >= LIBRARIES


def test_few_modules_are_loaded_beside_those_of_h11():
    ours = {name for name in loaded("import mintws") - loaded("import h11") if name.startswith("mintws")}
    assert len(ours) <= 16, sorted(ours)


def test_http2_is_shown_by_dir_before_it_is_used():
    assert loaded("import mintws; assert 'Http2' in dir(mintws)").isdisjoint(LIBRARIES)
    assert set(mintws.__all__) <= set(dir(mintws))


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mintws' has no attribute 'Http3'"):
        mintws.Http3  # noqa: B018
