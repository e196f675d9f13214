"""Functions that a request has run in threads, where there are several ledgers in a process."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

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
