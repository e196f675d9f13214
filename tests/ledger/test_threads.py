"""Functions that a request has run in threads, where there are several ledgers in a process."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from hasten.ledger._records import REQUEST, RequestRecord
from hasten.ledger._sites import SiteTable
from hasten.ledger._threads import ThreadTimer


def work() -> int:
    return 7


def test_a_request_is_noted_by_its_own_ledger_alone() -> None:
    """Each function is noted once, under a site of the ledger that records the request, whoever wrapped last."""
    tables = [SiteTable() for _ in range(3)]
    timers = [ThreadTimer(table) for table in tables]
    for timer in timers:
        timer.install()
    try:
        for table in tables:
            table.function(copy_context)  # so that their numbers differ
            request = RequestRecord(0.0, table)
            with ThreadPoolExecutor(1) as pool:
                context = copy_context()
                context.run(REQUEST.set, request)
                assert context.run(pool.submit, work).result() == 7
            ((_, site, *_),) = request.threads
            assert table.sites[site].function.endswith("work")
    finally:
        for timer in reversed(timers):
            timer.remove()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (functools.partial(copy_context().run, work), ()),
        (copy_context().run, (work,)),
        (functools.partial(copy_context().run), (work,)),
        (functools.partial(work), ()),
    ],
    ids=["asyncio.to_thread", "context.run", "partial of context.run", "partial"],
)
def test_what_a_context_runs_is_named(function: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    """A function that is handed over to be run in a context is named, not the context."""
    table = SiteTable()
    timer = ThreadTimer(table)
    timer.install()
    try:
        request = RequestRecord(0.0, table)
        with ThreadPoolExecutor(1) as pool:
            context = copy_context()
            context.run(REQUEST.set, request)
            assert context.run(pool.submit, function, *arguments).result() == 7
        ((_, site, *_),) = request.threads
        assert table.sites[site].function == "work"
    finally:
        timer.remove()
