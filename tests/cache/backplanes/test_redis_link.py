"""What goes over a connection to Redis."""

import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from hasten.cache.backplanes._redis_link import _packed

_words = st.text() | st.binary() | st.integers()


@given(st.lists(_words, max_size=5))
def test_commands(words: list[str | bytes | int]) -> None:
    """A command of any words is written as redis-py would write it."""
    command = ("PUBLISH", *words)
    assert _packed(command) == b"".join(redis.asyncio.Connection().pack_command(*command))
