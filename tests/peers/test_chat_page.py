"""The page of `mintws serve --chat` in Chromium."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from conversation import Certificate
from devtools import Tab, browsing

from mintws.asyncio import connect, serve
from mintws.cli.chat import Chat
from mintws.cli.page import respond_with_page

#: How far any element reaches beyond the page, or its contents beyond itself where that cannot be scrolled to.
OVERFLOW = """
Math.max(document.documentElement.scrollWidth - innerWidth,
         ...[...document.querySelectorAll("body *:not(.hidden):not(option)")].flatMap(it => [it.getBoundingClientRect().right - innerWidth,
             ["INPUT", "svg", "path"].includes(it.tagName) ? 0 : it.scrollWidth - it.clientWidth].map(by => it.clientWidth ? by : 0)))
"""
#: The contrast of the text of elements with what is behind it (WCAG 2, 1.4.3).
CONTRAST = """
(() => {
  const luminance = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(it => it / 255).map(it => it <= .03928 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = it => { while (it && /, 0\\)$|transparent/.test(getComputedStyle(it).backgroundColor)) it = it.parentElement;
                         return it ? getComputedStyle(it).backgroundColor : "rgb(255, 255, 255)"; };
  return Math.min(...[...document.querySelectorAll("h1, h2, p.quiet, .chip, #log b, #log .note, button:enabled")].map(it => {
    const [a, b] = [luminance(getComputedStyle(it).color), luminance(behind(it))].sort((a, b) => b - a);
    return (a + .05) / (b + .05);
  }));
})()
"""


async def visit(tab: Tab, url: str, width: int, scheme: str) -> None:
    await tab.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
    )
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.call("Page.navigate", url=url)
    await tab.wait_for("typeof at === 'function' && at('state').dataset.state === 'open'")


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_the_chat_works_and_fits_at_any_width_in_both_schemes(
    http: str, certificate: Certificate, tmp_path: Path
) -> None:
    async def work() -> None:
        chat = Chat()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.cert, certificate.key)
        trust = ssl.create_default_context(cafile=certificate.cert)
        page = respond_with_page([], "chat.html")
        async with (
            serve(chat.handle, "127.0.0.1", 0, ssl=context, respond=page, http2=http == "2") as server,
            browsing(tmp_path) as tab,
            connect(f"wss://localhost:{server.port}/room/lobby?name=Ada", host="127.0.0.1", ssl=trust) as ada,
        ):
            await ada.send("<b>tea</b> or " + "coffee" * 40)
            for width, scheme in ((400, "light"), (400, "dark"), (1200, "light"), (1200, "dark")):
                await visit(tab, f"https://localhost:{server.port}/", width, scheme)
                assert await tab.evaluate("at('http').textContent") == f"HTTP/{http}"
                assert await tab.evaluate("at('compression').textContent") == "permessage-deflate"
                await tab.wait_for(
                    "at('log').textContent.includes('<b>tea</b> or coffee') && at('people').textContent.includes('Ada')"
                )
                assert await tab.evaluate(
                    "at('log').querySelectorAll('li b').length === at('log').querySelectorAll('li.said').length"
                )
                await tab.evaluate("at('room').value = 'kitchen'; at('joining').requestSubmit(); at('more').click()")
                together = "22 WebSockets on 1 connection" if http == "2" else "22 WebSockets on 22 connections"
                await tab.wait_for(f"at('sum').textContent === '{together}'")
                await tab.wait_for("current === 'kitchen' && at('state').dataset.state === 'open'")
                await tab.evaluate(
                    f"at('text').value = 'from {width} {scheme}'; at('say').requestSubmit(); show('lobby')"
                )
                await tab.wait_for("/kitchen \\(\\d\\)/.test(at('rooms').textContent)")
                await tab.wait_for(
                    "at('latency').textContent.includes('median') && at('plot').firstElementChild.getAttribute('d')"
                )
                assert await tab.evaluate(OVERFLOW) <= 1
                assert await tab.evaluate(CONTRAST) >= 4.5
                await tab.evaluate("at('fewer').click()")
                await tab.wait_for("at('sum').textContent.startsWith('2 WebSockets')")
            await tab.evaluate("at('name').value = 'Grace'; at('naming').requestSubmit()")
            await tab.wait_for("at('people').textContent.includes('Grace')")
            await tab.evaluate("at('text').value = 'goodbye'; at('say').requestSubmit()")
            said = {"type": "said", "by": "Grace", "text": "goodbye"}
            while json.loads(await ada.recv()) != said:
                pass
            assert tab.faults == []

    asyncio.run(asyncio.wait_for(work(), 240))


def test_the_page_connects_again_when_the_server_is_back(tmp_path: Path) -> None:
    async def work() -> None:
        page = respond_with_page([], "chat.html")
        async with browsing(tmp_path) as tab:
            async with serve(Chat().handle, "127.0.0.1", 0, respond=page) as server:
                port = server.port
                await visit(tab, f"http://127.0.0.1:{port}/", 400, "light")
            await tab.wait_for(
                "at('state').dataset.state === 'closed' && at('log').textContent.includes('closed with 1001')"
            )
            async with serve(Chat().handle, "127.0.0.1", port, respond=page):
                await tab.wait_for("at('state').dataset.state === 'open'")

    asyncio.run(asyncio.wait_for(work(), 120))
