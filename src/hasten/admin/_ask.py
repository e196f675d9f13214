"""Asks another admin port: one request, one connection, one deadline."""

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

import httptools
import msgspec

_MOST_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What an admin port has said, or why there is nothing.

    Attributes:
      url: Of the port.
      status: Of the response; 0 without one.
      headers: Its fields, names in lower case.
      problem: Why there is no response; empty with one.
    """

    url: str
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    problem: str = ""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a port is asked.

    Attributes:
      target: Path, with its query.
      headers: Fields beside those that every request has.
    """

    target: str
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class _Response:
    """Collects a response: httptools' callbacks."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def ask_all(urls: Iterable[str], path: str, token: str, within: float) -> list[Reply]:
    """Ask admin ports at the same time; whoever does not answer holds nobody else.

    Args:
      urls: `http://127.0.0.1:9465`.
      within: Seconds in which each has to answer.
    Returns:
      What each has said, in the order of `urls`.
    Cancellation: ends all of them.
    """
    bearer = ((b"authorization", f"Bearer {token}".encode()),) if token else ()
    question = Question(target=path, headers=bearer)
    return await asyncio.gather(*(ask(url, question, within) for url in urls))


async def ask(url: str, question: Question, within: float) -> Reply:
    """Ask one admin port; it has so many seconds. Cancellation: closes the connection."""
    try:
        async with asyncio.timeout(within):
            return await _asked(url, question)
    except TimeoutError:
        return Reply(url=url, problem=f"no answer within {within:g} s")
    except (OSError, EOFError, ValueError, httptools.HttpParserError) as error:
        return Reply(url=url, problem=str(error) or type(error).__name__)


async def _asked(url: str, question: Question) -> Reply:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(_request(parts.netloc, question))
        return await _reply(url, reader)
    finally:
        writer.transport.abort()  # nothing is left to be said, and a peer that is stuck would not hear it


def _request(host: str, question: Question) -> bytes:
    fields = [(b"host", host.encode()), (b"connection", b"close"), *question.headers]
    if question.body or question.method == "POST":
        fields.append((b"content-length", str(len(question.body)).encode()))
    lines = [f"{question.method} {question.target} HTTP/1.1".encode(), *(b"%b: %b" % field for field in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + question.body


async def _reply(url: str, reader: asyncio.StreamReader) -> Reply:
    response = _Response()
    parser = httptools.HttpResponseParser(response)
    while not response.complete:
        data = await reader.read(_CHUNK_BYTES)
        if not data:
            raise EOFError("it has closed the connection")
        parser.feed_data(data)
        if len(response.body) > _MOST_BYTES:
            raise ValueError(f"it says more than {_MOST_BYTES} bytes")
    return Reply(url=url, status=parser.get_status_code(), headers=tuple(response.headers), body=bytes(response.body))
