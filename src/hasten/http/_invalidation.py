"""What a request with an unsafe method makes invalid (RFC 9111 section 4.4)."""

from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from hasten.http._asgi import Scope
from hasten.http._fields import Headers, values
from hasten.http._request import raw_path

_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
_PORTS = {"http": 80, "https": 443}


def is_unsafe(method: str) -> bool:
    """Whether a method may change something; one that is not known may."""
    return method not in _SAFE


def changed_paths(scope: Scope, status: int, headers: Headers) -> Iterable[str]:
    """Return the decoded paths that are not to be believed any more after an unsafe request.

    They are the request's own, and those of Location and Content-Location if they are of the same origin; nothing if
    the request failed.
    """
    if not 200 <= status < 400:
        return []
    headers = [(name.lower(), value) for name, value in headers]
    paths = [scope["path"]]
    for name in (b"location", b"content-location"):
        paths += [
            path for value in values(headers, name) if (path := _path_of(scope, value.decode("latin-1"))) is not None
        ]
    return dict.fromkeys(paths)


def _path_of(scope: Scope, reference: str) -> str | None:
    """Return the path of a reference, if it is one of the same origin."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    base = f"{scope.get('scheme', 'http')}://{host}{raw_path(scope).decode('latin-1')}"
    there = of_same_origin(base, reference)
    return None if there is None else unquote(there.path) or "/"


def of_same_origin(base: str, reference: str) -> SplitResult | None:
    """Return the parts of a reference within `base`; None if it is none, or of another origin."""
    try:
        here, there = urlsplit(base), urlsplit(urljoin(base, reference))
        same = (here.scheme, here.hostname, _port(here)) == (there.scheme, there.hostname, _port(there))
    except ValueError:  # an address that is none
        return None
    return there if same else None


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)
