"""Any history of a breaker, against a model that keeps the whole history and looks at it anew each time."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hasten.resilience import Breaker

_SLOW, _WINDOW, _FIRST, _LONGEST = 0.1, 1.0, 0.5, 2.0
_STEPS = st.sampled_from([1, 16, 64, 128, 256, 512, 1024, 2048, 8192]).map(lambda steps: steps / 512)
"""Seconds, exact in binary, so that the model's sums are the breaker's."""


@dataclass
class Model:
    """The definition: what happened when, by the breaker's own states."""

    failures: int
    now: float = 64.0
    open_since: float | None = None
    closed_since: float = -100.0
    window_since: float = 64.0
    window: list[float] = field(default_factory=list)
    in_a_row: int = 0
    failed_probes: int = 0
    probe_sent: float | None = None
    next_probe: float = 0.0

    def allows(self) -> bool:
        if self.open_since is None:
            return True
        if self.now < self.next_probe:
            return False
        self.probe_sent = self.now
        self.next_probe = self.now + _LONGEST
        return True

    def answer(self, seconds: float) -> None:
        if self.open_since is None:
            self.in_a_row = 0
            self.window.append(seconds)
            if seconds > _SLOW and self.now >= self.window_since + _WINDOW and len(self.window) >= 10:
                slow = [each for each in self.window if each > _SLOW]
                mostly_slow = len(slow) > len(self.window) / 2
                self.window, self.window_since = [], self.now
                if mostly_slow:
                    self.open()
        elif self.now - seconds > self.open_since:
            if seconds > _SLOW:
                self.open()
            else:
                self.open_since = self.probe_sent = None
                self.closed_since = self.window_since = self.now
                self.window, self.in_a_row = [], 0

    def failure(self, *, timeout: bool) -> None:
        if self.open_since is None:
            self.in_a_row += 1
            if timeout or self.in_a_row >= self.failures:
                self.open()
        elif self.probe_sent is not None:
            self.open()

    def open(self) -> None:
        if self.open_since is None and self.now - self.closed_since > _LONGEST:
            self.failed_probes = 0
        self.next_probe = self.now + min(_FIRST * 2**self.failed_probes, _LONGEST) * 0.75
        self.failed_probes += 1
        self.open_since = self.now
        self.probe_sent = None

    @property
    def state(self) -> str:
        if self.open_since is None:
            return "closed"
        return "open" if self.probe_sent is None else "half-open"


class Histories(RuleBasedStateMachine):
    """The breaker is in the model's state after each step, and lets through what the model lets through."""

    failures = 1

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(self.failures)
        self.breaker = Breaker(
            failures=self.failures,
            slow=_SLOW,
            window=_WINDOW,
            first=_FIRST,
            longest=_LONGEST,
            clock=lambda: self.model.now,
            chance=lambda: 0.5,
        )
        self.outages = 0
        self.probes: list[float] = []

    @rule(seconds=_STEPS)
    def wait(self, seconds: float) -> None:
        self.model.now += seconds

    @rule()
    def ask(self) -> None:
        was_open = not self.breaker.closed
        allowed = self.breaker.allows()
        assert allowed == self.model.allows()
        if allowed and was_open:
            self.probes.append(self.model.now)

    @rule(seconds=_STEPS, count=st.integers(1, 12))
    def answer(self, seconds: float, count: int) -> None:
        for _ in range(count):
            self.model.now += 1 / 512
            self.breaker.succeeded(seconds)
            self.model.answer(seconds)

    @rule()
    def fail(self) -> None:
        self.breaker.failed()
        self.model.failure(timeout=False)

    @rule()
    def time_out(self) -> None:
        self.breaker.timed_out()
        self.model.failure(timeout=True)
        assert not self.breaker.closed

    @precondition(lambda self: not self.breaker.closed)
    @rule()
    def recover(self) -> None:
        """From any state, a dependency that is well again is in use after the longest delay and one probe."""
        self.model.now += _LONGEST
        assert self.breaker.allows()
        assert self.model.allows()
        self.probes.append(self.model.now)
        self.model.now += 1 / 512
        self.breaker.succeeded(1 / 1024)
        self.model.answer(1 / 1024)
        assert self.breaker.closed

    @invariant()
    def same_state(self) -> None:
        assert self.breaker.statistics().state == self.model.state
        assert self.breaker.closed == (self.model.state == "closed")

    @invariant()
    def probes_keep_their_distance(self) -> None:
        """No two probes are sent within less than the shortest delay."""
        assert all(later - earlier >= _FIRST / 2 for earlier, later in zip(self.probes, self.probes[1:], strict=False))


class HistoriesOfThree(Histories):
    """The same where three failures in a row open."""

    failures = 3


TestHistories = Histories.TestCase
TestHistoriesOfThree = HistoriesOfThree.TestCase
