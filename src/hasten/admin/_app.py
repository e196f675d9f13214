"""What the admin port answers: an ASGI app of its own, in the admin thread.

/           the live page                             /metrics    Prometheus' text, or OpenMetrics
/live       its samples, as server-sent events        /snapshot   the same metrics for another process of hasten
/history    the last five minutes of them             /ledger     where the time of requests goes
/livez      whether the loop of the app runs          /readyz     named checks
/profile    begins a capture (_profiles)              /profiles   the last ones
/alerts     Alertmanager's webhook: captures, too        /traces/ID  what was done in a trace that was asked for
"""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from hasten.admin._address import AdminAddress
from hasten.admin._answer import JSON, MSGPACK, Answer, Send, json_answer, plain_answer, respond
from hasten.admin._asked import Asked, Receive, asked_by, read_body
from hasten.admin._captures import Captures
from hasten.admin._paced import joined
from hasten.admin._profiles import LISTED, ProfileAnswers
from hasten.admin.live import Feed, Page, Session, stream
from hasten.admin.live._feed import MOST_VIEWERS
from hasten.admin.live._session import LONGEST_FORM
from hasten.monitor import OPEN_METRICS, Exposition, Monitor, Part, boot_of_this_machine
from hasten.monitor._exposition import negotiate

if TYPE_CHECKING:
    from collections.abc import Callable

DEAD_AFTER = 30.0
"""Seconds that the loop may stand still before /livez answers 503, for an orchestrator to restart the process."""
HTML = "text/html; charset=utf-8"
_OPEN = frozenset({"/livez", "/readyz"})
_TRACES = "/traces/"
_UNAUTHORIZED = 401


class AdminApp:
    """Answers for one process.

    Args:
      monitor: Of the process.
      address: Says who may ask.
      feed: Makes the samples of the live page.
      captures: Makes profiles; without it, when somebody asks.

    Attributes:
      captures: Of the process.
    """

    def __init__(
        self,
        monitor: Monitor,
        address: AdminAddress,
        feed: Feed | None = None,
        captures: Captures | None = None,
    ) -> None:
        self._monitor = monitor
        self._address = address
        self._session = Session(address)
        self._exposition = Exposition()
        self.captures = captures or Captures(monitor)
        self._feed = feed or Feed(monitor)
        self._feed.watchers.append(self.captures.take_snapshot)
        self._profiles = ProfileAnswers(self.captures, address)
        self._page: Page | None = None
        self._answers: dict[str, Callable[[Asked], Answer]] = {
            "/history": self._history,
            "/live": lambda _: Answer(b"", "text/event-stream"),  # what HEAD gets of it
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/snapshot": self._snapshot,
            "/ledger": self._ledger,
        }

    async def background(self) -> None:
        """Make the samples of the live page and watch for what is to be captured, until cancelled."""
        await asyncio.gather(self._feed.run(), self.captures.run())

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = asked_by(scope)
        if asked.path == "/live" and asked.method == "GET" and self._admits(asked):
            await self._stream(asked, receive, send)
        else:
            await respond(send, await self._answer(asked, receive), head_only=asked.method == "HEAD")

    async def _answer(self, asked: Asked, receive: Receive) -> Answer:
        if asked.path == "/login":
            return await self._log_in(asked, receive)
        if asked.path == "/":
            return await self._front(asked)
        if asked.path == "/metrics":
            return self._refusal(asked) or await self._metrics(asked)
        make = self._answers.get(asked.path)
        if make is None and asked.path.startswith(_TRACES):
            make = self._trace
        if make is not None:
            return self._refusal(asked) or make(asked)
        return await self._about_profiles(asked, receive) or self._nothing_here()

    async def _about_profiles(self, asked: Asked, receive: Receive) -> Answer | None:
        answer = await self._profiles.post(asked, receive)
        if answer is None and asked.path.startswith(LISTED):
            answer = self._refusal(asked) or await self._profiles.get(asked)
        return answer

    def _nothing_here(self) -> Answer:
        there = ", ".join(sorted((*self._answers, *self._profiles.paths)))
        return plain_answer(404, f"nothing here; there is /, /metrics, {there}")

    # ---- who may ask

    def _refusal(self, asked: Asked) -> Answer | None:
        if asked.method not in {"GET", "HEAD"}:
            return plain_answer(405, "only GET and HEAD")
        if asked.path not in _OPEN and not self._admits(asked):
            return plain_answer(
                _UNAUTHORIZED, "send Authorization: Bearer TOKEN, with the token that admin_token= was given"
            )
        return None

    def _admits(self, asked: Asked) -> bool:
        headers = asked.headers
        return self._address.admits(headers.get(b"authorization", b"")) or self._session.admits(
            headers.get(b"cookie", b""), asked.port
        )

    async def _log_in(self, asked: Asked, receive: Receive) -> Answer:
        if asked.method != "POST":
            return _redirect()
        form = await read_body(receive, LONGEST_FORM) or b""
        cookie = self._session.open(form, asked.port)
        if not cookie:
            page = await self._loaded()
            return _html(page.login("This is not the token."), page.policy, _UNAUTHORIZED)
        return _redirect((b"set-cookie", cookie.encode()))

    # ---- the live page

    async def _front(self, asked: Asked) -> Answer:
        """Return the page, or the one that asks for the token."""
        refusal = self._refusal(asked)
        if refusal is not None and refusal.status != _UNAUTHORIZED:
            return refusal
        page = await self._loaded()
        if refusal is not None:
            return _html(page.login(), page.policy, _UNAUTHORIZED)
        return _html(page.render(self._feed.story()), page.policy)

    async def _loaded(self) -> Page:
        if self._page is None:
            self._page = await asyncio.to_thread(Page)
        return self._page

    async def _stream(self, asked: Asked, receive: Receive, send: Send) -> None:
        if self._feed.viewers >= MOST_VIEWERS:
            await respond(send, plain_answer(503, f"{MOST_VIEWERS} look already"), head_only=False)
        else:
            await stream(self._feed, asked.after, receive, send)

    def _history(self, asked: Asked) -> Answer:
        return Answer(self._feed.story(asked.after), JSON)

    # ---- health and metrics

    def _livez(self, _: Asked) -> Answer:
        blocked = self._monitor.runtime.blocked_for()
        dead = blocked >= DEAD_AFTER
        status = "dead" if dead else "blocked" if blocked else "ok"
        said: dict[str, Any] = {"status": status, "loop_blocked_seconds": round(blocked, 3)}
        if blocked:
            said["at"] = self._monitor.blocked_at()
        return json_answer(said, 503 if dead else 200)

    def _readyz(self, asked: Asked) -> Answer:
        checks = self._monitor.checks()
        ready = all(check.ok for check in checks if check.required)
        said: dict[str, Any] = {"ready": ready}
        if self._admits(asked):
            said["checks"] = checks
        return json_answer(said, 200 if ready else 503)

    async def _metrics(self, asked: Asked) -> Answer:
        kind = negotiate(asked.headers.get(b"accept", b"").decode("latin-1"))
        text = await joined(self._exposition.chunks(self._monitor.snapshot(), open_metrics=kind == OPEN_METRICS))
        if self._monitor.registry is not None:
            text += self._monitor.registry.render(open_metrics=kind == OPEN_METRICS)
        return Answer(f"{text}# EOF\n".encode() if kind == OPEN_METRICS else text.encode(), kind)

    def _snapshot(self, _: Asked) -> Answer:
        return Answer(msgspec.msgpack.encode(self._monitor.snapshot()), MSGPACK)

    def _trace(self, asked: Asked) -> Answer:
        """Tell what the process did in a trace that was asked for; nothing is no error, as others may have done it."""
        monitor = self._monitor
        works = monitor.traces.of(asked.path.removeprefix(_TRACES))
        part = Part(service=monitor.service, worker=monitor.worker, boot=boot_of_this_machine(), works=works)
        return json_answer(part)

    def _ledger(self, _: Asked) -> Answer:
        ledger = self._monitor.ledger
        return json_answer(
            {"service": self._monitor.service, "endpoints": () if ledger is None else ledger.statistics()}
        )


def _html(body: bytes, policy: str, status: int = 200) -> Answer:
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Answer(body, HTML, status, headers)


def _redirect(*headers: tuple[bytes, bytes]) -> Answer:
    return Answer(b"", "text/plain; charset=utf-8", 303, ((b"location", b"/"), *headers))
