"""Where a broker of AMQP is: `amqp://user:password@host:5672,host:5672/vhost?heartbeat=5`, read and checked."""

import math
import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hasten._core.errors import ConfigurationError

PORT, TLS_PORT = 5672, 5671
_EXCHANGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}")
_OPTIONS = ("cafile", "certfile", "exchange", "heartbeat", "keyfile")
_REMEDY = "amqp://user:password@host:5672/vhost, with / ? # @ : and % in a password written as %2F %3F %23 %40 %3A %25"


@dataclass(frozen=True, slots=True)
class Place:
    """A broker: its hosts, and how they are talked to.

    Attributes:
      hosts: Tried in turn.
      name: For messages; without user and password.
      heartbeat: Seconds between signs of life, both ways.
      exchange: What messages are published to; the names of all queues begin with it.
      tls: None without.
    """

    hosts: tuple[tuple[str, int], ...]
    vhost: str
    name: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    heartbeat: float = 5.0
    exchange: str = "hasten"
    tls: ssl.SSLContext | None = field(default=None, repr=False)


def place_of(url: str) -> Place:
    """Return what a URL says.

    Args:
      url: `amqp://` or `amqps://`; user and password `guest` and vhost `/` without them. Options after `?`: `heartbeat`
        in seconds, `exchange`; with `amqps://` also `cafile` (instead of the system's authorities), `certfile` and
        `keyfile` (who we are).
    Raises:
      ConfigurationError: it is wrong; the message shows no password.
    """
    try:
        parts = urlsplit(url)
        hosts = _hosts(parts)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        # Without its cause, which may show a part of the password: `Port could not be cast: 'secret'`.
        raise ConfigurationError("bus amqp://", "is no URL of a broker", f"write {_REMEDY}") from None
    secure = parts.scheme == "amqps"
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    name = f"{parts.scheme} {','.join(f'{_bracketed(host)}:{port}' for host, port in hosts)}"
    name += "" if vhost == "/" else f"/{vhost}"
    where = f"bus {name}"
    _check_options(where, options, secure=secure)
    return Place(
        hosts=hosts,
        vhost=_short(where, "vhost", vhost),
        name=name,
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password if parts.password is not None else "guest"),
        heartbeat=_heartbeat(where, options.get("heartbeat", "5")),
        exchange=_exchange(where, options.get("exchange", "hasten")),
        tls=_tls(where, options) if secure else None,
    )


def _hosts(parts: SplitResult) -> tuple[tuple[str, int], ...]:
    """Return hosts and ports.

    Raises:
      ValueError: one is none.
    """
    usual = TLS_PORT if parts.scheme == "amqps" else PORT
    hosts = []
    for one in parts.netloc.rpartition("@")[2].split(","):
        place = urlsplit(f"//{one}")
        if not place.hostname or place.path or place.query or place.fragment:
            raise ValueError(one)
        hosts.append((place.hostname, place.port or usual))
    if parts.fragment or parts.path.count("/") > 1 or "@" in parts.path + parts.query:
        raise ValueError(parts.path)
    return tuple(hosts)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_options(where: str, options: dict[str, str], *, secure: bool) -> None:
    for option in options:
        if option not in _OPTIONS:
            raise ConfigurationError(
                f"{where} {option}=", "there is no such option", f"there are {', '.join(_OPTIONS)}"
            )
        if option.endswith("file") and not secure:
            raise ConfigurationError(f"{where} {option}=", "is for TLS", "write amqps://")


def _short(where: str, option: str, text: str) -> str:
    if len(text.encode()) > 255:
        raise ConfigurationError(f"{where} {option}", "has more than 255 bytes")
    return text


def _heartbeat(where: str, text: str) -> float:
    """Return seconds; whole ones, for the server has a number of 16 bits."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (1.0 <= seconds <= 600.0 and seconds == int(seconds)):
        raise ConfigurationError(f"{where} heartbeat={text}", "must be whole seconds from 1 to 600")
    return seconds


def _exchange(where: str, name: str) -> str:
    if not _EXCHANGE.fullmatch(name) or name.startswith("amq."):
        remedy = "1 to 24 letters, digits, '.', '_' or '-', not amq. at the beginning"
        raise ConfigurationError(f"{where} exchange={name}", "is no name", remedy)
    return name


def _tls(where: str, options: dict[str, str]) -> ssl.SSLContext:
    """Return a context that checks the server's certificate and its name."""
    try:
        context = ssl.create_default_context(cafile=options.get("cafile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
        elif "keyfile" in options:
            raise ConfigurationError(f"{where} keyfile=", "is without its certificate", "add certfile=")
    except OSError as error:  # SSLError is one
        files = ", ".join(f"{name}={options[name]}" for name in options if name.endswith("file"))
        raise ConfigurationError(f"{where} {files}", f"cannot be read: {error.strerror or error}") from error
    return context
