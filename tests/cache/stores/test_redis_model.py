"""Leases, values and tags in a real Redis against the model, in histories that hypothesis makes up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import uuid4

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hasten.cache import Read
from hasten.cache.stores.memory import MemoryStore
from hasten.cache.stores.redis import redis_store
from tests.cache.stores.conftest import PATIENT

Result = TypeVar("Result")
KEYS = st.sampled_from(["a", "b"])
TAGS = st.lists(st.sampled_from(["x", "y", "z"]), max_size=3)
LONG = 60.0
Tokens = tuple[bytes, bytes]
"""The model's and Redis's token of one lease."""


class LeasesAndTags(RuleBasedStateMachine):
    """Whatever is done to both, both answer the same; versions differ, but not in their order."""

    tokens = Bundle("tokens")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.prefix = f"{uuid4().hex}:"
        self.runner = asyncio.Runner()
        self.model = MemoryStore()
        self.real = redis_store(url, prefix=self.prefix)
        self.real.timeout = PATIENT
        self.server = redis.Redis.from_url(url, protocol=2)
        self.versions: dict[str, dict[int, int]] = {}

    def teardown(self) -> None:
        self.runner.run(self.real.aclose())
        self.runner.close()
        self.server.close()

    def both(self, model: Coroutine[Any, Any, Result], real: Coroutine[Any, Any, Result]) -> tuple[Result, Result]:
        async def one_after_the_other() -> tuple[Result, Result]:
            return await model, await real

        return self.runner.run(one_after_the_other())

    def compare(self, tags: list[str], model: tuple[int, ...], real: tuple[int, ...]) -> None:
        """See that a version of the model's always means the same one of Redis's, and that both grow together."""
        assert len(model) == len(real) == len(tags)
        for tag, of_model, of_real in zip(tags, model, real, strict=True):
            known = self.versions.setdefault(tag, {0: 0})
            assert known.setdefault(of_model, of_real) == of_real
            assert sorted(known.values()) == [known[version] for version in sorted(known)]
            assert len(set(known.values())) == len(known)

    @rule(key=KEYS, tags=TAGS)
    def read(self, key: str, tags: list[str]) -> None:
        async def read() -> Read:
            return await self.real.read(key, tags)  # in the loop, since it asks at once

        model, real = self.both(self.model.read(key, tags), read())
        assert model.payload == real.payload
        self.compare(tags, model.versions, real.versions)

    @rule(key=KEYS, tags=TAGS, target=tokens)
    def lease(self, key: str, tags: list[str]) -> Tokens:
        model, real = self.both(self.model.lease(key, LONG, tags), self.real.lease(key, LONG, tags))
        if model is None or real is None:
            assert model is real
            return b"never", b"never"
        self.compare(tags, model.versions, real.versions)
        return model.token, real.token

    @rule(key=KEYS, payload=st.binary(max_size=20), token=st.none() | tokens)
    def write(self, key: str, payload: bytes, token: Tokens | None) -> None:
        model, real = token or (None, None)
        assert (
            len({*self.both(self.model.write(key, payload, LONG, model), self.real.write(key, payload, LONG, real))})
            == 1
        )

    @rule(key=KEYS, token=tokens)
    def release(self, key: str, token: Tokens) -> None:
        self.both(self.model.release(key, token[0]), self.real.release(key, token[1]))

    @rule(keys=st.lists(KEYS, max_size=3), tags=TAGS)
    def invalidate(self, keys: list[str], tags: list[str]) -> None:
        self.compare(tags, *self.both(self.model.invalidate(keys, tags), self.real.invalidate(keys, tags)))

    @rule(key=KEYS)
    def evict_lease(self, key: str) -> None:
        """Redis has thrown a lease out."""
        self.server.delete(f"{self.prefix}{{k:{key}}}:lease")
        self.model._leases.pop(key, None)

    @rule(key=KEYS)
    def evict_value(self, key: str) -> None:
        """Redis has thrown a value out."""
        self.server.delete(f"{self.prefix}{{k:{key}}}")
        self.model._values.pop(key, None)

    @rule(tag=st.sampled_from(["x", "y", "z"]))
    def evict_tag(self, tag: str) -> None:
        """Redis has thrown a tag out."""
        self.server.delete(f"{self.prefix}{{t:{tag}}}")
        self.model._versions.pop(tag, None)

    @invariant()
    def nothing_lives_for_ever(self) -> None:
        names = [f"{{k:{key}}}{end}" for key in "ab" for end in ("", ":lease")] + [f"{{t:{tag}}}" for tag in "xyz"]
        asked = self.server.pipeline(transaction=False)  # one round trip: this is asked after each step
        for name in names:
            asked.pttl(self.prefix + name)
        assert -1 not in asked.execute()  # there, and without an end


def test_redis_does_what_the_model_does(redis_url: str) -> None:
    """In 60 histories of leases, writes, releases, invalidations and evictions both answer the same."""

    class OverThisRedis(LeasesAndTags):
        def __init__(self) -> None:
            super().__init__(redis_url)

    run_state_machine_as_test(
        OverThisRedis,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
