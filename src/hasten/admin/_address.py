"""Where the admin port is, and who may ask there."""

import errno
import hmac
import ipaddress
import socket

import msgspec

from hasten._core.errors import ConfigurationError

DEFAULT_ADMIN = "127.0.0.1:9464"
"""9464 is OpenTelemetry's port for a Prometheus exporter."""
NO_ADMIN = "off"
"""In the place of an address, where a setting says that there is to be none."""
_MOST_PORTS = 64
"""Ports that are tried, one after the other: each process of a service takes the next."""
_LARGEST = 65535


class AdminAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the admin port is to be.

    Attributes:
      host, port: The first process that comes gets this port, each further one the next that is free; 0 is any.
      token: Whoever asks must send it, `Authorization: Bearer TOKEN`, for all but /livez and /readyz; empty for nobody.
    """

    host: str = "127.0.0.1"
    port: int = 9464
    token: str = ""

    def admits(self, authorization: bytes) -> bool:
        """Whether a request with this Authorization field may ask for everything."""
        return not self.token or hmac.compare_digest(authorization, b"Bearer " + self.token.encode())

    def bind(self) -> tuple[socket.socket, int]:
        """Bind the port, or one of the next.

        Returns:
          The socket, which listens, and how many ports it is behind the wanted one: the worker's number.
        Raises:
          ConfigurationError: none is free, or the address cannot be bound.
        """
        for number in range(_MOST_PORTS if self.port else 1):
            listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self.host, self.port + number))
                listener.listen()
            except OSError as error:
                listener.close()
                if error.errno != errno.EADDRINUSE:
                    raise _unusable(self, error.strerror or str(error)) from error
            else:
                return listener, number
        raise _unusable(self, f"this and the {_MOST_PORTS - 1} ports behind it are taken")


def parse_address(text: str, token: str = "") -> AdminAddress:
    """Return the address that a text like `127.0.0.1:9464`, `[::1]:9464` or `localhost:0` names.

    Raises:
      ConfigurationError: it is none, or is open to others without a token.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > _LARGEST:
        raise ConfigurationError(f"admin {text!r}", "is no address", f"write one like {DEFAULT_ADMIN}")
    if not token and not _is_loopback(host):
        raise ConfigurationError(f"admin {text!r}", "others can reach it, and there is no token", "give admin_token=")
    return AdminAddress(host=host, port=int(port), token=token)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unusable(address: AdminAddress, problem: str) -> ConfigurationError:
    where = f"[{address.host}]" if ":" in address.host else address.host
    return ConfigurationError(f"admin {where}:{address.port}", problem, "choose another, or port 0 for a free one")
