"""The other end of the stream, with the standard library alone: what an admin port tells, as structs.

Blocks, so it is for a thread or a command without an event loop.
"""

import http.client
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.monitor._sample import Sample, Story

SILENT_AFTER = 5.0
"""Seconds without a sample before a process counts as gone: it sends one each second."""
_PORT = 9464
_UNAUTHORIZED = 401
_NOT_FOUND = 404


class Place(msgspec.Struct, frozen=True):
    """An admin port.

    Attributes:
      prefix: Path in front of its own, where a proxy has one.
    """

    host: str
    port: int
    prefix: str = ""
    encrypted: bool = False
    token: str = ""

    @property
    def url(self) -> str:
        """As people write it, without the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.encrypted else 'http'}://{host}:{self.port}{self.prefix}"


def parse_place(text: str, token: str = "") -> Place:
    """Return the admin port that a text names: `http://10.0.0.7:9464`, `10.0.0.7:9464`, `10.0.0.7`.

    Raises:
      ConfigurationError: it is none.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(text, str(error)) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(text, "is no address of an admin port", "write one like http://127.0.0.1:9464")
    encrypted = parts.scheme == "https"
    return Place(parts.hostname, port or (443 if encrypted else _PORT), parts.path.rstrip("/"), encrypted, token)


def fetch_story(place: Place, timeout: float = SILENT_AFTER) -> Story:
    """Return what has been so far.

    Raises:
      TargetUnreachable: nothing answers there, or something else does.
    """
    with _answer(place, "/history", timeout) as answer:
        return msgspec.json.decode(answer.read(), type=Story)


def follow(place: Place, timeout: float = SILENT_AFTER) -> Generator[Story | Sample, None, None]:
    """Yield what has been so far, then a sample each second, until the process ends.

    Args:
      timeout: Seconds without a sample that are the end.
    Raises:
      TargetUnreachable: nothing answers there, something else does, or it has ended.
    """
    with _answer(place, "/live", timeout) as answer:
        kind = b""
        for line in answer:
            name, _, value = line.rstrip(b"\r\n").partition(b": ")
            if name == b"event":
                kind = value
            elif name == b"data" and kind == b"story":
                yield msgspec.json.decode(value, type=Story)
            elif name == b"data" and kind == b"sample":
                yield msgspec.json.decode(value, type=Sample)
    raise TargetUnreachable(place.url, "it has ended")


@contextmanager
def _answer(place: Place, path: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """Ask, and give the answer to read; whatever goes wrong is one line."""
    make = http.client.HTTPSConnection if place.encrypted else http.client.HTTPConnection
    connection = make(place.host, place.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {place.token}"} if place.token else {}
    try:
        connection.request("GET", f"{place.prefix}{path}", headers=headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise TargetUnreachable(place.url, *_refused(answer.status))
        yield answer
    except TimeoutError:
        raise TargetUnreachable(place.url, f"no answer for {timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise TargetUnreachable(place.url, reason, "is a service with hasten.install running there?") from error
    except msgspec.MsgspecError as error:
        raise TargetUnreachable(place.url, f"answers what no admin port does: {error}") from error
    finally:
        connection.close()


def _refused(status: int) -> tuple[str, str]:
    if status == _UNAUTHORIZED:
        return "it wants a token", "give --token, or set HASTEN_ADMIN_TOKEN"
    if status == _NOT_FOUND:
        return "no admin port of hasten answers there", "its address is in the service's log"
    return f"it answers {status}", ""
