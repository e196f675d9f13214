"""A headless Chromium, driven over the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

import asyncio
import base64
import contextlib
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
)
_PATIENCE = 30.0


class Tab:
    """A page in the browser.

    Attributes:
      problems: What its console has said of errors and warnings, and exceptions that nobody has caught.
      asked: URLs that it has asked for.
    """

    def __init__(self, connection: "_Connection", session: str) -> None:
        self._connection = connection
        self._session = session
        self.problems: list[str] = []
        self.asked: list[str] = []
        connection.listeners.append(self._note)

    def _note(self, message: Any) -> None:
        if message.get("sessionId") != self._session:
            return
        said = message["params"]
        match message["method"]:
            case "Runtime.exceptionThrown":
                self.problems.append(str(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] in {"error", "warning"}:
                self.problems.append(str(said["args"]))
            case "Log.entryAdded" if said["entry"]["level"] in {"error", "warning"}:
                self.problems.append(str(said["entry"]))
            case "Network.requestWillBeSent":
                self.asked.append(said["request"]["url"])

    async def send(self, method: str, **parameters: Any) -> Any:
        """Give a command, and return its result."""
        return await self._connection.send(method, parameters, self._session)

    async def look(self, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Have another window, and prefer dark or light."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def go(self, url: str) -> None:
        """Open a page; what it shows comes later."""
        await self.send("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """Return what JavaScript makes of an expression, awaited."""
        told = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"])
        return told["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Return what an expression is when it is true."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                with contextlib.suppress(AssertionError):  # a page that is not there yet
                    found = await self.value(expression)
                    if found:
                        return found
                await self.value("new Promise((done) => setTimeout(done, 50))")

    async def screenshot(self, *, whole: bool = False) -> bytes:
        """Return what is seen as PNG, or the whole page."""
        told = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(told["data"])


class _Connection:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.listeners: list[Any] = []

    async def send(self, method: str, parameters: Any, session: str | None = None) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(_PATIENCE):
            told = await answer
        if "error" in told:
            raise AssertionError(f"{method}: {told['error']}")
        return told["result"]

    async def read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                waiting = self._waiting.pop(told["id"])
                if not waiting.done():  # nobody waits any more
                    waiting.set_result(told)
            else:
                for listener in self.listeners:
                    listener(told)


class Browser:
    """A running browser."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """Give an empty tab that shares no cookie and no storage with others."""
        context = (await self._connection.send("Target.createBrowserContext", {}))["browserContextId"]
        where = {"url": "about:blank", "browserContextId": context}
        target = await self._connection.send("Target.createTarget", where)
        attached = await self._connection.send(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        tab = Tab(self._connection, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.send(f"{domain}.enable")
        try:
            yield tab
        finally:
            await self._connection.send("Target.disposeBrowserContext", {"browserContextId": context})


@contextlib.asynccontextmanager
async def open_browser(chromium: str, folder: Path) -> AsyncIterator[Browser]:
    """Start a browser, and end it.

    Args:
      chromium: Path of the executable.
      folder: For its profile.
    """
    process = await asyncio.create_subprocess_exec(
        chromium,
        *_FLAGS,
        f"--user-data-dir={folder}",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        url = await _devtools(process)
        async with aiohttp.ClientSession() as client, client.ws_connect(url, max_msg_size=0) as socket:
            connection = _Connection(socket)
            reading = asyncio.create_task(connection.read())
            yield Browser(connection)
            await connection.send("Browser.close", {})
            await reading
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _devtools(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(_PATIENCE):
        while line := await process.stderr.readline():
            if found := re.search(rb"DevTools listening on (ws://\S+)", line):
                return found[1].decode()
    raise AssertionError("Chromium has ended")
