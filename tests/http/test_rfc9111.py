"""The cases of RFC 9111 and RFC 5861, through the whole layer over a small app."""

import pytest

from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.case import NEW, STALE, Case
from tests.http.cases import CASES
from tests.http.site import App, Site


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, loop_factory: LoopFactory) -> None:
    """The second request gets what the RFC's section says, and the app is asked only if it must be."""

    async def scenario() -> None:
        replies = [reply for reply in (case.reply, case.then, case.last) if reply is not None]
        site = Site(App(*replies), case.rule)
        await site.get(case.first)
        if case.between is not None:
            await site.get(case.between)
        calls = site.calls
        site.wait(case.passed)
        answer = await site.get(case.second)
        assert answer.done
        assert answer.status == case.status
        if case.expected == NEW:
            assert site.calls > calls
            assert answer.fields.get("x-cache", "miss") in {"miss", "bypass"}
        elif case.status != 504:
            assert answer.state == case.expected
            assert case.expected == STALE or site.calls == calls
        assert case.fields.items() <= answer.fields.items()
        assert not set(case.absent) & set(answer.fields)
        assert answer.body == (b"" if case.second.method == "HEAD" or answer.status in {304, 504} else b"body")

    run(loop_factory, scenario())


def test_there_are_enough_cases() -> None:
    """The table has cases of every part of the RFCs, each under a name of its own."""
    assert len({str(case) for case in CASES}) == len(CASES) >= 60
