"""What became of the requests, counted as it happens; the pool reports here."""

import math
import time
from collections.abc import Callable

from hasten.load._connection import ErrorKind, Exchange
from hasten.load._plan import Plan
from hasten.load._result import KindResult, RequestRecords
from hasten.load._status_names import status_name
from hasten.load._tally import Tally, merged

_clock = time.perf_counter


class Outcomes:
    """Tallies by kind of request; a request of the warm-up is noted as done and not counted.

    Attributes:
      outstanding: Requests begun and not yet done.
      last: When the last counted outcome came, by time.perf_counter; 0.0 before the first.
      records: Every counted request, if asked for.
    """

    def __init__(self, plan: Plan, on_idle: Callable[[], None], *, keep_records: bool) -> None:
        self._kinds = plan.requests
        self._tallies = [Tally() for _ in plan.requests]
        self._accepts = [kind.accepts for kind in plan.requests]
        self._on_idle = on_idle
        self._status_name: Callable[[int], str] = status_name if plan.grpc else str
        self.outstanding = 0
        self.last = 0.0
        self.records = RequestRecords() if keep_records else None

    def answered(self, exchange: Exchange, status: int) -> None:
        """Count a complete response, by whether its status was expected; about 2 µs."""
        if not exchange.open:
            return
        now = _clock()
        if exchange.counted:
            self.last = now
            latency, service = now - exchange.due, now - exchange.sent
            tally = self._tallies[exchange.kind]
            if self._accepts[exchange.kind](status):
                tally.answer(latency, service)
            else:
                tally.unexpected(status, service)
            if self.records is not None:
                self.records.append(exchange.number, exchange.kind, status, latency, service)
        self._done(exchange)

    def failed(self, exchange: Exchange, kind: ErrorKind) -> None:
        """Count a request that got no response."""
        if not exchange.open:
            return
        if exchange.counted:
            self.last = _clock()
            self._tallies[exchange.kind].fail(kind)
            if self.records is not None:
                self.records.append(exchange.number, exchange.kind, 0, math.inf, math.inf)
        self._done(exchange)

    def total(self) -> Tally:
        """Return all kinds as one tally."""
        return merged(self._tallies)

    def counted(self) -> tuple[int, int]:
        """Return how many counted requests are done, and how many of them failed."""
        failed = sum(tally.failed for tally in self._tallies)
        return sum(tally.answered for tally in self._tallies) + failed, failed

    def results(self) -> tuple[KindResult, ...]:
        """Return the result of each kind, in the plan's order."""
        pairs = zip(self._tallies, self._kinds, strict=True)
        return tuple(
            tally.result(kind.name, kind.method, "" if kind.rpc else kind.path, self._status_name)
            for tally, kind in pairs
        )

    def total_result(self) -> KindResult:
        """Return the result of all kinds together."""
        return self.total().result("total", "", "", self._status_name)

    def _done(self, exchange: Exchange) -> None:
        exchange.open = False
        exchange.message = b""  # the time-out line still holds the exchange for a while
        self.outstanding -= 1
        if not self.outstanding:
            self._on_idle()
