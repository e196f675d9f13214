"""The hosts of a service: which of them gets the next attempt, and what it says of them how an attempt ends."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from hasten.http.client._errors import BodyTooLarge, HttpError
from hasten.http.client._statistics import HostStatistics
from hasten.resilience import AdaptiveBreaker, Breaker, DeadlineExceeded, Refused
from hasten.resilience._peak_ewma import Load, PeakEwma

if TYPE_CHECKING:
    from hasten.http.client._exchange import Exchange
    from hasten.http.client._pool import Pool

AnyBreaker = Breaker | AdaptiveBreaker

DECAY_SECONDS = 1.0
"""Time constant of a host's latency: one that was 100 times slower than the others is asked again within 5 s."""
_BREAKING = frozenset((502, 503, 504))
"""Statuses of a host that cannot do its work; a 500 is one request's affair, a 429 is for too many of them."""
_LEARN = 0.1
"""Part of each answer in what a host usually takes."""
_PATIENCE = 2.0
"""Times what a host usually takes: who gave it less says nothing of it by its timeout."""
_CANCELLED = asyncio.CancelledError()


def host_breaker() -> Breaker:
    """Return a breaker for one host: 5 failures or timeouts in a row open it, a probe every 0.25 to 2 s closes it.

    A failure is a connection that is not to be had or breaks, an answer that is none, and a 502, 503 or 504. That many
    calls are under way, and none is answered, opens it only from 50 on: a pause of the service is no end of it.
    """
    return Breaker(failures=5, timeouts=5, silent=50)


class Host(Load):
    """One host, with its connections and its breaker.

    Attributes:
      ask_at: While its breaker is open, when that may let a probe through.
      usual: Seconds that its answers take, on average; 0.0 while that is not known.
      attempts, again, hedges: That were sent to it; those that were no call's first; those of them beside a slow one.
      failures: See `HostStatistics`.
    """

    __slots__ = (
        "again", "ask_at", "attempts", "breaker", "failures", "fields_without", "hedges", "pool", "usual",
    )  # fmt: skip

    def __init__(
        self, pool: "Pool", breaker: AnyBreaker | None, fields_without: Callable[[frozenset[str]], bytes]
    ) -> None:
        super().__init__()
        self.pool = pool
        self.breaker = breaker
        self.fields_without = fields_without
        self.ask_at = self.usual = 0.0
        self.attempts = self.again = self.hedges = self.failures = 0

    def statistics(self) -> HostStatistics:
        """Return what is counted, in any thread."""
        pool, again, hedges = self.pool, self.again, self.hedges
        address = pool.address
        opened, idle, connecting, waiting = pool.counts
        return HostStatistics(
            name=pool.name,
            address=address.host,
            port=address.port,
            used=max(0, opened - idle) + connecting,
            idle=idle,
            limit=pool.limit,
            waiting=waiting,
            first=self.attempts - again,
            retries=again - hedges,
            hedges=hedges,
            transparent=pool.resent,
            failures=self.failures,
            breaker=self.breaker.statistics() if isinstance(self.breaker, Breaker) else None,
        )


class Hosts:
    """Chooses by two choices among the hosts that are well, and has those that are ill probed.

    An ill host is one whose breaker is open. It gets the first call that comes when a probe is due, and no other; the
    probe that is answered makes it as good as new. 1.5 µs for a choice and its end, the breaker's part among it.

    Args:
      hosts: At least one.
      loads: Keeps their latencies.
      clock: Seconds, never going back.
    """

    __slots__ = ("_clock", "_ill", "_loads", "_several", "_well", "every")

    def __init__(self, hosts: Sequence[Host], loads: PeakEwma, clock: Callable[[], float]) -> None:
        self.every = tuple(hosts)
        self._several = len(self.every) > 1  # else there is nothing to choose, and their latencies are nobody's affair
        self._well = list(hosts)
        self._ill: list[Host] = []
        self._loads = loads
        self._clock = clock

    def begin(self, used: Collection[Host], now: float) -> Host:
        """Return the host of the next attempt, and count that.

        Args:
          used: Hosts that the call was sent to before; others are preferred.
          now: The attempt's `began`: breakers know it by that.
        Raises:
          Refused: every breaker says no.
        """
        for host in self._ill:
            if now >= host.ask_at and host not in used and self._admits(host, now):
                return host
        choices = self._well
        while choices:
            found = self._loads.pick_other(choices, used) if used else self._loads.pick(choices)
            assert found is not None
            if self._admits(found, now):
                return found
            choices = [host for host in choices if host is not found]
        raise self._refusal(now)

    def has_other(self, used: Collection[Host]) -> bool:
        """Whether there is a host that is well outside `used`."""
        return any(host not in used for host in self._well)

    def ended(self, exchange: "Exchange") -> None:
        """Note how an attempt has ended, well or not; once for each."""
        host: Host = exchange.host
        host.outstanding -= 1
        now = exchange.answered_at or self._clock()
        seconds, error = now - exchange.began, exchange.error
        status = exchange.head.status if exchange.head is not None else 0
        if error is None and status:
            self._answered(host, seconds, status)
            if status in _BREAKING:
                error = HttpError(host.pool.name, f"status {status}")
        elif self._several:
            self._failed(host, seconds, error)
        said = _said_of(host, error, seconds, answered=status > 0)
        if said is not None and said is not _CANCELLED:
            host.failures += 1
        if host.breaker is not None:
            host.breaker.end(exchange.began, now, said)

    def _answered(self, host: Host, seconds: float, status: int) -> None:
        rejected = status >= 500 or status == 429
        if host in self._ill and status not in _BREAKING:
            self._ill.remove(host)
            self._well.append(host)
            host.forget()
        if rejected:
            if self._several:
                self._loads.rejected(host, seconds)
        else:
            if self._several:
                self._loads.answered(host, seconds)
            host.usual += (seconds - host.usual) * (_LEARN if host.usual else 1.0)

    def _failed(self, host: Host, seconds: float, error: Exception | None) -> None:
        if isinstance(error, HttpError) and not isinstance(error, BodyTooLarge):
            self._loads.rejected(host, seconds)
        else:
            self._loads.cut_short(host, seconds)

    def _admits(self, host: Host, now: float) -> bool:
        if host.breaker is not None:
            try:
                host.breaker.begin(now)
            except Refused as refused:
                host.ask_at = now + refused.retry_after
                if refused.retry_after > 0.0 and host in self._well:  # else it was refused by chance
                    self._well.remove(host)
                    self._ill.append(host)
                return False
        host.outstanding += 1
        return True

    def _refusal(self, now: float) -> Refused:
        first = min(self.every, key=lambda host: host.ask_at)
        names = ", ".join(host.pool.name for host in self.every)
        return Refused(f"breaker of {names}", "does not answer", max(0.0, first.ask_at - now))


def _said_of(host: Host, error: Exception | None, seconds: float, *, answered: bool) -> BaseException | None:
    """Return what a breaker is to know of an attempt that took so long.

    Callers who have next to no time left, as under overload they do, must not make a host ill that is well.
    """
    if isinstance(error, DeadlineExceeded):
        return error if seconds >= _PATIENCE * host.usual else _CANCELLED
    if error is None and not answered:
        return _CANCELLED
    return None if isinstance(error, BodyTooLarge) else error
