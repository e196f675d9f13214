"""What caches for Python get wrong, each fault with the tests that show it right here.

The faults were reproduced in aiocache, async-lru, cachebox, cashews, fastapi-cache2, Litestar, moka-py and theine, or
are what their users ask for in their trackers. Those that had no test yet have it below.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hasten.cache import Cache, Lease, Policy, codec_for
from hasten.cache._region import Region
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from tests.cache.backplanes.servers import RedisServer
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

ROOT = Path(__file__).parents[2]

IN_LOADING = {
    "one who waits for a load is cancelled, and takes the load and the others with it": (
        "cache/test_cached_cancellation.py::test_a_cancelled_follower_harms_nobody",
        "cache/test_flight.py::test_all_get_the_value",
    ),
    "the one who loads is cancelled, and everybody who waits with it": (
        "cache/test_cached_cancellation.py::test_a_cancelled_leader_makes_a_follower_lead",
        "cache/test_two_tiers.py::test_a_leader_that_is_cancelled",
        "cache/test_peers_faults.py::test_a_leader_that_is_cancelled_anywhere",
    ),
    "a value that was invalidated while it was loaded is kept": (
        "cache/test_region.py::test_invalidated_during_a_load",
        "cache/test_region.py::test_a_tag_invalidated_during_a_load",
        "cache/test_two_tiers.py::test_an_invalidation_overtakes_a_load_elsewhere",
        "cache/history/test_history.py::test_a_disturbed_history",
    ),
    "a value that was set while the old one was loaded is overwritten": (
        "cache/test_region.py::test_values_that_are_put",
        "cache/test_two_tiers.py::test_a_value_that_is_put",
    ),
    "50 concurrent misses make 50 loads": ("cache/test_cached.py::test_one_load_for_all_who_wait",),
    "each process loads a cold key for itself": (
        "cache/hot_key/test_hot_key.py::test_a_cold_key",
        "cache/hot_key/test_hot_key.py::test_a_key_that_expires",
        "cache/test_two_tiers.py::test_one_load_in_all_processes",
    ),
    "all who wait wait for a stale value's renewal": ("cache/test_region.py::test_stale_while_revalidate",),
    "an exception is one object for all who waited": (
        "cache/test_region.py::test_a_failure_is_not_kept",
        "cache/test_flight.py::test_each_gets_an_exception_of_its_own",
    ),
    "an exception is kept": ("cache/test_cached.py::test_errors_pass",),
    "None is never kept": ("cache/test_cached.py::test_none_is_a_value", "cache/test_region.py::test_loaded_once"),
}

IN_WHAT_IS_KEPT = {
    "f(1.0) and f(True) get the value of f(1)": (
        "cache/test_signature.py::test_types_are_told_apart_whatever_is_annotated",
        "cache/test_keys.py::test_types_and_values_are_told_apart",
    ),
    "what a caller changes, others get changed": (
        "cache/test_peers_faults.py::test_what_a_caller_changes",
        "http/test_hazards.py::test_who_changes_a_response_changes_no_other",
    ),
    "what has expired is never freed": (
        "cache/test_peers_faults.py::test_what_has_expired_makes_room",
        "cache/stores/test_redis.py::test_keys_in_redis",
    ),
    "the memory of other processes is not invalidated": (
        "cache/test_two_tiers.py::test_an_invalidation_reaches_every_process",
        "cache/backplanes/test_redis_processes.py::test_complete_means_everywhere",
    ),
    "values cannot be invalidated together": ("cache/test_region.py::test_tags",),
    "what is in the second tier is unpickled": (
        "cache/test_codec_pickle.py::test_pickle_without_key",
        "cache/test_codec_pickle.py::test_signature_is_checked_first",
    ),
    "a cached function gives no coroutine, and create_task refuses it": (
        "cache/test_cached.py::test_uses_of_a_coroutine_function",
    ),
}

IN_THE_SECOND_TIER = {
    "256 calls in flight are more than the pool has": (
        "cache/stores/test_redis.py::test_a_thousand_of_everything",
        "cache/stores/test_contract.py::test_everything_at_once",
    ),
    "a failure passes for a miss, and nobody sees it": (
        "cache/test_ill_second_tier.py::test_an_ill_store_is_gone_without",
    ),
    "a cancelled command leaves its reply to the next one (CVE-2023-28858, CVE-2023-28859)": (
        "cache/stores/test_contract_cancellation.py::test_cancelled_commands_leave_the_connection_fit",
        "cache/stores/test_redis_servers.py::test_impatient_callers_of_a_frozen_redis",
    ),
    "Redis Cluster and Sentinel are not taken": (
        "cache/stores/test_contract.py::test_value_comes_back",
        "cache/stores/test_redis_servers.py::test_sentinel",
    ),
    "connections and tasks outlive the cache, and its loop": ("cache/test_peers_faults.py::test_nothing_is_left",),
    "a package is imported that nobody has asked for": ("test_public_api.py::test_import_loads_no_optional_package",),
}

IN_RESPONSES = {
    "Alice's response is given to Bob": (
        "http/test_hazards.py::test_alice_is_not_bob",
        "http/test_hazards.py::test_alice_is_not_bob_at_the_same_time",
        "http/test_hazards.py::test_a_session_is_not_shared",
    ),
    "private and no-store are kept, and their Set-Cookie is replayed": (
        "http/test_hazards.py::test_private_and_its_cookie_are_not_replayed",
        "http/test_hazards.py::test_a_cookie_is_not_replayed_to_who_waits",
    ),
    "the tag of one URL makes another one say 304": ("http/test_hazards.py::test_a_tag_of_one_url_is_not_another_s",),
    "tags differ from process to process": ("http/test_hazards.py::test_a_tag_is_the_same_in_each_process",),
    "lists in If-None-Match are not understood": ("http/test_fields.py::test_tags_in_lists",),
    "a hit loses status and fields": ("http/test_hazards.py::test_a_hit_keeps_status_and_headers",),
    "Age says how long is left": ("http/test_layer.py::test_a_rule_s_time_begins_with_the_response",),
    "Cache-Control is not heeded": ("http/test_rfc9111.py::test_case",),
    "the key has no request fields": ("http/test_coalescing.py::test_fields_that_a_rule_names",),
    "concurrent misses all run the app": ("http/test_coalescing.py::test_one_run_for_all",),
    "bodies of any size are kept": ("http/test_streaming.py::test_too_large",),
    "keys are not bounded": ("http/test_layer.py::test_keys_are_bounded",),
    "nobody sees where a response came from": ("http/test_layer.py::test_the_name_of_the_field",),
}

FAULTS = {**IN_LOADING, **IN_WHAT_IS_KEPT, **IN_THE_SECOND_TIER, **IN_RESPONSES}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_has_its_test(fault: str) -> None:
    """Every test that is named exists."""
    for test in FAULTS[fault]:
        file, function = test.split("::")
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(), test


# ---- those that had none


class Slow(MemoryStore):
    """A store whose answers take passes of the loop, as those of a server do."""

    async def read(self, key: str, tags: Sequence[str] = ()) -> Any:
        await passes(2)
        return await super().read(key, tags)

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        await passes(2)
        return await super().lease(key, seconds, tags)


async def two_processes(store: MemoryStore) -> tuple[Region[Any], Region[Any]]:
    """Return the same region of two caches that share a store and trust their memory."""
    caches = [Cache("memory://", store, backplane=plane, timeout=60.0) for plane in memory_backplanes(2)]
    for cache in caches:
        await cache.get("joins the others")
    while not all(cache.statistics().trusted for cache in caches):
        await asyncio.sleep(0)
    ours, theirs = (cache.region("things", Policy(ttl=60.0, lease=60.0), codec=codec_for(Any)) for cache in caches)
    return ours, theirs


async def close(*regions: Region[Any]) -> None:
    for region in regions:
        await region.core.aclose()


def test_a_leader_that_is_cancelled_anywhere(loop_factory: LoopFactory) -> None:
    """Wherever a load is cancelled, another process need not wait until its lease ends by itself."""

    async def scenario(moment: int) -> None:
        ours, theirs = await two_processes(Slow())

        async def load() -> str:
            await passes(2)
            return "value"

        leader = asyncio.create_task(ours.load(7, load))
        await passes(moment)
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        async with asyncio.timeout(5.0):  # the lease is for 60
            assert await theirs.load(7, load) == "value"
        await close(ours, theirs)

    for moment in range(12):
        run(loop_factory, scenario(moment))


def test_what_a_caller_changes(loop_factory: LoopFactory) -> None:
    """What a caller changes in its value, no other process gets, the one who has loaded it included.

    Within a process a hit is the same object for all: callers that change values copy them before.
    """

    async def scenario() -> None:
        ours, theirs = await two_processes(MemoryStore())

        async def load() -> dict[str, int]:
            return {"price": 3}

        loaded = await ours.load(7, load)
        loaded["price"] = 0
        await passes()
        found = await theirs.load(7, load)
        assert found == {"price": 3}
        found["price"] = 0
        theirs.drop([7])
        assert await theirs.load(7, load) == {"price": 3}
        await close(ours, theirs)

    run(loop_factory, scenario())


def test_what_has_expired_makes_room(loop_factory: LoopFactory) -> None:
    """However many values have come and gone, the memory holds no more than it may."""

    async def scenario() -> None:
        cache = Cache("memory://?max_entries=100")
        region: Region[bytes] = cache.region("things", Policy(ttl=0.001))

        async def load() -> bytes:
            return bytes(100)

        for number in range(5_000):
            await region.load(number, load)
            assert cache.statistics().entries <= 100
        assert len(region.entries) <= 100
        await cache.aclose()

    run(loop_factory, scenario())


def test_nothing_is_left(own_redis: RedisServer, loop_factory: LoopFactory) -> None:
    """A cache that is closed leaves no task and no connection, and the next loop may have one like it."""

    async def scenario() -> None:
        async with aclosing(Cache("memory://", own_redis.url)) as cache:

            @cache.cached(ttl=60.0, tags=["all"])
            async def load(number: int) -> int:
                return number

            assert await asyncio.gather(*(load(number) for number in range(300))) == list(range(300))
            await load.invalidate(7)
            await cache.invalidate_tags("all")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    for _ in range(2):
        run(loop_factory, scenario())
        with own_redis.client() as client:
            while len(client.client_list()) > 1:  # the server hears of it in its own time
                pass
