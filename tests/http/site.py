"""A small site behind a response cache, its visitors, and its time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from hasten.cache import Cache
from hasten.http import ResponseCache, Rule
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

NOON = 1_700_000_000.0
"""When tests begin, by the clock of the cache: Tue, 14 Nov 2023 22:13:20 GMT."""

Fields = Sequence[tuple[str, str]] | Mapping[str, str]
Talk = Callable[[Any, Any, Any], Awaitable[None]]


def pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    items: Iterable[tuple[str, str]] = fields.items() if isinstance(fields, Mapping) else fields
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in items]


@dataclass(frozen=True)
class Reply:
    """What the app answers; `chunks` are sent one by one, `error` is raised in the place of the rest."""

    fields: Fields = ()
    body: bytes = b"body"
    status: int = 200
    chunks: tuple[bytes, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True)
class Ask:
    """What a client asks."""

    fields: Fields = ()
    path: str = "/page"
    query: str = ""
    method: str = "GET"
    host: str = "site.example"
    scheme: str = "http"

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.scheme,
            "path": unquote(self.path),
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(b"host", self.host.encode()), *pairs(self.fields)],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
            "extensions": {"http.response.pathsend": {}},
            "state": {},
        }


@dataclass
class Answer:
    """What a client has got.

    Attributes:
      status: 0 as long as nothing has come.
      done: The response is whole.
    """

    status: int = 0
    pairs: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    done: bool = False

    def take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert self.status == 0
            self.status = message["status"]
            self.pairs = [(name.decode(), value.decode("latin-1")) for name, value in message["headers"]]
        elif message["type"] == "http.response.body":
            assert self.status
            assert not self.done
            self.body += message.get("body", b"")
            self.done = not message.get("more_body", False)

    @property
    def fields(self) -> dict[str, str]:
        """The fields; those that the cache adds are there once at most."""
        names = [name for name, _ in self.pairs]
        assert all(names.count(name) <= 1 for name in ("age", "content-length", "etag", "x-cache"))
        return dict(self.pairs)

    @property
    def state(self) -> str:
        """What X-Cache says."""
        return self.fields["x-cache"]


class App:
    """An app that answers with `replies`, one after the other, the last one again and again.

    Attributes:
      asked: The scopes of its runs.
      gate: Runs wait for it before they answer.
      talk: Answers in the place of the replies.
    """

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies or [Reply()])
        self.asked: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.talk: Talk | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        await self.gate.wait()
        if self.talk is not None:
            await self.talk(scope, receive, send)
            return
        if reply.error is not None and not reply.chunks:
            raise reply.error
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs(reply.fields)})
        for chunk in reply.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if reply.error is not None:
            raise reply.error
        await send({"type": "http.response.body", "body": b"" if reply.chunks else reply.body})


class Site:
    """An app behind a response cache, with a clock that stands still.

    Attributes:
      now: The time of day.
    """

    def __init__(self, app: App, *rules: Rule, cache: Cache | None = None, **options: Any) -> None:
        self.app = app
        self.cache = cache or Cache()
        self.now = NOON
        self.layer = ResponseCache(
            app, cache=self.cache, rules=rules or [Rule("/{path:path}")], clock=lambda: self.now, **options
        )
        self.region = self.layer._region

    @property
    def calls(self) -> int:
        """How often the app ran."""
        return len(self.app.asked)

    def wait(self, seconds: float) -> None:
        """Let time pass, for the cache's entries, too."""
        self.now += seconds
        for entry in self.region.entries.values():
            entry.calm_until -= seconds
            entry.renew_at -= seconds
            entry.fresh_until -= seconds
            entry.stale_until -= seconds
            entry.error_until -= seconds
            entry.loaded_at -= seconds

    async def get(self, ask: Ask | dict[str, Any] | None = None, **fields: str) -> Answer:
        """Ask, with a scope or what makes one; what happens in the background has happened when the answer is there."""
        answer = Answer()
        await self.visit(ask or Ask(fields), answer)
        await passes()
        return answer

    async def visit(self, ask: Ask | dict[str, Any], answer: Answer) -> None:
        """Ask, while others do."""

        async def send(message: Any) -> None:
            answer.take(message)

        await self.layer(ask.scope() if isinstance(ask, Ask) else ask, stays, send)


def with_site(loop_factory: LoopFactory, make: Callable[[], Site], scenario: Callable[[Site], Awaitable[None]]) -> None:
    """Make a site in a new loop, and run a scenario there to its end."""

    async def main() -> None:
        site = make()
        await scenario(site)
        await site.cache.aclose()

    run(loop_factory, main())


async def start(site: Site, *asked: Ask) -> list["asyncio.Task[Answer]"]:
    """Begin to ask, and return when each has come as far as it can."""
    tasks = [asyncio.get_running_loop().create_task(site.get(ask)) for ask in asked]
    await passes(30)
    return tasks


async def stays() -> Any:
    """Be the `receive` of a client that stays."""
    await asyncio.get_running_loop().create_future()
