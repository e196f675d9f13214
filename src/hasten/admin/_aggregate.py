"""One admin port for all workers of a service: their metrics together, ready while one of them is.

    whoever starts the workers ── Aggregate ── /metrics, /readyz, /livez, /snapshot; _forward: /profile, /alerts, ...
                                     │ asks each worker's admin port, at each request, all at the same time
                          worker 0, worker 1, ...

Nothing is kept on disk, and nothing of a worker that is gone but what it had counted. Its own metrics of
prometheus_client are not among these: they are at each worker's port.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.admin._address import AdminAddress
from hasten.admin._answer import MSGPACK, Answer, Send, json_answer, plain_answer, respond
from hasten.admin._ask import Reply, ask_all
from hasten.admin._asked import Asked, Receive, asked_by
from hasten.admin._forward import PATHS, Forwarder, is_forwarded
from hasten.admin._paced import joined
from hasten.admin._port import ServedPort
from hasten.monitor import OPEN_METRICS, Check, Exposition, Snapshot
from hasten.monitor._exposition import negotiate
from hasten.monitor._merge import Merger

ANSWER_WITHIN = 0.5
"""Seconds in which a worker has to answer: what asks for /readyz waits for one, mostly."""
_OK = 200
_UNAVAILABLE = 503
_OPEN = frozenset({"/livez", "/readyz"})
_logger = logging.getLogger("hasten.admin")
Addresses = Callable[[], Iterable[str]]


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has said of itself.

    Attributes:
      url: Of its admin port.
      ok: Whether it is ready, or lives: what was asked for.
      reason: Why it is not known; empty where it has answered.
      checks: What must hold for it to be ready.
    """

    url: str
    ok: bool
    reason: str = ""
    checks: tuple[Check, ...] = ()


class _Readiness(msgspec.Struct, frozen=True):
    ready: bool
    checks: tuple[Check, ...] = ()


class Aggregate:
    """Serves the metrics and the state of all workers, in a thread of its own.

    Args:
      addresses: Returns the URLs of the workers' admin ports as they are now, `http://127.0.0.1:9465`; called in that
        thread at each request, at once. Workers have different numbers, as they do by ports next to each other.
      address: Where to serve: this port and no other. Its token is what the workers are asked with, too.
      service: Only snapshots of this service are added up; None for any.
    """

    def __init__(self, addresses: Addresses, address: AdminAddress, *, service: str | None = None) -> None:
        self._addresses = addresses
        self._address = address
        self._service = service
        self._port = ServedPort()

    @property
    def url(self) -> str:
        """Where it answers; empty while it does not."""
        return self._port.url

    def start(self) -> None:
        """Bind the port and answer; nothing if it is open.

        Raises:
          ConfigurationError: it cannot be bound.
        """
        if self._port.url:
            return
        listener, number = self._address.bind()
        if number:
            listener.close()
            where = f"admin {self._address.host}:{self._address.port}"
            raise ConfigurationError(where, "it is taken", "give the workers other ports than the one for all of them")
        self._port.serve(AggregateApp(self._addresses, self._address, service=self._service), listener)
        _logger.info("admin port of all workers at %s", self.url)

    async def aclose(self) -> None:
        """Answer no more. Cancellation: the thread ends by itself."""
        await self._port.aclose()

    def stop(self) -> None:
        """Answer no more, from a thread that may wait for it."""
        self._port.close()


class AggregateApp:
    """Answers for all workers: an ASGI app.

    Args:
      addresses, address, service: As `Aggregate`'s.
      clock: Unix time.
    """

    def __init__(
        self,
        addresses: Addresses,
        address: AdminAddress,
        *,
        service: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._addresses = addresses
        self._address = address
        self._service = service
        self._merger = Merger(clock())
        self._exposition = Exposition()
        self._forwarder = Forwarder(self._numbered)
        self._answers: dict[str, Callable[[dict[bytes, bytes]], Awaitable[Answer]]] = {
            "/livez": self._livez,
            "/metrics": self._metrics,
            "/readyz": self._readyz,
            "/snapshot": self._snapshot,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = asked_by(scope)
        await respond(send, await self._answer(asked, receive), head_only=asked.method == "HEAD")

    async def _answer(self, asked: Asked, receive: Receive) -> Answer:
        path, headers = asked.path, asked.headers
        if path not in _OPEN and not self._admits(headers):
            return plain_answer(401, "send Authorization: Bearer TOKEN, with the token of the admin ports")
        if is_forwarded(path):
            return await self._forwarder.forward(asked, receive)
        make = self._answers.get(path)
        if make is None:
            return plain_answer(404, f"nothing here; there is {', '.join(sorted((*self._answers, *PATHS)))}")
        if asked.method not in {"GET", "HEAD"}:
            return plain_answer(405, "only GET and HEAD")
        return await make(headers)

    def _admits(self, headers: dict[bytes, bytes]) -> bool:
        return self._address.admits(headers.get(b"authorization", b""))

    async def _ask(self, path: str) -> list[Reply]:
        return await ask_all(tuple(dict.fromkeys(self._addresses())), path, self._address.token, ANSWER_WITHIN)

    # ---- metrics

    async def _snapshots(self) -> list[tuple[str, Snapshot]]:
        """Return what each worker of this service knows, with its URL."""
        found = ((reply.url, _snapshot_of(reply)) for reply in await self._ask("/snapshot"))
        return [(url, one) for url, one in found if one is not None and self._is_ours(one)]

    async def _merged(self) -> Snapshot:
        return self._merger.merge([snapshot for _, snapshot in await self._snapshots()])

    async def _numbered(self) -> dict[str, str]:
        return {snapshot.worker: url for url, snapshot in await self._snapshots()}

    def _is_ours(self, snapshot: Snapshot) -> bool:
        return self._service is None or snapshot.service == self._service

    async def _metrics(self, headers: dict[bytes, bytes]) -> Answer:
        content_type = negotiate(headers.get(b"accept", b"").decode("latin-1"))
        open_metrics = content_type == OPEN_METRICS
        text = await joined(self._exposition.chunks(await self._merged(), open_metrics=open_metrics))
        return Answer(f"{text}# EOF\n".encode() if open_metrics else text.encode(), content_type)

    async def _snapshot(self, _: dict[bytes, bytes]) -> Answer:
        return Answer(msgspec.msgpack.encode(await self._merged()), MSGPACK)

    # ---- health

    async def _readyz(self, headers: dict[bytes, bytes]) -> Answer:
        workers = [_readiness_of(reply) for reply in await self._ask("/readyz")]
        ready = any(worker.ok for worker in workers)
        said: dict[str, Any] = {"ready": ready}
        if self._admits(headers):
            said["workers"] = workers
        return json_answer(said, _OK if ready else _UNAVAILABLE)

    async def _livez(self, headers: dict[bytes, bytes]) -> Answer:
        """Tell whether a worker lives; none that is to be there is no reason to restart anything."""
        workers = [_liveness_of(reply) for reply in await self._ask("/livez")]
        alive = not workers or any(worker.ok for worker in workers)
        said: dict[str, Any] = {"status": "ok" if alive else "dead"}
        if self._admits(headers):
            said["workers"] = workers
        return json_answer(said, _OK if alive else _UNAVAILABLE)


def _snapshot_of(reply: Reply) -> Snapshot | None:
    """Return what a worker knows; None where it is not to be had, or is no snapshot."""
    if reply.problem:
        return None
    if reply.status != _OK:
        _logger.warning("%s: it does not tell its metrics: status %d", reply.url, reply.status)
        return None
    try:
        return msgspec.msgpack.decode(reply.body, type=Snapshot)
    except msgspec.DecodeError as error:
        _logger.warning("%s: its metrics cannot be read: %s", reply.url, error)
        return None


def _readiness_of(reply: Reply) -> Worker:
    if reply.problem:
        return Worker(url=reply.url, ok=False, reason=reply.problem)
    try:
        said = msgspec.json.decode(reply.body, type=_Readiness)
    except msgspec.DecodeError as error:
        return Worker(url=reply.url, ok=False, reason=f"status {reply.status}: {error}")
    return Worker(url=reply.url, ok=said.ready and reply.status == _OK, checks=said.checks)


def _liveness_of(reply: Reply) -> Worker:
    reason = reply.problem or (f"status {reply.status}" if reply.status != _OK else "")
    return Worker(url=reply.url, ok=not reason, reason=reason)
