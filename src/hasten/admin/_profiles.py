"""What the admin port answers about captures.

POST /profile   begins one: 202 and where it will be      GET /profiles      what there is
POST /alerts    Alertmanager's webhook                    GET /profiles/ID   one, ?format=html for a page to look at

A page of a browser must not begin a capture, whichever site it is of. A cookie is therefore no leave to; and without a
token, which a page does not know, whatever says that it comes from a page is refused.
"""

import asyncio
import math
from typing import TYPE_CHECKING, Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.admin._address import AdminAddress
from hasten.admin._answer import JSON, PLAIN, Answer, json_answer, plain_answer
from hasten.admin._asked import Asked, Receive, read_body
from hasten.admin._captures import Captures, Refused
from hasten.admin._profiles_page import POLICY as LIST_POLICY
from hasten.admin._profiles_page import profiles_page
from hasten.profiling import parse_options
from hasten.profiling._store import Entry
from hasten.profiling._triggers import LARGEST_WEBHOOK, parse_webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LISTED = "/profiles"
_ONE = "/profiles/"
_MOST_WEBHOOKS = 8
_PATIENCE = 5.0
_LONGEST_LINE = 300
_KINDS = {"json": JSON, "html": "text/html; charset=utf-8", "speedscope": JSON, "folded": PLAIN}
_ENDINGS = {"json": "json", "html": "html", "speedscope": "speedscope.json", "folded": "folded"}
_POLICY = (
    b"sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    b"style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FROM_PAGES = (b"origin", b"sec-fetch-site")


class ProfileAnswers:
    """Answers about the captures of a process.

    Args:
      address: Says who may ask.
    """

    def __init__(self, captures: Captures, address: AdminAddress) -> None:
        self._captures = captures
        self._address = address
        self._reading = 0
        self._posts: dict[str, Callable[[Asked, Receive], Awaitable[Answer]]] = {
            "/profile": self._begin,
            "/alerts": self._take_alerts,
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """For whoever asks for something else."""
        return (*self._posts, LISTED)

    async def post(self, asked: Asked, receive: Receive) -> Answer | None:
        """Answer what changes something; None where it is about something else."""
        make = self._posts.get(asked.path)
        if make is None:
            return None
        return self._refusal(asked) or await make(asked, receive)

    async def get(self, asked: Asked) -> Answer | None:
        """Answer somebody who may ask; None where it is about something else."""
        if asked.path == LISTED:
            return await self._list(asked)
        if asked.path.startswith(_ONE):
            return await self._one(asked.path.removeprefix(_ONE), asked)
        return None

    def _refusal(self, asked: Asked) -> Answer | None:
        if asked.method != "POST":
            return _with(plain_answer(405, "only POST"), b"allow", b"POST")
        if not self._address.admits(asked.headers.get(b"authorization", b"")):
            return plain_answer(401, "send Authorization: Bearer TOKEN, with the token that admin_token= was given")
        if not self._address.token and any(name in asked.headers for name in _FROM_PAGES):
            return plain_answer(403, "pages of browsers may not; ask by a command")
        return None

    # ---- what changes something

    async def _begin(self, asked: Asked, _: Receive) -> Answer:
        try:
            entry = self._captures.start(parse_options(asked.query))
        except ConfigurationError as error:
            return plain_answer(400, _line(error))
        except Refused as refused:
            return _refused(refused)
        return self._accepted(entry)

    def _accepted(self, entry: Entry) -> Answer:
        at = f"{_ONE}{entry.id}"
        said = {"id": entry.id, "at": at, "ready_in": round(self._captures.ready_in(), 3)}
        return _with(json_answer(said, 202), b"location", at.encode())

    async def _take_alerts(self, _: Asked, receive: Receive) -> Answer:
        """Take a webhook; few at once, so that a storm of them needs no memory. Alertmanager asks again after a 503."""
        if self._reading >= _MOST_WEBHOOKS:
            return _with(plain_answer(503, "too many at once"), b"retry-after", b"1")
        self._reading += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                body = await read_body(receive, LARGEST_WEBHOOK)
        except TimeoutError:
            return plain_answer(408, "it comes too slowly")
        finally:
            self._reading -= 1
        if body is None:
            return plain_answer(413, f"more than {LARGEST_WEBHOOK} bytes")
        try:
            taken = self._captures.take_webhook(parse_webhook(body))
        except ConfigurationError as error:
            return plain_answer(400, _line(error))
        return json_answer(taken, 200 if taken.ignored else 202)

    # ---- what there is

    async def _list(self, asked: Asked) -> Answer:
        """Return what there is: JSON, or a page to a browser."""
        entries = await self._captures.entries()
        if b"text/html" not in asked.headers.get(b"accept", b""):
            return json_answer(entries)
        page = Answer(profiles_page(self._captures.service, entries), _KINDS["html"])
        return _with(_with(page, b"content-security-policy", LIST_POLICY), b"x-content-type-options", b"nosniff")

    async def _one(self, id: str, asked: Asked) -> Answer:  # noqa: A002 - what everybody calls it
        wanted = asked.query.get("format", ["json"])
        if len(wanted) != 1 or wanted[0] not in _KINDS:
            return plain_answer(400, f"format: there is {', '.join(_KINDS)}")
        entry = self._captures.unfinished(id)
        if entry is not None and entry.state == "failed":
            return json_answer({"id": id, "state": "failed", "error": entry.reason}, 500)
        if entry is not None:
            left = self._captures.ready_in()
            said = {"id": id, "state": "running", "ready_in": round(left, 3)}
            return _with(json_answer(said, 202), b"retry-after", str(math.ceil(left) or 1).encode())
        data = await self._captures.read(id)
        return (
            plain_answer(404, f"no such profile; {LISTED} has all")
            if data is None
            else await _shown(id, data, wanted[0])
        )


async def _shown(id: str, data: bytes, form: str) -> Answer:  # noqa: A002
    """Return a profile in one of the formats."""
    if form != "json":
        try:
            data = await asyncio.to_thread(_converted, id, data, form)
        except ConfigurationError as error:  # the file is damaged, or the profile has no stacks
            return plain_answer(409, _line(error))
    name = f'inline; filename="{id}.{_ENDINGS[form]}"'
    answer = _with(Answer(data, _KINDS[form]), b"content-disposition", name.encode())
    answer = _with(answer, b"x-content-type-options", b"nosniff")
    return _with(answer, b"content-security-policy", _POLICY)


def _converted(id: str, data: bytes, form: str) -> bytes:  # noqa: A002
    from hasten.profiling._files import decode, encode  # all formats, for who has a profile

    return encode(decode(data, id), form)


def _refused(refused: Refused) -> Answer:
    said: dict[str, Any] = {"error": str(refused), "retry_after": round(refused.retry_after, 3)}
    if refused.running:
        said["at"] = f"{_ONE}{refused.running}"
    answer = json_answer(said, 409 if refused.running else 429)
    return _with(answer, b"retry-after", str(math.ceil(refused.retry_after)).encode())


def _line(error: Exception) -> str:
    """Return what is wrong in one line that is not too long: it may name what was sent."""
    return " ".join(str(error).split())[:_LONGEST_LINE]


def _with(answer: Answer, name: bytes, value: bytes) -> Answer:
    return msgspec.structs.replace(answer, headers=(*answer.headers, (name, value)))
