"""Starts an edition of the shop as processes on 127.0.0.1, watches them, and ends by pid what it started."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: where `examples` can be imported from."""

HOST = "127.0.0.1"
ADMIN_PORT = 9464
"""The first storefront's admin port; each further service wants the next, and takes one behind it if that is taken."""

START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
"""Seconds a process has for ending by itself, above the 10 it gives requests in flight; then it is killed."""

LAST_LINES = 15


class ShopFailed(Exception):
    """Raised when the shop cannot start or a process of it ended early; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process of an edition.

    Attributes:
      name: Says who it is: `SHOP_<NAME>_URL` tells the others its address.
      app: `module:attribute` of the ASGI app, or of the function that adds a gRPC service to its server.
      recorded: Served by `hasten run`, so that `HASTEN_RECORD` makes it record; else by plain uvicorn.
      protocol: What it speaks; one that consumes events speaks to nobody, and `app` is its bus, or the function that
        makes it where it is not `recorded`: its module is run then.
    """

    name: str
    app: str
    recorded: bool = True
    protocol: Literal["http", "grpc", "events"] = "http"

    def command(self, port: int, host: str = HOST) -> list[str]:
        """The command that serves it on port."""
        where = [self.app, "--host", host, "--port", str(port)]
        module = self.app.partition(":")[0]
        if self.protocol == "grpc":
            return [sys.executable, "-m", module.rpartition(".")[0], *where]
        if self.protocol == "events" and not self.recorded:
            return [sys.executable, "-m", module]
        if self.protocol == "events":
            promises = ["--slo", "examples/shop/fast/slo.toml"]
            return [sys.executable, "-m", "hasten", "run", self.app, "--service", self.name, *promises]
        if self.recorded:
            return [sys.executable, "-m", "hasten", "run", *where, "--service", self.name]
        return [sys.executable, "-m", "uvicorn", *where, "--log-level", "warning", "--no-access-log"]

    def address(self, port: int) -> str:
        """What the others are told: a base URL, or a gRPC target."""
        return f"dns:///{HOST}:{port}" if self.protocol == "grpc" else f"http://{HOST}:{port}"

    def question(self, port: int) -> bytes:
        """The request that it answers with 200 when it is ready; empty when taking the connection says so."""
        if self.protocol == "grpc":
            return b""
        return f"GET /health HTTP/1.1\r\nhost: {HOST}:{port}\r\nconnection: close\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Edition:
    """One way of building the shop.

    Attributes:
      services: The storefronts, which are public, then the consumers, then the others.
      storefronts: How many there are.
      cached: It has a cache, which is told by `SHOP_REDIS_URL` where Redis is.
      consumers: What handles events where `SHOP_BROKER_URL` says that there is a broker; else the storefronts do.
    """

    name: str
    services: tuple[Service, ...]
    storefronts: int = 1
    cached: bool = False
    consumers: tuple[Service, ...] = ()

    def with_storefronts(self, count: int) -> "Edition":
        """Return the same edition with so many storefronts, each on a port of its own."""
        first, *others = self.services
        more = (replace(first, name=f"{first.name}{number}") for number in range(2, count + 1))
        return replace(self, services=(first, *more, *others), storefronts=count)

    def for_environment(self, environment: Mapping[str, str]) -> "Edition":
        """Return the edition with its consumers as services, if there is a broker, and else without them."""
        if not environment.get("SHOP_BROKER_URL"):
            return replace(self, consumers=())
        public, others = self.services[: self.storefronts], self.services[self.storefronts :]
        return replace(self, services=(*public, *self.consumers, *others))

    def greeting(self, ports: Sequence[int], environment: Mapping[str, str]) -> str:
        """Return the line that says that all of it answers, and where."""
        tiers = "memory and Redis" if environment.get("SHOP_REDIS_URL") else "memory alone"
        brokers = {"amqp": "RabbitMQ", "amqps": "RabbitMQ", "kafka": "Kafka"}
        broker = brokers.get(environment.get("SHOP_BROKER_URL", "").partition("://")[0], "the storefront")
        cache = f", cache in {tiers}, events in {broker}," if self.cached else ""
        public = zip(self.services[: self.storefronts], ports, strict=False)
        addresses = (service.address(port) for service, port in public)
        return f"shop: {self.name} edition{cache} listening on {' '.join(addresses)}"


STAND_INS = (
    Service("payments", "examples.shop.standins:payments", recorded=False),
    Service("mail", "examples.shop.standins:mail", recorded=False),
)
EDITIONS = {
    "slow": Edition(
        "slow",
        (
            Service("storefront", "examples.shop.slow.storefront:app"),
            Service("catalog", "examples.shop.slow.catalog:app"),
            Service("pricing", "examples.shop.slow.pricing:app"),
            Service("stock", "examples.shop.slow.stock:app"),
            Service("reviews", "examples.shop.slow.reviews:app"),
            *STAND_INS,
        ),
    ),
    "fast": Edition(
        "fast",
        (
            Service("storefront", "examples.shop.fast.storefront:app"),
            Service("catalog", "examples.shop.fast.catalog:add_service", protocol="grpc"),
            Service("pricing", "examples.shop.fast.pricing:add_service", protocol="grpc"),
            Service("stock", "examples.shop.fast.stock:add_service", protocol="grpc"),
            Service("reviews", "examples.shop.fast.reviews:add_service", protocol="grpc"),
            *STAND_INS,
        ),
        cached=True,
        consumers=(Service("consumers", "examples.shop.fast.consumers:bus", protocol="events"),),
    ),
    "peers": Edition(
        "peers",
        (
            Service("storefront", "examples.shop.peers.storefront:app", recorded=False),
            Service("catalog", "examples.shop.peers.catalog:add_service", recorded=False, protocol="grpc"),
            Service("pricing", "examples.shop.peers.pricing:add_service", recorded=False, protocol="grpc"),
            Service("stock", "examples.shop.peers.stock:add_service", recorded=False, protocol="grpc"),
            Service("reviews", "examples.shop.peers.reviews:add_service", recorded=False, protocol="grpc"),
            *STAND_INS,
        ),
        cached=True,
        consumers=(
            Service("consumers", "examples.shop.peers.consumers:application", recorded=False, protocol="events"),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class _Child:
    """A started process and the file that its stderr goes to."""

    service: Service
    port: int
    process: asyncio.subprocess.Process
    messages: Path

    def last_words(self) -> str:
        """The last lines of its stderr, indented."""
        lines = self.messages.read_text(errors="replace").splitlines()
        return "".join(f"\n    {line}" for line in lines[-LAST_LINES:] if line.strip())

    async def answers(self) -> bool:
        """Whether it is ready; a consumer says so in its messages."""
        if self.service.protocol == "events":
            return b" consumes " in self.messages.read_bytes()
        return await _answers(self.port, self.service.question(self.port))

    def died(self) -> ShopFailed:
        """The error that says how it ended."""
        code = self.process.returncode
        return ShopFailed(f"{self.service.name} ended early with exit code {code}{self.last_words()}")


async def run(edition: Edition, port: int, database: Path, host: str = HOST) -> None:
    """Run the edition with its first storefront on port until SIGINT or SIGTERM; port 0 picks a free one.

    Args:
      host: Address that the storefronts listen on.

    Raises:
      ShopFailed: the port is taken, a process ended early or did not answer within `START_TIMEOUT`.
    """
    edition = edition.for_environment(os.environ)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with reserved_ports(port, len(edition.services)) as reserved:
        ports = tuple(reserved)
    children: list[_Child] = []
    with tempfile.TemporaryDirectory(prefix="shop-") as messages:
        try:
            await _start(edition, ports, host, database, Path(messages), children)
            await _until(stop, children, edition.greeting(ports, os.environ))
        finally:
            await _end_all(children, edition)


@contextmanager
def reserved_ports(first: int, count: int) -> Iterator[list[int]]:
    """Find count free ports, all bound at once so that they differ; 0 lets the kernel choose the first too.

    Raises:
      ShopFailed: the given port is in use.
    """
    with ExitStack() as stack:
        ports = []
        for wanted in (first, *[0] * (count - 1)):
            bound = stack.enter_context(socket.socket())
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind((HOST, wanted))
            except OSError as error:
                raise ShopFailed(f"cannot listen on {HOST}:{wanted}: {os.strerror(error.errno or 0)}") from error
            ports.append(bound.getsockname()[1])
        yield ports


def _environment(edition: Edition, ports: Sequence[int], database: Path) -> Mapping[str, str]:
    addresses = {
        f"SHOP_{service.name.upper()}_URL": service.address(port)
        for service, port in zip(edition.services, ports, strict=True)
    }
    return {**os.environ, **addresses, "SHOP_DATABASE": str(database.resolve())}


async def _start(
    edition: Edition, ports: Sequence[int], host: str, database: Path, messages: Path, children: list[_Child]
) -> None:
    """Start every service, adding it to children at once, and return when stopped or all answer."""
    environment = _environment(edition, ports, database)
    for number, (service, port) in enumerate(zip(edition.services, ports, strict=True)):
        path = messages / f"{service.name}.stderr"
        with path.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *service.command(port, host if number < edition.storefronts else HOST),
                cwd=ROOT,
                env={**environment, "HASTEN_ADMIN": _admin(environment, number)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
            )
        children.append(_Child(service, port, process, path))


def _admin(environment: Mapping[str, str], number: int) -> str:
    """Return where the admin port of the service of this number is to be: behind the first one's."""
    host, _, port = environment.get("HASTEN_ADMIN", f"{HOST}:{ADMIN_PORT}").rpartition(":")
    return f"{host}:{int(port) + number}" if port.isdigit() else port


async def _until(stop: asyncio.Event, children: Sequence[_Child], greeting: str) -> None:
    """Say when all children answer, then wait for stop.

    Raises:
      ShopFailed: a child ended first, or one did not answer in time.
    """
    stopped = asyncio.ensure_future(stop.wait())
    ended = [asyncio.ensure_future(child.process.wait()) for child in children]
    answers = asyncio.ensure_future(_all_ready(children))
    try:
        await asyncio.wait([stopped, answers, *ended], return_when=asyncio.FIRST_COMPLETED)
        if answers.done() and not stop.is_set():
            answers.result()
            print(greeting, flush=True)
            await asyncio.wait([stopped, *ended], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            raise next(child for child in children if child.process.returncode is not None).died()
    finally:
        for task in (stopped, answers, *ended):
            task.cancel()
        await asyncio.gather(stopped, answers, *ended, return_exceptions=True)


async def _all_ready(children: Sequence[_Child]) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT):
            await asyncio.gather(*(_ready(child) for child in children))
    except TimeoutError:
        raise ShopFailed(f"not every service was ready within {START_TIMEOUT:.0f} s") from None


async def _ready(child: _Child) -> None:
    """Ask a service until it is ready."""
    while not await child.answers():  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.05)


async def _answers(port: int, question: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        writer.write(question)
        return not question or (await reader.readline()).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False
    finally:
        writer.close()


async def _end_all(children: Sequence[_Child], edition: Edition) -> None:
    """End the storefronts, whose last requests need the others, then the consumers, whose mails do, then those."""
    first, second = edition.storefronts, edition.storefronts + len(edition.consumers)
    for some in (children[:first], children[first:second], children[second:]):
        await asyncio.gather(*(_end(child) for child in some))


async def _end(child: _Child) -> None:
    """End one process: ask, wait `STOP_TIMEOUT`, kill."""
    if child.process.returncode is not None:
        return
    child.process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await child.process.wait()
    except TimeoutError:
        child.process.kill()
        await child.process.wait()
