"""The live page in a real browser, of a service under load in a process of its own."""

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.admin.live.browser import Browser, Tab, open_browser
from tests.admin.live.services import Service

Peer = Callable[[str], str]
LIVE = "document.querySelector('#state')?.textContent === 'Live'"
WINDOWS = (
    pytest.param(1280, "dark", id="dark"),
    pytest.param(1280, "light", id="light"),
    pytest.param(390, "dark", id="phone"),
    pytest.param(390, "light", id="phone-light"),
)


class Chromium:
    """A browser that lives in a loop of its own."""

    def __init__(self, runner: asyncio.Runner, browser: Browser) -> None:
        self._runner = runner
        self._browser = browser

    def do(self, work: Callable[[Tab], Coroutine[Any, Any, Any]]) -> Any:
        """Give a new tab to `work`, and return what it makes."""
        return self._runner.run(self._do(work))

    async def _do(self, work: Callable[[Tab], Coroutine[Any, Any, Any]]) -> Any:
        async with self._browser.tab() as tab:
            return await work(tab)


@pytest.fixture(scope="module")
def chromium(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Return a browser; a test without one is skipped, or fails where every peer is required."""
    opening = open_browser(peer("chromium"), tmp_path_factory.mktemp("profile"))
    with asyncio.Runner() as runner:
        yield Chromium(runner, runner.run(opening.__aenter__()))
        runner.run(opening.__aexit__(None, None, None))


def _text(selector: str) -> str:
    return f"document.querySelector('{selector}').innerText"


# ---- what it shows

SHOWN = {
    "#table-routes": "GET /products/{product_id}",
    "#table-objectives": "place-order",
    "#sites": "export",
    "#time": "waiting",
    "#table-caches": "hasten product",
    "#table-consumers": "orders.placed billing",
    "#chart-latency": "promised 250 ms",
}
"""Once each has happened: what holds a busy machine's loop for the first time may have no name."""


@pytest.mark.parametrize(("width", "scheme"), WINDOWS)
def test_a_loaded_service_is_shown(chromium: Chromium, service: Service, width: int, scheme: str) -> None:
    """Every part of the page has the service's figures, nothing else is asked for, and the console is silent."""

    async def work(tab: Tab) -> None:
        await tab.look(width=width, scheme=scheme)
        await tab.go(service.admin + "/")
        await tab.until(LIVE)
        assert await tab.value(_text("#service")) == "orders"
        for selector, said in SHOWN.items():
            await tab.until(f"{_text(selector)}.includes({json.dumps(said)})")
        assert float((await tab.value(_text("#tile-rate .value"))).removesuffix("/s").replace(",", "")) > 0
        assert await tab.value("document.documentElement.scrollWidth") == width
        await tab.until(_drawn("#chart-requests") + "&&" + _drawn("#chart-latency"))
        assert _colours(await tab.screenshot()) > 20
        origin = service.admin
        assert all(url.startswith((origin, "data:")) for url in tab.asked)
        assert tab.problems == []

    chromium.do(work)


def _drawn(chart: str) -> str:
    """Return an expression that says whether a chart's canvas has lines in it: more than axes, of more than one hue.

    The pixels are read from a copy: Chromium warns a page whose own canvas is read back again and again.
    """
    return f"""(() => {{
      const canvas = document.querySelector('{chart} canvas');
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {{willReadFrequently: true}});
      copy.drawImage(canvas, 0, 0);
      const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
      let coloured = 0;
      for (let at = 0; at < data.length; at += 4) {{
        const pixel = data.slice(at, at + 3);
        if (data[at + 3] > 200 && Math.max(...pixel) - Math.min(...pixel) > 60) coloured += 1;
      }}
      return coloured > 100;
    }})()"""


def _colours(png: bytes) -> int:
    """Return how many colours a screenshot has: a blank one has one. Rows are unfiltered as PNG's section 9 says."""
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    depth = {2: 3, 6: 4}[kind]
    chunks, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            chunks += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, stride = zlib.decompress(chunks), width * depth
    # A filtered byte of 0 is "as its neighbour": what is not blank has many different ones
    return len({raw[row * (stride + 1) + 1 + x] for row in range(height) for x in range(0, stride, 7)})


def test_values_are_there_without_hovering_and_move(chromium: Chromium, service: Service) -> None:
    """Each chart's legend has the newest values, and they change with each sample."""

    async def work(tab: Tab) -> None:
        await tab.look()
        await tab.go(service.admin + "/")
        await tab.until(LIVE)
        legends = "[...document.querySelectorAll('.card:not([hidden]) .legend b')].map((value) => value.textContent)"
        first = await tab.value(legends)
        assert len(first) >= 9
        assert all(first)
        title = await tab.value("document.title")
        assert "/s · p99 " in title
        assert " · orders" in title
        await tab.until(f"document.title !== {title!r}")

    chromium.do(work)


def test_a_blocked_loop_is_told_while_it_is_blocked(chromium: Chromium, service: Service) -> None:
    """While the event loop stands still the page says for how long and at which line, and stops saying so after."""

    async def work(tab: Tab) -> str:
        await tab.look()
        await tab.go(service.admin + "/")
        await tab.until(LIVE)
        waits = service.block(3.0)
        shown = "!document.querySelector('#blocked').hidden && document.querySelector('#blocked-at').innerText"
        said = await tab.until(f"{shown} && {_text('#blocked')}")
        await tab.until("document.querySelector('#blocked').hidden")
        await asyncio.to_thread(waits.join)
        assert tab.problems == []
        return str(said)

    said = chromium.do(work)
    assert said.startswith("Event loop blocked for ")
    assert "busy_service.py:" in said
    assert said.endswith(" block")


def test_pausing_stops_the_figures_and_resuming_brings_them_back(chromium: Chromium, service: Service) -> None:
    """A paused page keeps what it shows while samples go on coming, and says that it is paused."""

    async def work(tab: Tab) -> None:
        await tab.look()
        await tab.go(service.admin + "/")
        await tab.until(LIVE)
        await tab.value("document.querySelector('#pause').click()")
        assert await tab.value(_text("#state")) == "Paused"
        before = await tab.value(_text("#about"))
        await tab.value(
            "new Promise((done) => { const source = new EventSource('live'); let seen = 0;"
            " source.addEventListener('sample', () => (seen += 1) === 3 && (source.close(), done())); })"
        )
        assert await tab.value(_text("#about")) == before
        await tab.value("document.querySelector('#pause').click()")
        await tab.until(f"document.querySelector('#about').innerText !== {before!r}")

    chromium.do(work)


def test_the_theme_follows_the_system_until_it_is_chosen(chromium: Chromium, service: Service) -> None:
    """Dark and light follow the system's preference; the button overrules it, also after a reload."""
    background = "getComputedStyle(document.body).backgroundColor"

    async def work(tab: Tab) -> None:
        seen = []
        for scheme in ("dark", "light"):
            await tab.look(scheme=scheme)
            await tab.go(service.admin + "/")
            await tab.until(LIVE)
            seen.append(await tab.value(background))
        dark, light = seen
        assert dark != light
        await tab.value("document.querySelector('#theme').click()")
        assert await tab.value(background) == dark
        await tab.go(service.admin + "/#again")
        await tab.send("Page.reload")
        await tab.until(f"{LIVE} && {background} === '{dark}'")

    chromium.do(work)


# ---- for everybody


@pytest.mark.parametrize(("width", "scheme"), WINDOWS)
def test_axe_finds_no_fault(chromium: Chromium, service: Service, peer: Peer, width: int, scheme: str) -> None:
    """axe-core finds nothing serious or critical on the page, with its banners shown too."""
    axe = Path(peer("axe-core"), "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")

    async def work(tab: Tab) -> Any:
        await tab.look(width=width, scheme=scheme)
        await tab.go(service.admin + "/")
        await tab.until(LIVE)
        await tab.value(f"{axe};0")
        plain = await tab.value(AXE)
        await tab.value("document.querySelector('#pause').click()")
        shown = "for (const one of document.querySelectorAll('.banner')) { one.hidden = false; }"
        return plain, await tab.value(f"(() => {{ {shown} return {AXE}; }})()")

    for faults, passes in chromium.do(work):
        assert faults == []
        assert passes > 20  # it has looked at something


AXE = """axe.run().then(({ violations, passes }) => {
  const bad = violations.filter((one) => ["serious", "critical"].includes(one.impact));
  return [bad.map((one) => [one.id, one.nodes.map((node) => node.html)]), passes.length];
})"""


def test_the_routes_are_sorted_by_keyboard(chromium: Chromium, service: Service) -> None:
    """A table's head is a button that Tab reaches and Enter presses, and says how the table is sorted."""

    async def work(tab: Tab) -> None:
        await tab.look()
        await tab.go(service.admin + "/")
        await tab.until(LIVE)
        for _ in range(30):
            await _press(tab, "Tab")
            if await tab.value("document.activeElement.textContent") == "a second":
                break
        await _press(tab, "Enter", "\r")
        assert await tab.value("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
        rows = "[...document.querySelectorAll('#table-routes tbody tr')]"
        rates = f"{rows}.map((row) => parseFloat(row.cells[1].textContent.replace('<', '')))"
        found = await tab.value(rates)
        assert found == sorted(found, reverse=True)
        await _press(tab, "Enter", "\r")
        assert await tab.value("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
        found = await tab.value(rates)
        assert found == sorted(found)

    chromium.do(work)


async def _press(tab: Tab, key: str, text: str = "") -> None:
    codes = {"Tab": 9, "Enter": 13}
    for kind in ("keyDown", "keyUp"):
        spoken = {"text": text} if text and kind == "keyDown" else {}
        await tab.send(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **spoken
        )


# ---- what goes wrong


@asynccontextmanager
async def _own(folder: Path, **options: Any) -> AsyncIterator[Service]:
    service = await asyncio.to_thread(Service, folder, **options)
    try:
        yield service
    finally:
        await asyncio.to_thread(service.end)


def test_the_page_outlives_the_service(chromium: Chromium, tmp_path: Path) -> None:
    """When the service ends the page says so, and when another begins there it goes on by itself."""

    async def work(tab: Tab) -> None:
        await tab.look()
        async with _own(tmp_path) as first:
            await tab.go(first.admin + "/")
            await tab.until(LIVE)
            await tab.until("document.querySelectorAll('#table-routes tbody tr').length")
            admin = first.admin.removeprefix("http://")
        await tab.until("document.querySelector('#state').textContent === 'Reconnecting'")
        await tab.until("!document.querySelector('#lost').hidden")
        async with _own(tmp_path, admin=admin):
            await tab.until(LIVE)
            await tab.until("document.querySelector('#lost').hidden")
            await tab.until("document.querySelectorAll('#table-routes tbody tr').length")
        unexpected = [one for one in tab.problems if "ERR_CONNECTION" not in one and "ERR_INCOMPLETE" not in one]
        assert unexpected == []  # that the service was not there is the browser's own message

    chromium.do(work)


def test_a_page_behind_a_token_asks_for_it_once(chromium: Chromium, tmp_path: Path) -> None:
    """The form takes the token, and the page streams from then on without a token in any URL."""

    async def work(tab: Tab) -> None:
        await tab.look()
        async with _own(tmp_path, token="open sesame") as service:
            await tab.go(service.admin + "/")
            await tab.until("!!document.querySelector('#token')")
            await tab.value(_given("wrong"))
            await tab.until("document.querySelector('form .bad')?.textContent.includes('not the token')")
            await tab.value(_given("open sesame"))
            await tab.until(LIVE)
            assert not [url for url in tab.asked if "sesame" in url]

    chromium.do(work)


def _given(token: str) -> str:
    return f"document.querySelector('#token').value = '{token}'; document.querySelector('form').requestSubmit()"
