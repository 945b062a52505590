"""curl, which sends bodies: those within the limit, and those over it, which are answered while they are sent."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from conversation import PATIENCE, Certificate
from process import command_serving, need_program, running

VERSIONS = {"1.1": "--http1.1", "2": "--http2-prior-knowledge"}


@pytest.fixture(autouse=True)
def _needed() -> None:
    need_program("curl", "curl")


async def post(url: str, http: str, certificate: Certificate, body: Path) -> tuple[int, str]:
    """Send a body; give the exit code of curl, and the status and the version that it saw."""
    version = "--http2" if http == "2" and url.startswith("https:") else VERSIONS[http]
    seen = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{http_version}", "--max-time", "10"]
    command = ["curl", version, *seen, "--cacert", certificate.cert, "--data-binary", f"@{body}", url]
    async with running(command, stdout=PIPE) as process:
        assert process.stdout is not None
        written = (await process.stdout.read()).decode()
        return await process.wait(), written


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize(("size", "status"), [(900_000, 405), (3_000_000, 413)])
def test_bodies_within_the_limit_and_over_it_get_their_answers(
    tls: bool, http: str, size: int, status: int, certificate: Certificate, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(size))

    async def converse() -> None:
        async with command_serving(certificate if tls else None) as port:
            url = f"{'https' if tls else 'http'}://localhost:{port}/"
            for _ in range(20):
                assert await post(url, http, certificate, body) == (0, f"{status} {http}")

    asyncio.run(asyncio.wait_for(converse(), 2 * PATIENCE))
