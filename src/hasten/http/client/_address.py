"""Where a service is found, from its URL."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from hasten._core.errors import ConfigurationError

_PORTS = {"http": 80, "https": 443}
_PATH = re.compile(r"(?:/[!$%&'()*+,\-./0-9:;=@A-Z_a-z~]*)?")
_HOST = re.compile(r"[0-9A-Za-z._:~%-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A place that a service listens at.

    Attributes:
      host, port: To connect to; an IPv6 address without its brackets.
      tls: Over TLS.
      path: Put before each target; empty, or with a slash in front and none behind.
    """

    host: str
    port: int
    tls: bool
    path: str

    @property
    def name(self) -> str:
        """The host and, where it is not the scheme's, the port, as in the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without its path."""
        return f"{'https' if self.tls else 'http'}://{self.name}"


def parse_address(url: str) -> Address:
    """Return what a URL says.

    Raises:
      ConfigurationError: it is none of http or https, or has what a service's address cannot have.
    """
    where = f"Client({url!r})"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(where, str(error)) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError(where, "no URL of a service", "for example http://pricing:8000")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(where, "a query, fragment or user does not belong there", "send them with each call")
    path = parts.path.rstrip("/")
    if _PATH.fullmatch(path) is None or _HOST.fullmatch(parts.hostname) is None:
        raise ConfigurationError(where, "a character does not belong there", "quote it")
    if port == 0:
        raise ConfigurationError(where, "port 0 is none")
    return Address(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https", path)
