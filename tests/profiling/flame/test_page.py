"""The page of a profile in a real browser: what it shows, how it is walked, and that nothing in it can do harm."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from hasten.profiling import Frame, Profile, Stack
from hasten.profiling._diff import diff_profiles
from hasten.profiling.flame import difference_page, flame_page
from tests.admin.live.browser import Tab
from tests.profiling.flame.conftest import Chromium
from tests.profiling.profiles import (
    DIGEST,
    GET,
    LIBRARIES,
    PROFILES,
    ROUTE,
    SEARCH,
    SEARCHED,
    of_ledger,
    of_py_spy,
    of_yappi,
)

HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
PAGES: dict[str, Callable[[], str]] = {
    "ledger": lambda: flame_page(of_ledger()),
    "py-spy": lambda: flame_page(of_py_spy()),
    "yappi": lambda: flame_page(of_yappi()),
    "diff": lambda: difference_page(diff_profiles(of_ledger(), of_ledger(digest=0.9))),
    "diff of yappi": lambda: difference_page(diff_profiles(of_yappi(), of_yappi())),
    "nothing": lambda: flame_page(Profile(engine="ledger", clock="wall")),
    "no difference": lambda: difference_page(
        diff_profiles(Profile(engine="ledger", clock="wall"), Profile(engine="ledger", clock="wall"))
    ),
}
LOOKED_AT = (
    *(pytest.param("ledger", width, scheme) for width in (1280, 390) for scheme in ("dark", "light")),
    pytest.param("diff", 1280, "dark"),
    pytest.param("diff", 390, "light"),
    pytest.param("yappi", 1280, "light"),
    pytest.param("nothing", 390, "dark"),
)
AXE = """axe.run().then(({ violations, passes }) => {
  const bad = violations.filter((one) => ["serious", "critical"].includes(one.impact));
  return [bad.map((one) => [one.id, one.nodes.map((node) => node.html)]), passes.length];
})"""
DRAWN = "document.querySelectorAll('#rows tr').length > 0"


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that puts a page into a file, and returns its URL."""

    def write(page: str) -> str:
        file = tmp_path / "page.html"
        file.write_text(page, encoding="utf-8")
        return file.as_uri()

    return write


Place = Callable[[str], str]


def _text(selector: str) -> str:
    return f"document.querySelector('{selector}').innerText"


async def _open(tab: Tab, url: str, *, until: str = DRAWN, width: int = 1280, scheme: str = "light") -> None:
    await tab.look(width=width, scheme=scheme)
    await tab.send(
        "Emulation.setEmulatedMedia",
        features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ],
    )
    await tab.go(url)
    await tab.until(until)


KEYS = {"Enter": 13, "Escape": 27, "Backspace": 8, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


async def _press(tab: Tab, *keys: str) -> None:
    for key in keys:
        for kind in ("keyDown", "keyUp"):
            await tab.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])


async def _choose(tab: Tab, selector: str, value: str, event: str = "change") -> None:
    where = f"document.querySelector('{selector}')"
    await tab.value(f"{where}.value = {json.dumps(value)}; {where}.dispatchEvent(new Event('{event}')); 0")


# ---- the document


def test_the_page_is_one_document() -> None:
    """Nothing is fetched from anywhere, and only the page's own script and style may run."""
    for make in PAGES.values():
        page = make()
        assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in page
        assert re.search(r"default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'", page)
        assert page.count("<script") == 2
        assert "__" not in re.sub(r"<script.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)


@settings(max_examples=40)
@given(PROFILES)
def test_any_profile_has_a_page(profile: Profile) -> None:
    """Whatever names a profile holds, its page has two scripts, whose data is JSON."""
    page = flame_page(profile)
    assert page.count("</script>") == 2
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    assert json.loads(found[1])["compared"] is False


def test_the_verdict_names_what_takes_most() -> None:
    """The page's first sentence is the answer: the function, its place, its share; for a change by how much."""

    def plain(page: str) -> str:
        return re.sub(r"<[^>]+>", "", page[page.index("<h1>") : page.index("</h1>")])

    assert plain(flame_page(of_py_spy())) == "digest at orders/checks.py:17 takes 60 % of the time"
    said = plain(flame_page(of_ledger()))
    assert said == "Waiting in httpx.AsyncClient.get, called by search at orders/routes.py:21, takes 48 % of the time"
    assert "most grew computing in digest, by 2.50 ms" in plain(PAGES["diff"]())
    sampled = plain(difference_page(diff_profiles(of_py_spy(), of_py_spy(digest=90))))
    assert sampled == "Its threads spend 1.30 s a second, 30 % more than before; most grew digest, by 300 ms"
    assert plain(PAGES["no difference"]()) == "Nothing was recorded after"
    assert plain(PAGES["nothing"]()) == "Nothing was recorded"


def test_what_is_not_drawn_is_told() -> None:
    """Stacks that are too narrow are said to be so, and so is each note of the profile."""
    many = tuple(Stack((Frame(f"f{number}"),), 1e-9) for number in range(50))
    page = flame_page(Profile(engine="py-spy", clock="wall", stacks=(*of_py_spy().stacks, *many), notes=("Lost <3.",)))
    assert "50 stacks end in (smaller)" in page
    assert "Lost &lt;3." in page


# ---- what a browser makes of it


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_in_every_window(chromium: Chromium, place: Place, name: str) -> None:
    """No page is wider than its window, logs a fault or asks for anything but itself."""
    url = place(PAGES[name]())

    async def work(tab: Tab) -> None:
        await _open(tab, url, until="document.readyState === 'complete'")
        for width, scheme in ((1280, "dark"), (1280, "light"), (390, "dark"), (390, "light")):
            await tab.look(width=width, scheme=scheme)
            assert await tab.value("document.documentElement.scrollWidth") == width
        assert tab.problems == []
        assert [asked for asked in tab.asked if not asked.startswith("data:")] == [url]

    chromium.do(work)


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_make_no_page_wider(chromium: Chromium, place: Place, width: int) -> None:
    """Functions, files, endpoints, labels and notes of hundreds of characters are wrapped or cut."""
    long = "Endless" * 60
    frames = tuple(Frame(f"{long}.{number}", f"/srv/{long}/{long}.py", 10**6) for number in range(80))
    profile = msgspec.structs.replace(
        of_ledger(),
        service=long,
        stacks=(Stack(frames, 1.0, 1, f"GET /{long}", "waiting"),),
        labels={long: long},
        notes=(long,),
    )
    url = place(flame_page(profile))

    async def work(tab: Tab) -> None:
        await _open(tab, url, width=width)
        await tab.value("document.querySelector('canvas').focus()")
        await _press(tab, *["ArrowDown"] * 12, "Enter")
        assert await tab.value("document.documentElement.scrollWidth") == width
        assert "Endless" in await tab.value(_text("#crumbs [aria-current]"))

    chromium.do(work)


@pytest.mark.parametrize(("name", "width", "scheme"), LOOKED_AT)
def test_axe_finds_no_fault(
    chromium: Chromium, place: Place, peer: Callable[[str], str], name: str, width: int, scheme: str
) -> None:
    """axe-core finds nothing serious or critical, zoomed and searched too."""
    axe = Path(peer("axe-core"), "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
    url = place(PAGES[name]())

    async def work(tab: Tab) -> None:
        await _open(tab, url, width=width, scheme=scheme, until="document.readyState === 'complete'")
        await tab.value(f"{axe};0")
        for state in ("plain", "searched"):
            if state == "searched":
                await tab.value("document.querySelector('canvas').focus()")
                await _press(tab, "ArrowDown", "ArrowDown", "Enter")
                await _choose(tab, "#search", "s", "input")
            faults, passes = await tab.value(AXE)
            assert faults == []
            assert passes > 15  # it has looked at something

    chromium.do(work)


def test_the_graph_is_drawn(chromium: Chromium, place: Place) -> None:
    """The canvas has frames in many colours, and the legend says what they mean and how much of each there is."""
    url = place(flame_page(of_ledger()))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        colours = await tab.value("""(() => {
          const canvas = document.querySelector('canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          const found = new Set();
          for (let at = 0; at < data.length; at += 4 * 7) found.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
          return found.size;
        })()""")
        assert colours > 30
        assert "waiting 47.6 %" in " ".join((await tab.value(_text("#legend"))).split())
        assert "1.05 s in all" in await tab.value(_text("#details"))

    chromium.do(work)


def test_hostile_names_are_shown_and_do_nothing(chromium: Chromium, place: Place) -> None:
    """A function, an endpoint, a label and a note that hold markup are text wherever they stand."""
    frame = Frame(HOSTILE, f"/srv/{HOSTILE}.py", 3)
    profile = msgspec.structs.replace(
        of_ledger(),
        service=HOSTILE,
        stacks=(Stack((frame,), 1.0, 1, HOSTILE, HOSTILE),),
        labels={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
    )
    url = place(flame_page(profile))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        await tab.value("document.querySelector('canvas').focus()")
        await _press(tab, "ArrowDown", "ArrowDown", "Enter")
        await _choose(tab, "#search", HOSTILE[:20], "input")
        assert HOSTILE in await tab.value(_text("#rows"))
        assert HOSTILE in await tab.value(_text("#details"))
        assert HOSTILE in await tab.value(_text("h1"))
        assert await tab.value("window.harmed === undefined && document.images.length === 0")
        assert tab.problems == []

    chromium.do(work)


def test_twenty_thousand_stacks_open(chromium: Chromium, place: Place) -> None:
    """A very large profile has a page of bounded size that opens, zooms and searches."""
    frames = [Frame(f"module_{number}.function", f"/srv/orders/module_{number}.py", number) for number in range(500)]
    stacks = tuple(
        Stack(tuple(frames[(number * step) % 500] for step in range(1, 25)), 0.01, 1, f"GET /{number % 20}", "waiting")
        for number in range(20_000)
    )
    page = flame_page(Profile(engine="ledger", clock="wall", stacks=stacks))
    assert len(page) < 6_000_000
    url = place(page)

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        await tab.value("document.querySelector('canvas').focus()")
        await _press(tab, "ArrowDown", "ArrowDown", "Enter")
        assert await tab.value(_text("#crumbs [aria-current]")) == "module_0.function"
        await _press(tab, "Escape")
        await _choose(tab, "#search", "module_7.", "input")
        assert "%" in await tab.value(_text("#found"))
        assert tab.problems == []

    chromium.do(work)


# ---- walking


def test_the_graph_is_walked_by_keyboard(chromium: Chromium, place: Place) -> None:
    """Arrows walk frames and tell each, Enter zooms to one, Backspace goes out, Escape resets."""
    url = place(flame_page(of_ledger()))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        await tab.value("document.querySelector('canvas').focus()")
        await _press(tab, "ArrowDown")
        assert (await tab.value(_text("#details .name"))) == SEARCHED
        await _press(tab, "ArrowRight")
        assert (await tab.value(_text("#details .name"))) == "POST /orders"
        await _press(tab, "ArrowLeft", "ArrowDown", "ArrowDown", "ArrowDown")
        assert (await tab.value(_text("#details .name"))) == "digest"
        details = " ".join((await tab.value(_text("#details"))).split())
        assert "orders/checks.py:17" in details
        assert "400 ms in all" in details
        assert "2.00 ms a request" in details
        await _press(tab, "Enter")
        assert "digest" in await tab.value(_text("#crumbs [aria-current]"))
        await _press(tab, "Backspace")
        assert await tab.value(_text("#crumbs [aria-current]")) == "search"
        await _press(tab, "Escape")
        assert await tab.value(_text("#crumbs")) == "all requests"
        assert await tab.value("document.querySelector('#reset').disabled")

    chromium.do(work)


def test_a_click_zooms_and_the_crumbs_lead_back(chromium: Chromium, place: Place) -> None:
    """A click on a frame zooms to it, its figures are of what is zoomed to, and each crumb is a way out."""
    url = place(flame_page(of_py_spy()))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        box = await tab.value(
            "(({ left, top }) => [left, top])(document.querySelector('canvas').getBoundingClientRect())"
        )
        at = {"x": box[0] + 20, "y": box[1] + 2.5 * 21}
        await tab.send("Input.dispatchMouseEvent", type="mouseMoved", **at)
        assert await tab.value(_text("#details .name")) == "search"
        for kind in ("mousePressed", "mouseReleased"):
            await tab.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)
        assert await tab.value(_text("#crumbs [aria-current]")) == "search"
        await tab.value("[...document.querySelectorAll('#crumbs button')].at(-1).click()")
        assert await tab.value(_text("#crumbs [aria-current]")) == ROUTE.function

    chromium.do(work)


def test_searching_tells_the_share_and_filters_the_table(chromium: Chromium, place: Place) -> None:
    """What is found is counted once, however deep it stands; a wrong expression finds nothing and breaks nothing."""
    url = place(flame_page(of_ledger()))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        await _choose(tab, "#search", "DIGEST", "input")
        assert (await tab.value(_text("#found"))).strip() == "38.1 % · 2.00 ms a request"
        assert await tab.value("document.querySelectorAll('#rows tr').length") == 1
        await _choose(tab, "#search", "/^(search|digest)$/", "input")
        assert (await tab.value(_text("#found"))).strip().startswith("66.7 %")
        for nothing in ("no such function", "/(/"):
            await _choose(tab, "#search", nothing, "input")
            assert (await tab.value(_text("#found"))).strip() == "nothing found"
            assert await tab.value(_text("#more")) == "No function is like this."
        await tab.value("document.querySelector('#search').focus()")
        await _press(tab, "Escape")
        assert await tab.value("document.querySelector('#search').value") == ""
        assert await tab.value("document.querySelectorAll('#rows tr').length") > 2
        assert tab.problems == []

    chromium.do(work)


def test_an_endpoint_is_looked_at_alone(chromium: Chromium, place: Place) -> None:
    """The selector zooms to an endpoint; shares, seconds a request and the table are then its own."""
    url = place(flame_page(of_ledger()))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        options = await tab.value("[...document.querySelectorAll('#scope option')].map((one) => one.textContent)")
        assert options == ["all endpoints", SEARCHED, "POST /orders"]
        await _choose(tab, "#scope", "1")
        assert await tab.value(_text("#crumbs [aria-current]")) == SEARCHED
        assert await tab.value(_text("#h-functions")) == f"Functions of {SEARCHED}"
        row = await tab.value("document.querySelector('#rows tr').innerText")
        assert DIGEST.function in row
        assert "57.1 %" in row
        assert "4.00 ms" in row
        await tab.value("document.querySelector('#reset').click()")
        assert await tab.value("document.querySelector('#scope').value") == "0"
        assert await tab.value(_text("#h-functions")) == "Functions"

    chromium.do(work)


def test_the_table_tells_own_time_and_time_with_callees(chromium: Chromium, place: Place) -> None:
    """The table is sorted by either, and its heads sort it, by keyboard too."""
    url = place(flame_page(of_ledger()))
    first = "document.querySelector('#rows tr button').textContent"

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        assert await tab.value(first) == "httpx.AsyncClient.get"
        await tab.value("document.querySelector('#total').click()")
        assert await tab.value(first) == ROUTE.function
        await tab.value("document.querySelector('#heads button').click()")
        names = "[...document.querySelectorAll('#rows tr button')].map((one) => one.textContent)"
        found = await tab.value(names)
        assert found == sorted(found, key=str.lower)
        assert await tab.value("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"

    chromium.do(work)


def test_a_difference_tells_both_values(chromium: Chromium, place: Place) -> None:
    """Details, table and legend have before, after and the change, in colours of the same scale both ways."""
    url = place(PAGES["diff"]())

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        row = (await tab.value("document.querySelector('#rows tr').innerText")).split()
        assert row[0] == "digest"
        assert " ".join(row).endswith("2.00 ms 4.50 ms +2.50 ms +125 %")
        legend = await tab.value(_text("#legend"))
        assert "\N{MINUS SIGN}2.50 ms" in legend
        assert "+2.50 ms" in legend
        await tab.value("document.querySelector('canvas').focus()")
        await _press(tab, "ArrowDown")
        details = " ".join((await tab.value(_text("#details"))).split())
        assert "3.50 ms before 6.00 ms after, a request +2.50 ms +71.4 %" in details
        for way in ("before", "after", "both"):
            await _choose(tab, "#width", way)
        assert tab.problems == []

    chromium.do(work)


def test_a_difference_of_one_endpoint_is_per_request_of_it(chromium: Chromium, place: Place) -> None:
    """With an endpoint chosen, what its own requests take is told, not their part of all requests."""
    url = place(PAGES["diff"]())

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        await _choose(tab, "#scope", "1")
        assert await tab.value(_text("#crumbs [aria-current]")) == SEARCHED
        assert "+5.00 ms" in await tab.value("document.querySelector('#rows tr').innerText")
        assert "+5.00 ms" in await tab.value(_text("#details"))

    chromium.do(work)


def test_libraries_are_folded_where_stacks_are_deep(chromium: Chromium, place: Place) -> None:
    """Forty frames of a framework are one row, so that the user's code is in sight; unfolded each has its own."""
    framework = tuple(
        Frame(f"starlette.layer_{number}", f"{LIBRARIES}starlette/m.py", number) for number in range(1, 41)
    )
    stacks = (Stack((*framework, SEARCH, DIGEST), 0.6, 60), Stack((*framework, GET), 0.4, 40))
    url = place(flame_page(msgspec.structs.replace(of_py_spy(), stacks=stacks)))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        assert await tab.value("document.querySelector('#fold').getAttribute('aria-pressed')") == "true"
        await tab.value("document.querySelector('canvas').focus()")
        await _press(tab, "ArrowDown")
        assert "40 more frames of libraries, folded" in await tab.value(_text("#details"))
        assert "400 ms own" in await tab.value(_text("#details"))
        await _press(tab, "ArrowDown")
        assert await tab.value(_text("#details .name")) == "search"
        await _press(tab, "Enter")
        crumbs = (await tab.value(_text("#crumbs"))).split()
        assert crumbs[::2] == ["everything", "starlette.layer_1", "search"]
        await _choose(tab, "#search", "layer_7", "input")
        assert "not in what is zoomed to" in await tab.value(_text("#found"))
        await tab.value("document.querySelector('#reset').click()")
        assert "100 %" in await tab.value(_text("#found"))
        await tab.value("document.querySelector('#fold').click(); document.querySelector('canvas').focus()")
        await _press(tab, "Escape", "ArrowDown", "ArrowDown")
        assert await tab.value(_text("#details .name")) == "starlette.layer_2"
        assert tab.problems == []

    chromium.do(work)


def test_flames_can_point_up(chromium: Chromium, place: Place) -> None:
    """Turned, the outermost frame stands at the bottom and the arrows follow."""
    url = place(flame_page(of_py_spy()))

    async def work(tab: Tab) -> None:
        await _open(tab, url)
        await tab.value("document.querySelector('#turn').click(); document.querySelector('canvas').focus()")
        await _press(tab, "ArrowUp")
        assert await tab.value(_text("#details .name")) == ROUTE.function
        await _press(tab, "ArrowDown")
        assert await tab.value(_text("#details .name")) == "everything"

    chromium.do(work)


def test_the_theme_can_be_chosen(chromium: Chromium, place: Place) -> None:
    """The page follows the system, and the button overrules it."""
    url = place(flame_page(of_py_spy()))
    background = "getComputedStyle(document.body).backgroundColor"

    async def work(tab: Tab) -> None:
        await _open(tab, url, scheme="light")
        light = await tab.value(background)
        await tab.value("document.querySelector('#theme').click()")
        assert await tab.value(_text("#theme")) == "Theme: dark"
        assert await tab.value(background) != light

    chromium.do(work)
