"""Programs under test: found, started, awaited and ended, each by its own process id."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from conversation import Certificate

#: Everything that is made for the tests and need not be kept.
CACHE = Path(__file__).parents[2] / ".cache" / "peers"


def missing(what: str, remedy: str) -> None:
    """Skip the test for want of a peer; in CI, where all peers are to be there, fail it."""
    message = f"{what} is not installed: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def need_program(name: str, package: str, remedy: str | None = None) -> None:
    if shutil.which(name) is None:
        missing(name, remedy or f"as root, run tests/peers/setup.sh, or install the Debian package {package}")


def need_package(name: str) -> None:
    if version_of(name) == "-":
        missing(name, f"pip install {name}")


@cache
def version_of(package: str) -> str:
    """The version of a Python package; "-" if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


@cache
def printed(*command: str) -> str:
    """The version that a program prints; "-" if it is missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return "-"
    return (done.stdout or done.stderr).strip()


@contextmanager
def installing(name: str) -> Iterator[None]:
    """Keep other processes that run tests from installing the same, or from using it half installed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def node_modules(folder: str = "node") -> Path:
    """Install what npm has for the peers of a folder, once for each lock file."""
    need_program("node", "nodejs")
    need_program("npm", "npm")
    source = Path(__file__).parent / folder
    lock = (source / "package-lock.json").read_text()
    there = CACHE / folder
    with installing(folder):
        stamp = there / "node_modules" / ".installed"
        if not stamp.exists() or stamp.read_text() != lock:
            there.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, there / name)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=there, capture_output=True, text=True, timeout=180, check=False)
            if done.returncode:
                missing(f"what {source.name}/package.json names", f"npm ci failed: {done.stderr[-500:]}")
            stamp.write_text(lock)
    return there / "node_modules"


@cache
def python_package(folder: str) -> Path:
    """Install what PyPI has of programs for the peers of a folder, once for each list of them; gives where."""
    source = Path(__file__).parent / folder / "requirements.txt"
    there = CACHE / folder
    with installing(folder):
        stamp = there / ".installed"
        if not stamp.exists() or stamp.read_text() != source.read_text():
            shutil.rmtree(there, ignore_errors=True)
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary",
                ":all:",
            ]
            command += ["--target", str(there), "--requirement", str(source)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                missing(f"what {folder}/requirements.txt names", f"pip failed: {done.stderr[-500:]}")
            stamp.write_text(source.read_text())
    return there


@cache
def source_distribution(folder: str) -> Path:
    """Unpack the source distribution that sdist.txt of a folder names, once for each version; gives where its tests are."""
    wanted = (Path(__file__).parent / folder / "sdist.txt").read_text()
    there = CACHE / f"{folder}.sdist"
    with installing(folder):
        stamp = there / ".unpacked"
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(there, ignore_errors=True)
            there.mkdir()
            named = Path(__file__).parent / folder / "sdist.txt"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--no-binary", wanted.partition("==")[0], "--require-hashes", "--dest", str(there)]
            command += ["--requirement", str(named)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                missing(f"what {folder}/sdist.txt names", f"pip failed: {done.stderr[-500:]}")
            [archive] = there.glob("*.tar.gz")
            with tarfile.open(archive) as files:
                for it in files:
                    name = Path(*Path(it.name).parts[1:])
                    # The package itself, if it were beside its tests, would be imported in place of the one that is installed.
                    if it.isfile() and name.parts[0] == "tests" and ".." not in name.parts:
                        (there / name).parent.mkdir(parents=True, exist_ok=True)
                        (there / name).write_bytes(files.extractfile(it).read())  # type: ignore[union-attr]
            stamp.write_text(wanted)
    return there


@cache
def h2spec() -> Path:
    """Build h2spec, once for each set of modules."""
    need_program("go", "golang-go")
    source = Path(__file__).parent / "h2spec"
    modules = (source / "go.mod").read_text() + (source / "go.sum").read_text()
    program = CACHE / "h2spec"
    with installing("h2spec"):
        stamp = CACHE / "h2spec.modules"
        if not program.exists() or not stamp.exists() or stamp.read_text() != modules:
            CACHE.mkdir(parents=True, exist_ok=True)
            command = ["go", "build", "-o", str(program), "github.com/summerwind/h2spec/cmd/h2spec"]
            done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=180, check=False)
            if done.returncode:
                missing("h2spec", f"go build failed: {done.stderr[-500:]}")
            stamp.write_text(modules)
    return program


@asynccontextmanager
async def command_serving(certificate: Certificate | None) -> AsyncIterator[int]:
    """Run `mintws serve`, over TLS with a certificate; gives its port."""
    port = free_port()
    tls = ["--cert", certificate.cert, "--key", certificate.key] if certificate else []
    command = [sys.executable, "-m", "mintws", "serve", "--port", str(port), *tls]
    async with running(command, ports=[port], stdout=DEVNULL, stderr=DEVNULL):
        yield port


def free_port() -> int:
    """Give a port that is free now, for a program that must be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(
    command: Sequence[str], *, ports: Sequence[int] = (), **how: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, wait until it listens on `ports`, and end it and its children with the block."""
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True, **how)  # type: ignore[arg-type]
    try:
        for port in ports:
            await listening(port, process)
        yield process
    finally:
        await end(process)


async def listening(port: int, process: asyncio.subprocess.Process, patience: float = 10.0) -> None:
    """Wait until a port takes connections."""
    for _ in range(int(patience / 0.02)):
        assert process.returncode is None, f"the program ended with {process.returncode} before it listened"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise AssertionError(f"nothing listens on port {port} after {patience} s")


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process and those of its group, which it leads."""
    for signal in (15, 9):
        try:
            os.killpg(process.pid, signal)
        except ProcessLookupError:
            break
        try:
            await asyncio.wait_for(process.wait(), 3)
        except asyncio.TimeoutError:
            continue
        break


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate for localhost."""
    need_program("openssl", "openssl")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    # Deno takes no certificate of an authority for that of a server.
    extensions = ("-addext", names, "-addext", "basicConstraints=critical,CA:FALSE")
    _run(*make, "-subj", "/CN=localhost", *extensions, "-keyout", key, "-out", cert)
    public = _run("openssl", "x509", "-in", cert, "-pubkey", "-noout")
    der = _run("openssl", "pkey", "-pubin", "-outform", "der", given=public)
    spki = (
        _run("openssl", "base64", "-A", given=_run("openssl", "dgst", "-sha256", "-binary", given=der)).decode().strip()
    )
    (folder / "both.pem").write_text(Path(cert).read_text() + Path(key).read_text())
    return Certificate(cert, key, spki)


def server_context(certificate: Certificate, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def client_context(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate.cert)


def _run(*command: str, given: bytes | None = None) -> bytes:
    return subprocess.run(command, input=given, capture_output=True, timeout=30, check=True).stdout
