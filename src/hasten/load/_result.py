"""What a load test found, and whether its figures can be trusted."""

from array import array
from collections.abc import Iterator

import msgspec

from hasten._core.durations import format_duration
from hasten._core.errors import InvalidMeasurement

TOLERATED_SECONDS = 0.001  # own lateness below this is below what the figures claim
TOLERATED_SHARE = 0.1  # of the reported p99
NEEDED_SHARE = 0.99  # of the offered requests must have been sent


class Problem(msgspec.Struct, frozen=True):
    """Why a measurement is not valid: the check, what was measured, what to do."""

    check: str
    measured: str
    remedy: str


class KindResult(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request, or all together. Times are seconds.

    Latency counts from the intended send time to the last byte of the response. A request that did not get
    the answer expected counts as infinitely slow: p99 is `inf` (null in JSON) when more than 1 % failed.

    Attributes:
      offered: Requests due in the measured part.
      answered: With an expected status, in time.
      method: Of HTTP, or `package.Service/Method`.
      path: "" for a gRPC call.
      errors: Failed requests by kind: connect, reset, timeout, protocol, status.
      statuses: How often each unexpected status came, by its number as text, gRPC's by its name.
      mean: Of the latencies of answered requests.
      service_p50: From the actual send to the last byte, of all complete responses: what the server took,
        without
        the wait for a connection. Shown for contrast; it hides what a stall does to the requests behind it.
      service_p99: Like service_p50.
    """

    name: str
    method: str
    path: str
    offered: int
    answered: int
    errors: dict[str, int]
    statuses: dict[str, int]
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    mean: float
    service_p50: float
    service_p99: float

    @property
    def failed(self) -> int:
        """Requests that did not get the answer expected."""
        return sum(self.errors.values())


class RequestRecords:
    """Every counted request in compact columns, 32 bytes each, in the order of their outcomes.

    `numbers` are what X-Request-ID carried; `kinds` index LoadResult.kinds; a request without an answer has
    status 0 and latency and service time `inf` (0 with a finite latency is gRPC's OK); one with an unexpected status
    keeps its times.
    """

    __slots__ = ("kinds", "latencies", "numbers", "services", "statuses")

    def __init__(self) -> None:
        self.numbers: array[int] = array("q")
        self.kinds: array[int] = array("i")
        self.statuses: array[int] = array("i")
        self.latencies: array[float] = array("d")
        self.services: array[float] = array("d")

    def append(self, number: int, kind: int, status: int, latency: float, service: float) -> None:
        """Add one request; about 0.7 µs."""
        self.numbers.append(number)
        self.kinds.append(kind)
        self.statuses.append(status)
        self.latencies.append(latency)
        self.services.append(service)

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self) -> Iterator[tuple[int, float, int]]:
        """Yield (number, latency in seconds, status)."""
        return zip(self.numbers, self.latencies, self.statuses, strict=True)


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a load test. Times are seconds unless the name says otherwise.

    Attributes:
      started_at: time.perf_counter (CLOCK_MONOTONIC on Linux) at offset 0 of the schedule, warm-up included.
      measured: Length of the measured part as planned, or as far as it came when `partial`.
      achieved_rate: Expected answers per second of the measured part and the drain after it.
      lateness_p50: The generator's own lateness: from the intended send time until it came to send. Waiting
        for a
        free connection is not in it: that is the server's doing, and in the latency.
      lateness_p99: Like lateness_p50.
      lateness_max: Like lateness_p50.
      missed: Requests the generator was too late to send at all; in no kind's `offered`.
      repeats: Requests sent again because the server closed an idle connection under them.
      connections: The most that were open at one time.
      cpu_seconds: CPU the generator's thread used in the measured part and the drain.
      pacing: "timerfd" or "loop timers" (late by up to 1 ms).
      partial: It was interrupted; requests then under way are not counted.
      problems: Why the figures cannot be trusted; empty when they can.
      requests: Every counted request, if it was asked for; not for JSON.
    """

    target: str
    arrivals: str
    seed: int
    rate: float
    warmup: float
    measured: float
    started_at: float
    total: KindResult
    kinds: tuple[KindResult, ...]
    achieved_rate: float
    lateness_p50: float
    lateness_p99: float
    lateness_max: float
    missed: int
    repeats: int
    connections: int
    cpu_seconds: float
    pacing: str
    partial: bool
    problems: tuple[Problem, ...]
    requests: RequestRecords | None = None

    @property
    def valid(self) -> bool:
        """The generator did not change the answer."""
        return not self.problems

    @property
    def cpu_seconds_per_request(self) -> float:
        """CPU seconds the generator used per request."""
        return self.cpu_seconds / self.total.offered if self.total.offered else 0.0

    def require_valid(self) -> "LoadResult":
        """Return this result.

        Raises:
          InvalidMeasurement: a check failed; it is named with its figure.
        """
        for problem in self.problems:
            raise InvalidMeasurement(problem.check, problem.measured, problem.remedy)
        return self


def find_problems(
    *, offered: int, missed: int, lateness_p99: float, latency_p99: float, own_limit: str = ""
) -> tuple[Problem, ...]:
    """Judge whether the generator itself changed the answer.

    Args:
      offered: Requests that were handled in the measured part.
      missed: Requests that should have been sent besides and were not.
      lateness_p99: Of the generator's own lateness, in seconds.
      latency_p99: Of the answered requests, in seconds; 0.0 when there is none, and lateness then changes
        nothing.
      own_limit: A limit of the generator's process that it ran into.
    """
    problems: list[Problem] = []
    planned = offered + missed
    if not planned:
        problems.append(Problem("requests", "none was due in the measured part", "raise the rate or the duration"))
    elif offered < NEEDED_SHARE * planned:
        figure = f"{offered / planned:.1%} of {planned} requests were sent, {NEEDED_SHARE:.0%} are needed"
        problems.append(Problem("sent requests", figure, "lower the rate or free a core for the generator"))
    limit = max(TOLERATED_SECONDS, TOLERATED_SHARE * latency_p99)
    if latency_p99 and lateness_p99 > limit:
        figure = f"p99 {format_duration(lateness_p99)}, above {format_duration(limit)} it changes the result"
        problems.append(Problem("generator's lateness", figure, "lower the rate or free a core for the generator"))
    if own_limit:
        problems.append(Problem("generator's limits", own_limit, "raise the limit or lower --connections"))
    return tuple(problems)
