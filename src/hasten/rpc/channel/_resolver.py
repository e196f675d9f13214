"""From a target's endpoints to addresses: at once for IP addresses and sockets, by the system's resolver for names."""

import asyncio
import ipaddress
import math
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from hasten._core.errors import HastenError
from hasten.rpc.channel._backoff import Backoff
from hasten.rpc.channel._target import Address, Place, Sockaddr, Target

MIN_SECONDS_BETWEEN_RESOLUTIONS = 30.0
"""grpc-core's default of `grpc.dns_min_time_between_resolutions_ms`."""

Lookup = Callable[[str, int], Awaitable[Sequence[Address]]]
"""From host and port to addresses, the preferred first; raises ResolutionError."""


class ResolutionError(HastenError):
    """Raised when a name has no address now; mend the name or the DNS, or ask again later.

    Args:
      name: The host that was asked for.
      reason: What the resolver said.
    """

    exit_code = 3

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"name resolution failed for {name}: {reason}")
        self.name = name
        self.reason = reason


async def system_lookup(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver for IPv4 and IPv6 addresses, in its order (RFC 6724).

    Raises:
      ResolutionError: there is none, or the name is malformed.
    Cancellation: the caller is free at once; the thread that asks ends when the system's resolver does.
    """
    if "%" in host:
        return [_zoned_address(host, port)]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that IDNA refuses
        raise ResolutionError(host, getattr(error, "strerror", None) or str(error)) from error
    families = (socket.AF_INET, socket.AF_INET6)
    return [Address(family, cast("Sockaddr", sockaddr)) for family, _, _, _, sockaddr in found if family in families]


def _zoned_address(host: str, port: int) -> Address:
    """Return an IPv6 address with the number of its zone (RFC 4007 section 11), which uvloop's getaddrinfo loses."""
    address, _, zone = host.partition("%")
    try:
        scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except OSError as error:
        raise ResolutionError(host, f"no network interface {zone!r}") from error
    return Address(socket.AF_INET6, (address, port, 0, scope))


class Resolver:
    """Resolves one target, and says when that may be done again.

    Service configs in TXT records are not supported: a service config is given to the channel. There is no periodic
    re-resolution, as in grpc-core: the channel asks by `request` when it loses a connection.

    Attributes:
      incomplete: One of several names had no address the last time, the others are used; worth a `request`.
    """

    def __init__(
        self,
        target: Target,
        backoff: Backoff,
        *,
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = time.monotonic,
        min_seconds: float = MIN_SECONDS_BETWEEN_RESOLUTIONS,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
          backoff: For the time after a failure; this resolver's own.
          min_seconds: From the start of one resolution to the start of the next that `request` allows.
        """
        self._target = target
        self._backoff = backoff
        self._lookup = lookup
        self._clock = clock
        self._min_seconds = min_seconds
        self._known = [_static_address(place) for place in target.endpoints]
        self._static = tuple(address for address in self._known if address is not None)
        self._last_start = -math.inf
        self._pending = False
        self.incomplete = False

    @property
    def static(self) -> bool:
        """Whether every endpoint is an address already, so that no resolution can change anything."""
        return len(self._static) == len(self._known)

    def request(self) -> float | None:
        """Return after how many seconds `resolve` should be called; None when there is no need for it.

        There is none for static targets, while a resolution runs, and when one was asked for and has not begun. The
        wait is what is left of `min_seconds`, or of the backoff after a failure (grpc-core's PollingResolver).
        """
        if self.static or self._pending:
            return None
        self._pending = True
        due = max(self._last_start + self._min_seconds, self._backoff.retry_at)
        return max(0.0, due - self._clock())

    async def resolve(self) -> tuple[Address, ...]:
        """Return the target's addresses now: at least one, without repeats, in the target's and the resolver's order.

        Waits as long as the system's resolver does (5 s a try by default, resolv.conf(5)); bound it by your own
        deadline. Call it again only when the last call is done.

        Raises:
          ResolutionError: no name had an address, with the first one's reason.
        Cancellation: the caller's; a cancelled resolution counts as not begun, `request` then allows another.
        """
        if self.static:
            return tuple(dict.fromkeys(self._static))
        last, self._last_start, self._pending = self._last_start, self._clock(), True
        try:
            return await self._resolve_names()
        except ResolutionError:
            self._last_start = -math.inf  # the backoff alone says when to ask again
            raise
        except BaseException:
            self._last_start = last
            raise
        finally:
            self._pending = False

    async def _resolve_names(self) -> tuple[Address, ...]:
        started = self._last_start
        places = zip(self._target.endpoints, self._known, strict=True)
        answers = await asyncio.gather(*(self._addresses(place, known) for place, known in places))
        failures = [answer for answer in answers if isinstance(answer, ResolutionError)]
        if failures:
            self._backoff.begin(started)
        else:
            self._backoff.reset()
        if len(failures) == len(answers):
            raise failures[0]
        self.incomplete = bool(failures)
        found = [answer for answer in answers if not isinstance(answer, ResolutionError)]
        return tuple(dict.fromkeys(address for addresses in found for address in addresses))

    async def _addresses(self, place: Place, known: Address | None) -> Sequence[Address] | ResolutionError:
        if known is not None or isinstance(place, str):
            return [known] if known is not None else []
        try:
            found = await self._lookup(*place)
        except ResolutionError as error:
            return error
        return found or ResolutionError(place[0], "no address")


def _static_address(place: Place) -> Address | None:
    """Return the address of a socket's path or an IP address; None for a name, or an address with a zone."""
    if isinstance(place, str):
        return Address(socket.AF_UNIX, place)
    host, port = place
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return Address(socket.AF_INET, (host, port))
    if not address.scope_id:
        return Address(socket.AF_INET6, (host, port, 0, 0))
    return None  # an interface's number is the system's to know
