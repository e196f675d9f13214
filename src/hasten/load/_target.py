"""The server under load: scheme, host and port of a URL, with its path.

Over HTTP the path goes before every request's; over gRPC it is the method's, if there is one.
"""

import re
from urllib.parse import urlsplit

import msgspec

from hasten._core.errors import ConfigurationError

_VISIBLE = re.compile(r"[!-~]*")


_EXAMPLE = "for example http://127.0.0.1:8000 or grpc://127.0.0.1:50051"
_SECURE = ("https", "grpcs")


class Target(msgspec.Struct, frozen=True):
    """A parsed URL; `base` is its path with its query, "" for the root, `grpc` tells its scheme's family."""

    secure: bool
    host: str
    port: int
    base: str
    grpc: bool = False

    @property
    def authority(self) -> str:
        """The value of the Host header: without the port when it is the scheme's own."""
        own = self.port == (443 if self.secure else 80) and not self.grpc
        return self.address.removesuffix(f":{self.port}") if own else self.address

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without its path."""
        return f"{'grpc' if self.grpc else 'http'}{'s' if self.secure else ''}://{self.authority}"


def parse_target(url: str, where: str) -> Target:
    """Return the parts of `url`.

    Raises:
      ConfigurationError: it is no http, https, grpc or grpcs URL with a host, or holds a user, a fragment or a blank;
        `where` is named as its place.
    """
    if not url:
        raise ConfigurationError(where, "no target given", _EXAMPLE)
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:  # UnicodeError is one
        raise ConfigurationError(where, f"{url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "grpc", *_SECURE) or not host:
        raise ConfigurationError(where, f"{url!r} is no http or https URL, nor a grpc or grpcs one", _EXAMPLE)
    if parts.username is not None or parts.fragment:
        raise ConfigurationError(where, f"{url!r} holds a user or a fragment", "send credentials as a header")
    base = parts.path + (f"?{parts.query}" if parts.query else "")
    if _VISIBLE.fullmatch(base) is None:
        raise ConfigurationError(
            where, f"the path {base!r} holds a blank or a non-ASCII character", "percent-encode it"
        )
    secure, grpc = parts.scheme in _SECURE, parts.scheme.startswith("grpc")
    if port is None and grpc and not secure:  # it has no port of its own, and 80 would be a guess
        raise ConfigurationError(where, f"{url!r} has no port", "for example grpc://127.0.0.1:50051")
    return Target(secure, host, port if port is not None else (443 if secure else 80), base, grpc)
