"""Single-flight: followers of one load."""

import asyncio
from typing import Any

import pytest

from hasten.cache._flight import Flight, LeaderGone, NotShared, own_copy
from tests.cache.running import run
from tests.conftest import LoopFactory


class Picky(Exception):
    """An error that cannot be copied by its arguments."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


def test_all_get_the_value(loop_factory: LoopFactory) -> None:
    """Each follower gets the leader's value, and one that is cancelled harms none."""

    async def scenario() -> None:
        flight: Flight[str] = Flight()
        followers = [asyncio.create_task(flight.join()) for _ in range(3)]
        await asyncio.sleep(0)
        followers[1].cancel()
        await asyncio.sleep(0)
        flight.succeed("value")
        results = await asyncio.gather(*followers, return_exceptions=True)
        assert [results[0], results[2]] == ["value", "value"]
        assert isinstance(results[1], asyncio.CancelledError)

    run(loop_factory, scenario())


@pytest.mark.parametrize("error", [ValueError("wrong"), Picky(3, reason="no")], ids=["plain", "picky"])
def test_each_gets_an_exception_of_its_own(error: Exception, loop_factory: LoopFactory) -> None:
    """No two followers get the same object, and what they get says where it came from."""

    async def scenario() -> list[Any]:
        flight: Flight[str] = Flight()
        followers = [asyncio.create_task(flight.join()) for _ in range(3)]
        await asyncio.sleep(0)
        flight.fail(error)
        return await asyncio.gather(*followers, return_exceptions=True)

    raised = run(loop_factory, scenario())
    assert {type(each) for each in raised} == {type(error)}
    assert {str(each) for each in raised} == {str(error)}
    assert len({id(each) for each in [*raised, error]}) == 4
    assert all(each.__cause__ is error for each in raised)


@pytest.mark.parametrize("signal", [LeaderGone, NotShared])
def test_signals_pass(signal: type[Exception], loop_factory: LoopFactory) -> None:
    """What tells followers to load themselves comes as it is."""

    async def scenario() -> None:
        flight: Flight[str] = Flight()
        follower = asyncio.create_task(flight.join())
        await asyncio.sleep(0)
        flight.fail(signal())
        with pytest.raises(signal):
            await follower

    run(loop_factory, scenario())


def test_a_failure_that_nobody_waits_for(loop_factory: LoopFactory) -> None:
    """It is no error of the loop's when the last follower has gone before the load fails."""
    told: list[Any] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        flight: Flight[str] = Flight()
        follower = asyncio.create_task(flight.join())
        await asyncio.sleep(0)
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        flight.fail(ValueError("late"))

    run(loop_factory, scenario())
    assert told == []


class Only(Exception):
    """An error of which there is one."""

    made: "Only | None" = None

    def __new__(cls) -> "Only":
        if cls.made is not None:
            raise TypeError("there is one")
        cls.made = super().__new__(cls)
        return cls.made


def test_what_cannot_be_made_again() -> None:
    """It is given as it is."""
    error = Only()
    assert own_copy(error) is error


def test_what_a_copy_keeps() -> None:
    """Arguments, attributes and notes are the same, and changing one's changes no other's."""
    error = OSError(2, "no such file", "name")
    error.add_note("while loading")
    twin = own_copy(error)
    assert isinstance(twin, FileNotFoundError)
    assert (twin.errno, twin.filename, twin.__notes__) == (2, "name", ["while loading"])
    twin.add_note("mine")
    assert error.__notes__ == ["while loading"]
