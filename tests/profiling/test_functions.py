"""What each function took: own and total, by endpoint and kind, whose code it is."""

import pytest
from hypothesis import given

from hasten.profiling import Frame, Profile, Stack
from hasten.profiling._functions import answered, callers, functions, is_library, short_place
from tests.profiling.profiles import (
    DIGEST,
    GET,
    LOAD,
    PLACE_ORDER,
    PROFILES,
    ROUTE,
    SEARCH,
    SEARCHED,
    of_ledger,
    of_yappi,
)


def test_own_and_total_seconds_are_told_apart() -> None:
    """A function's own time is where it was innermost, its total where it was on the stack; the first has most."""
    told = {(one.frame.function, one.kind): one for one in functions(of_ledger())}
    assert functions(of_ledger())[0] == told["httpx.AsyncClient.get", "waiting"]
    assert told["httpx.AsyncClient.get", "waiting"].own == pytest.approx(0.5)
    assert told["search", ""].own == 0.0
    assert told["search", ""].total == pytest.approx(0.7)
    assert told["Basket.load", "blocking"].own == pytest.approx(0.1)
    assert told["Basket.load", "blocking"].total == pytest.approx(0.3)
    assert told["Router.app", ""].total == pytest.approx(1.0)


def test_a_recursive_function_counts_once() -> None:
    """A function that stands on a stack several times has that stack's seconds once in its total."""
    walk = Frame("walk", "/srv/tree.py", 8)
    stack = Stack((walk, Frame("walk", "/srv/tree.py", 9), walk), 2.0, 3)
    (one,) = functions(Profile(engine="py-spy", clock="wall", stacks=(stack,)))
    assert (one.own, one.total, one.count) == (2.0, 2.0, 3)


def test_lines_of_a_function_are_added_up_to_the_one_with_most() -> None:
    """Samples at several lines of a function are one entry, at the line that took most."""
    stacks = tuple(Stack((Frame("f", "/srv/a.py", line),), line / 10) for line in (1, 5, 3))
    (one,) = functions(Profile(engine="py-spy", clock="wall", stacks=stacks))
    assert one.frame.line == 5
    assert one.own == pytest.approx(0.9)


def test_an_endpoint_has_its_own_figures() -> None:
    """With an endpoint only its stacks count, and its requests."""
    told = {one.frame for one in functions(of_ledger(), endpoint=PLACE_ORDER)}
    assert told == {ROUTE, LOAD, GET}
    assert answered(of_ledger(), endpoint=PLACE_ORDER) == 100
    assert answered(of_ledger()) == 200


def test_functions_that_an_engine_has_told_are_added_up_over_endpoints() -> None:
    """Without stacks the engine's own figures stand, those of several endpoints as one."""
    first, second = functions(of_yappi())
    assert (first.frame, first.own, first.count) == (DIGEST, 0.5, 120)
    assert first.total == pytest.approx(0.6)
    assert second.frame == LOAD
    assert functions(of_yappi(), endpoint=SEARCHED)[0].own == 0.4


@given(PROFILES)
def test_nothing_is_lost_or_counted_twice(profile: Profile) -> None:
    """The own seconds of all functions are the profile's, and no function's own are more than its total."""
    told = functions(profile)
    assert sum(one.own for one in told) == pytest.approx(profile.spent, abs=1e-6)
    if profile.stacks:
        assert all(one.own <= one.total * (1 + 1e-9) for one in told)


@pytest.mark.parametrize(
    ("file", "library", "short"),
    [
        ("/srv/orders/checks.py", False, "orders/checks.py:7"),
        ("/srv/env/lib/python3.12/site-packages/httpx/_client.py", True, "httpx/_client.py:7"),
        ("/usr/lib/python3/dist-packages/yaml/reader.py", True, "yaml/reader.py:7"),
        ("/usr/lib/python3.12/json/decoder.py", True, "json/decoder.py:7"),
        ("asyncio/base_events.py", True, "asyncio/base_events.py:7"),
        ("orders/checks.py", False, "orders/checks.py:7"),
        ("C:\\orders\\checks.py", False, "orders/checks.py:7"),
        ("<frozen importlib._bootstrap>", True, "<frozen importlib._bootstrap>:7"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", True, "x86_64-linux-gnu/libc.so.6:7"),
        ("", True, ""),
    ],
)
def test_own_code_is_told_from_libraries(file: str, *, library: bool, short: str) -> None:
    """Installed packages, the standard library and C are libraries; a place is shown without what all share."""
    frame = Frame("f", file, 7)
    assert is_library(frame) is library
    assert short_place(frame) == short


def test_a_librarys_time_is_due_to_the_code_that_calls_it() -> None:
    """For a library's function the caller that most of its time is due to is known; for own code there is none."""
    assert callers(of_ledger()) == {(GET.function, "", "waiting"): SEARCH}
    assert callers(of_ledger(), endpoint=PLACE_ORDER) == {(GET.function, "", "waiting"): LOAD}
