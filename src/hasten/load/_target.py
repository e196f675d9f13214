"""The server under load: scheme, host and port of a URL, with the path that all requests begin with."""

import re
from urllib.parse import urlsplit

import msgspec

from hasten._core.errors import ConfigurationError

_VISIBLE = re.compile(r"[!-~]*")


class Target(msgspec.Struct, frozen=True):
    """A parsed `http://` or `https://` URL; `base` is its path with its query, "" for the root."""

    secure: bool
    host: str
    port: int
    base: str

    @property
    def authority(self) -> str:
        """The value of the Host header: without the port when it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without its path."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"


def parse_target(url: str, where: str) -> Target:
    """Return the parts of `url`.

    Raises:
      ConfigurationError: it is no http or https URL with a host, or holds a user, a fragment or a blank;
        `where` is
        named as its place.
    """
    if not url:
        raise ConfigurationError(where, "no target given", "for example http://127.0.0.1:8000")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:  # UnicodeError is one
        raise ConfigurationError(where, f"{url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(where, f"{url!r} is no http or https URL", "for example http://127.0.0.1:8000")
    if parts.username is not None or parts.fragment:
        raise ConfigurationError(where, f"{url!r} holds a user or a fragment", "send credentials as a header")
    base = parts.path + (f"?{parts.query}" if parts.query else "")
    if _VISIBLE.fullmatch(base) is None:
        raise ConfigurationError(
            where, f"the path {base!r} holds a blank or a non-ASCII character", "percent-encode it"
        )
    secure = parts.scheme == "https"
    return Target(secure, host, port if port is not None else (443 if secure else 80), base)
