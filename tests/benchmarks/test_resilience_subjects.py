"""The guards of the `resilience` benchmark do what they are measured by; how long it takes is not asserted."""

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from itertools import chain

import pytest

from benchmarks._driven import OrderedProcess, WrongValueError
from benchmarks._harness import Effort
from benchmarks._processes import Cores
from benchmarks.resilience import _guards_child
from benchmarks.resilience._benchmark import ResilienceBenchmark
from benchmarks.resilience._orders import Called, Calls
from benchmarks.resilience._refusing import REFUSING
from benchmarks.resilience._server import SERVERS
from benchmarks.resilience._stack import FAILS_FIRST, SETUPS, cases_of, setup_of
from benchmarks.resilience._work import ANSWER, AT_ONCE, FAILURES, Work, work_that_fails_first
from hasten._core.errors import InvalidMeasurement
from hasten.resilience import Refused

_CORES = Cores.available()


class Counted:
    """Work that is counted, and does what it is given.

    Attributes:
      begun, under_way, most: How often, now, and the most at once.
    """

    def __init__(self, step: Callable[[int], Awaitable[object]] | None = None) -> None:
        self._step = step
        self.begun = self.under_way = self.most = 0

    def function(self) -> Work:
        async def work() -> int:
            self.begun += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                if self._step is not None:
                    await self._step(self.begun)
            finally:
                self.under_way -= 1
            return ANSWER

        return work


def _failing(times: float) -> Counted:
    async def step(number: int) -> None:
        if number <= times:
            raise ConnectionError

    return Counted(step)


def _peers(case: str) -> list[str]:
    return [subject for subject in SETUPS[case] if subject != "limit"]


def _set(monkeypatch: pytest.MonkeyPatch, case: str, subject: str, name: str, value: float) -> None:
    """Change a constant where the subject's setup reads it."""
    module = SETUPS[case][subject].partition(":")[0]
    monkeypatch.setattr(importlib.import_module(f"benchmarks.resilience.stacks.{module}"), name, value)


@pytest.mark.parametrize(("case", "subject"), [(case, subject) for case in SETUPS for subject in SETUPS[case]])
def test_every_guard_lets_the_work_be_done(case: str, subject: str) -> None:
    """Each call is answered, and has the work done once; twice where the first time fails."""

    async def use() -> None:
        times = 2 if case in FAILS_FIRST else 1
        counted, flaky = Counted(), work_that_fails_first()
        inner = counted.function()

        async def work() -> int:
            await inner()
            return await flaky() if case in FAILS_FIRST else ANSWER

        call = await setup_of(case, subject)(work)
        for number in range(1, 4):
            assert await call() == ANSWER
            assert counted.begun == number * times

    asyncio.run(use())


@pytest.mark.parametrize("subject", _peers("retry"))
def test_every_retry_retries(subject: str) -> None:
    """The third attempt may succeed, and is the last."""

    async def use() -> None:
        twice, always = _failing(2), _failing(99)
        assert await (await setup_of("retry", subject)(twice.function()))() == ANSWER
        with pytest.raises(ConnectionError):
            await (await setup_of("retry", subject)(always.function()))()
        assert (twice.begun, always.begun) == (3, 3)

    asyncio.run(use())


@pytest.mark.parametrize("subject", _peers("breaker"))
def test_every_breaker_opens(subject: str) -> None:
    """After failures in a row calls are refused: all of them, or by chance where that is what it does."""

    async def use() -> None:
        work = _failing(999)
        call = await setup_of("breaker", subject)(work.function())
        outcomes = [await _error_of(call) for _ in range(100)]
        assert [type(error) for error in outcomes[: FAILURES - 1]] == [ConnectionError] * (FAILURES - 1)
        assert work.begun < 50 if "adaptive" in subject else work.begun == FAILURES
        assert {type(error) for error in outcomes[FAILURES:]} - {ConnectionError}

    asyncio.run(use())


async def _error_of(call: Work) -> Exception | None:
    try:
        await call()
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("subject", _peers("deadline"))
def test_every_deadline_passes(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that does not end is ended."""
    _set(monkeypatch, "deadline", subject, "SECONDS", 0.005)

    async def use() -> None:
        stuck = Counted(lambda _: asyncio.Event().wait())
        with pytest.raises(TimeoutError):
            await (await setup_of("deadline", subject)(stuck.function()))()
        assert (stuck.begun, stuck.under_way) == (1, 0)

    asyncio.run(use())


@pytest.mark.parametrize("subject", _peers("at-once"))
def test_every_bound_holds(subject: str) -> None:
    """No more are under way than may be; those above it wait, or are refused by a limiter."""

    async def use() -> None:
        gate = asyncio.Event()
        waiting = Counted(lambda _: gate.wait())
        call = await setup_of("at-once", subject)(waiting.function())
        tasks = [asyncio.create_task(call()) for _ in range(2 * AT_ONCE)]
        while waiting.under_way < AT_ONCE * 0.9:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert waiting.most <= AT_ONCE
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert len(refused) + outcomes.count(ANSWER) == 2 * AT_ONCE
        assert bool(refused) == ("limiter" in subject)

    asyncio.run(use())


@pytest.mark.parametrize("subject", _peers("rate"))
def test_every_rate_limit_holds(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More calls than the rate allows are refused, or wait."""
    _set(monkeypatch, "rate", subject, "A_SECOND", 3.0)

    async def use() -> None:
        work = Counted()
        call = await setup_of("rate", subject)(work.function())
        for _ in range(3):
            await call()
        with pytest.raises((Refused, TimeoutError)):
            await asyncio.wait_for(call(), 0.05)
        assert work.begun == 3

    asyncio.run(use())


def test_the_hedge_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is not answered is made a second time."""
    _set(monkeypatch, "hedge", "hasten", "SECONDS", 0.0001)

    async def use() -> None:
        async def step(number: int) -> None:
            if number == 1:
                await asyncio.Event().wait()

        first_stuck = Counted(step)
        assert await (await setup_of("hedge", "hasten")(first_stuck.function()))() == ANSWER
        assert (first_stuck.begun, first_stuck.under_way) == (2, 0)

    asyncio.run(use())


def test_wrong_answers_have_no_figures() -> None:
    """A guard that gives another answer than the work does is found."""

    async def wrong() -> int:
        return ANSWER + 1

    with pytest.raises(WrongValueError, match="200 of 200"):
        asyncio.run(_guards_child._stretch(wrong))


def test_a_child_measures_its_cases() -> None:
    """It says what a call costs with its guard and without, and what makes an order invalid."""
    command = [sys.executable, "-m", "benchmarks.resilience._guards_child", "hasten"]
    with OrderedProcess("guards of hasten", command, _CORES.server) as process:
        process.suspend()
        for case in cases_of("hasten"):
            called = process.measure(Calls(case, 2), 0.1, Called)
            assert 0.0 < called.bare < called.cpu < 0.001
        with pytest.raises(InvalidMeasurement, match="guards of hasten: KeyError"):
            process.measure(Calls("nothing", 1), 0.1, Called)


def test_subjects_and_setups_are_complete() -> None:
    """There is a subject for every setup and server, and the other way round; each case has its limit."""
    named = {*chain.from_iterable(SETUPS.values()), *SERVERS, *REFUSING}
    assert named == {subject.name for subject in ResilienceBenchmark.subjects}
    assert all("limit" in subjects for subjects in SETUPS.values())


def test_resilience_benchmark_starts_what_was_chosen() -> None:
    """Chosen cases have trials, whose figures have units; without cases of servers none is started."""
    with ResilienceBenchmark().prepare(
        Effort(1, quick=True, only=("limit", "hasten", "uvicorn"), cases=("retry", "hedge"))
    ) as prepared:
        assert {(trial.subject, trial.case) for trial in prepared.trials} == {
            (subject, case) for subject in ("limit", "hasten") for case in ("retry", "hedge")
        }
        assert prepared.conditions.keys() == {"retry", "hedge"}
        for trial in prepared.trials:
            trial.turn(seed=0)
            assert trial.figures().keys() == ({"call"} if trial.subject == "limit" else {"call", "added"})
