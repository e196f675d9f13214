"""Counting outcomes: one tally per kind of request, histograms in bounded memory."""

import math
from collections.abc import Callable, Iterable

from hasten._core.histogram import Histogram
from hasten.load._result import KindResult

_SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)


class Tally:
    """Outcomes of one kind of request; two histogram records per answer."""

    __slots__ = ("answered", "errors", "latency", "service", "statuses")

    def __init__(self) -> None:
        self.answered = 0
        self.errors: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self.latency = Histogram()
        self.service = Histogram()

    @property
    def failed(self) -> int:
        """Requests that did not get the answer expected."""
        return sum(self.errors.values())

    def answer(self, latency: float, service: float) -> None:
        """Count an expected answer."""
        self.answered += 1
        self.latency.record(latency)
        self.service.record(service)

    def unexpected(self, status: int, service: float) -> None:
        """Count a complete response with a status that was not expected."""
        self.fail("status")
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.service.record(service)

    def fail(self, kind: str) -> None:
        """Count a request that failed."""
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """Return latencies in seconds for ascending `shares`; those of failed requests are `inf`, the
        slowest of all.

        Without a request every one is 0.0.
        """
        answered, total = self.answered, self.answered + self.failed
        ranks = [max(1, math.ceil(share * total)) for share in shares]
        # Half a rank below: the histogram's ceil(share * count) gives the rank back, whatever was rounded.
        finite = self.latency.quantiles((rank - 0.5) / answered for rank in ranks if rank <= answered)
        return finite + [math.inf if total else 0.0] * (len(ranks) - len(finite))

    def result(self, name: str, method: str, path: str, status_name: Callable[[int], str] = str) -> KindResult:
        """Return what has been counted, statuses by what `status_name` calls them."""
        p50, p90, p99, p999, largest = self.quantiles(_SHARES)
        service_p50, service_p99 = self.service.quantiles((0.5, 0.99))
        return KindResult(
            name=name,
            method=method,
            path=path,
            offered=self.answered + self.failed,
            answered=self.answered,
            errors=dict(self.errors),
            statuses={status_name(status): count for status, count in sorted(self.statuses.items())},
            p50=p50,
            p90=p90,
            p99=p99,
            p999=p999,
            max=self.latency.largest if largest < math.inf else largest,
            mean=self.latency.mean,
            service_p50=service_p50,
            service_p99=service_p99,
        )


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return all tallies as one."""
    total = Tally()
    for tally in tallies:
        total.answered += tally.answered
        total.latency.merge(tally.latency)
        total.service.merge(tally.service)
        for kind, count in tally.errors.items():
            total.errors[kind] = total.errors.get(kind, 0) + count
        for status, count in tally.statuses.items():
            total.statuses[status] = total.statuses.get(status, 0) + count
    return total
