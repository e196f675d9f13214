"""Asks another admin port: one GET, one connection, one deadline."""

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
      problem: Why there is no response; empty with one.
    """

    url: str
    status: int = 0
    body: bytes = b""
    problem: str = ""


class _Response:
    """Collects a response: httptools' callbacks."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

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
    return await asyncio.gather(*(_ask(url, path, token, within) for url in urls))


async def _ask(url: str, path: str, token: str, within: float) -> Reply:
    try:
        async with asyncio.timeout(within):
            status, body = await _get(url, path, token)
    except TimeoutError:
        return Reply(url=url, problem=f"no answer within {within:g} s")
    except (OSError, EOFError, ValueError, httptools.HttpParserError) as error:
        return Reply(url=url, problem=str(error) or type(error).__name__)
    return Reply(url=url, status=status, body=body)


async def _get(url: str, path: str, token: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(_request(parts.netloc, path, token))
        return await _response(reader)
    finally:
        writer.transport.abort()  # nothing is left to be said, and a peer that is stuck would not hear it


def _request(host: str, path: str, token: str) -> bytes:
    authorization = f"authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{authorization}\r\n".encode()


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    response = _Response()
    parser = httptools.HttpResponseParser(response)
    while not response.complete:
        data = await reader.read(_CHUNK_BYTES)
        if not data:
            raise EOFError("it has closed the connection")
        parser.feed_data(data)
        if len(response.body) > _MOST_BYTES:
            raise ValueError(f"it says more than {_MOST_BYTES} bytes")
    return parser.get_status_code(), bytes(response.body)
