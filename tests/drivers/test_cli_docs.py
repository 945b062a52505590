"""The commands in docs/command-line.md do what the page says: each one runs."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from drivers.capture import capture, packets
from drivers.command import BOUND, MINTWS, posix, serving, shell
from scapy.utils import PcapNgWriter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
#: Those that run until they are stopped.
SERVERS = [line for line in COMMANDS if re.match(r"mintws (serve|asgi)", line)]


@pytest.fixture
def folder(certificate: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder with the files that the page names."""
    for name, source in zip(("cert.pem", "key.pem"), certificate, strict=True):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "photo.jpg").write_bytes(bytes(range(256)))
    frames = b"\x81\x85" + bytes(4) + b"Hello"
    (tmp_path / "client.bin").write_bytes(frames)
    (tmp_path / "capture.pcapng").write_bytes(capture(packets(frames, b""), PcapNgWriter))
    return tmp_path


@pytest.fixture
def ports(certificate: tuple[Path, Path]) -> Iterator[dict[str, str]]:
    """Servers on the ports that the page names, without TLS and with it: the numbers that they really have."""
    cert, key = certificate
    with serving() as (_, plain), serving("--cert", str(cert), "--key", str(key)) as (_, secure):
        yield {"8765": str(plain), "8766": str(secure)}


@posix
@pytest.mark.parametrize("line", [it for it in COMMANDS if it not in SERVERS])
def test_command_runs(line: str, folder: Path, ports: dict[str, str]) -> None:
    command = re.sub("8765|8766", lambda found: ports[found[0]], line)
    done = shell(command, cwd=folder, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stderr
    if "inspect" in line:
        assert b"'Hello'" in done.stdout or b"BROKEN" in done.stdout
    elif "hello" in line:
        assert done.stdout == b"hello\n"


@posix
@pytest.mark.parametrize("line", SERVERS)
def test_server_runs(line: str, folder: Path) -> None:
    words = shlex.split(line, comments=True)
    # No test takes a port that another program may have.
    port = [] if any(it.isdigit() for it in words) else ["--port", "0"]
    command = [*MINTWS, *("0" if it.isdigit() else it for it in words[1:]), *port]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(b"listening on ")
            server.send_signal(signal.SIGINT)
            assert server.wait(BOUND) == 0
        finally:
            server.kill()


def test_each_command_has_its_section() -> None:
    done = subprocess.run([*MINTWS, "--help"], capture_output=True, text=True, timeout=BOUND, check=True)
    commands = re.findall(r"^    (\w+) ", done.stdout, re.MULTILINE)
    assert {"serve", "connect", "demo"} < set(commands)
    text = PAGE.read_text(encoding="utf-8")
    for command in commands:
        assert f"[`mintws {command}`](" in text
        assert f"\n## {command}\n" in text or command == "asgi"
