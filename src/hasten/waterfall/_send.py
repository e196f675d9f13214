"""Sends one request that is to be traced, and times it."""

import http.client
import ssl
import time
from urllib.parse import urlsplit

import msgspec

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten._core.tracing import trace_id_of
from hasten.waterfall._parts import Sent

_OURS = frozenset({"traceparent", "tracestate"})
_MOST_BYTES = 64 * 1024 * 1024


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is to be sent.

    Attributes:
      url: `http://` or `https://`, with path and query.
      headers: As they are sent; `traceparent` is not among them.
      timeout: Seconds for connecting, and between two bytes of the response.
      verify: Check the certificate and its host name.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout: float = 30.0
    verify: bool = True


def send(wanted: Wanted, traceparent: str) -> Sent:
    """Send a request within a trace, and wait for the whole response.

    Raises:
      ConfigurationError: it is no request that can be sent.
      TargetUnreachable: nobody answers, or not to the end.
    """
    for name, _ in wanted.headers:
        if name.lower() in _OURS:
            raise ConfigurationError(f"header {name}", "the trace is this command's own", "leave it out")
    path = _path(wanted.url)
    connection = _connection(wanted)
    try:
        connection.connect()
        connection.putrequest(wanted.method, path, skip_accept_encoding=True)
        for name, value in (*_headers(wanted, traceparent), *wanted.headers):
            connection.putheader(name, value)
        started = time.monotonic()
        connection.endheaders(wanted.body or None)
        response = connection.getresponse()
        first_byte = time.monotonic() - started
        size = len(response.read(_MOST_BYTES + 1))
        seconds = time.monotonic() - started
    except (OSError, http.client.HTTPException) as error:
        raise TargetUnreachable(wanted.url, f"does not answer: {_said(error)}") from error
    except ValueError as error:  # of a header or a method with characters that none may have
        raise ConfigurationError(wanted.url, f"cannot be sent: {error}") from error
    finally:
        connection.close()
    if size > _MOST_BYTES:
        raise TargetUnreachable(wanted.url, f"answers with more than {_MOST_BYTES} bytes")
    return Sent(
        method=wanted.method,
        url=wanted.url,
        traceparent=traceparent,
        status=response.status,
        started=started,
        first_byte=first_byte,
        seconds=seconds,
        size_bytes=size,
    )


def _headers(wanted: Wanted, traceparent: str) -> list[tuple[str, str]]:
    given = {name.lower() for name, _ in wanted.headers}
    own = [("traceparent", traceparent), ("x-request-id", trace_id_of(traceparent))]
    if wanted.body or wanted.method in {"POST", "PUT", "PATCH"}:
        own.append(("content-length", str(len(wanted.body))))
    return [(name, value) for name, value in own if name not in given]


def _path(url: str) -> str:
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known:
        raise ConfigurationError(url, "is no http or https URL", "for example http://127.0.0.1:8000/items/1")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _connection(wanted: Wanted) -> http.client.HTTPConnection:
    parts = urlsplit(wanted.url)
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=wanted.timeout)
    context = ssl.create_default_context()
    if not wanted.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=wanted.timeout, context=context)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", "") or str(error) or type(error).__name__
