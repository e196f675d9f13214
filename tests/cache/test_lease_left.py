"""A lease does not outlive its load, whatever has become of the second tier meanwhile."""

import asyncio

import pytest

from hasten.cache import Loaded, StoreError
from tests.cache.processes import Processes, with_two
from tests.cache.running import passes
from tests.cache.test_region import Source
from tests.conftest import LoopFactory


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kept", [True, False])
def test_the_store_was_found_ill_during_the_load(loop_factory: LoopFactory, *, kept: bool, fails: bool) -> None:
    """What was loaded is not written while the store is thought to be ill, but others need not wait for it."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.close()
        source.value = Loaded(value="value", store=kept)
        source.error = OSError("no") if fails else None
        leader = asyncio.create_task(processes.ours.load(7, source.load))
        await passes()
        processes.store.error = StoreError("memory", "no")
        assert await processes.ours.get(8) is None
        second = processes.ours.second
        assert second is not None
        assert not second.breaker.closed
        processes.store.error = None
        source.open()
        await asyncio.wait([leader])
        assert isinstance(leader.exception(), OSError) == fails
        await passes()
        assert await processes.store.lease(processes.ours.text_of(7), 1.0) is not None

    with_two(loop_factory, scenario)
