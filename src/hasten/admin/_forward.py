"""What the admin port of all workers leaves to theirs: profiles, alerts, accounts, traces.

?worker=1              that worker, by the number that its gauges have
/profiles/ID           whoever has it
/alerts                all of them: nobody knows yet which one is slow
the rest, without it   the only worker there is
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote, urlencode

from hasten.admin._answer import PLAIN, Answer, plain_answer
from hasten.admin._ask import Question, Reply, ask
from hasten.admin._asked import Asked, Receive, read_body

ANSWER_WITHIN = 10.0
"""Seconds: a long profile takes some to be made into a page."""
PATHS = ("/alerts", "/ledger", "/profile", "/profiles")
_ONE_PROFILE = "/profiles/"
_BELOW = (_ONE_PROFILE, "/traces/")
_WORKER = "worker"
_FIELDS = (b"accept", b"authorization", b"content-type", b"origin", b"sec-fetch-site")
"""Of a request: what a worker answers by, and what it refuses by, as the pages of browsers."""
_ITS_OWN = frozenset(
    {b"cache-control", b"connection", b"content-length", b"content-type", b"date", b"server", b"transfer-encoding"}
)
"""Fields of a response that each answer has of its own."""
_LONGEST_BODY = 1024 * 1024
"""Bytes: as long as a webhook may be, which the worker looks at."""
_NOT_FOUND = 404
Workers = Callable[[], Awaitable[dict[str, str]]]


def is_forwarded(path: str) -> bool:
    """Tell whether a path is left to workers."""
    return path in PATHS or path.startswith(_BELOW)


class Forwarder:
    """Asks workers in the place of a client.

    Args:
      workers: Returns the URLs of the workers that answer, by their numbers.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def forward(self, asked: Asked, receive: Receive) -> Answer:
        """Return what the worker says that is asked, or what is wrong with the question."""
        body = await read_body(receive, _LONGEST_BODY)
        if body is None:
            return plain_answer(413, f"more than {_LONGEST_BODY} bytes")
        workers = await self._workers()
        chosen = _chosen(asked, workers)
        if isinstance(chosen, Answer):
            return chosen
        question = _question(asked, body)
        return _answer(await asyncio.gather(*(ask(url, question, ANSWER_WITHIN) for url in chosen)))


def _chosen(asked: Asked, workers: dict[str, str]) -> list[str] | Answer:
    """Return the URLs of the workers to be asked."""
    there = ", ".join(sorted(workers, key=lambda number: (len(number), number))) or "none"
    named = asked.query.get(_WORKER, [])
    if named:
        if len(named) > 1 or named[0] not in workers:
            return plain_answer(_NOT_FOUND, f"no such worker; there is {there}")
        return [workers[named[0]]]
    if not workers:
        return plain_answer(503, "no worker answers")
    if len(workers) > 1 and asked.path != "/alerts" and not asked.path.startswith(_ONE_PROFILE):
        return plain_answer(400, f"say which worker, ?worker=NUMBER; there is {there}")
    return list(workers.values())


def _question(asked: Asked, body: bytes) -> Question:
    query = urlencode({name: values for name, values in asked.query.items() if name != _WORKER}, doseq=True)
    fields = tuple((name, asked.headers[name]) for name in _FIELDS if name in asked.headers)
    path = quote(asked.path)  # it is decoded, and may hold anything
    return Question(target=f"{path}?{query}" if query else path, method=asked.method, headers=fields, body=body)


def _answer(replies: Sequence[Reply]) -> Answer:
    """Return what the first says that has done what was asked, or knows; else what the first says at all."""
    said = [reply for reply in replies if not reply.problem]
    if not said:
        return plain_answer(502, f"{replies[0].url}: {replies[0].problem}")
    best = min(said, key=lambda reply: (reply.status >= 400, reply.status == _NOT_FOUND, reply.status != 202))
    content_type = dict(best.headers).get(b"content-type", PLAIN.encode()).decode("latin-1")
    kept = tuple(field for field in best.headers if field[0] not in _ITS_OWN)
    return Answer(best.body, content_type, best.status, kept)
