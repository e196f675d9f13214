"""Remembers in Redis (6 or later), for a group whose consumers are in several processes: `RedisOnce()`.

What is in Redis, with `hasten:` as the prefix:

    hasten:once:GROUP:ID    the token of who handles the message, until its claim ends; `done` for `ttl` afterwards

A claim lives `lease` seconds and is renewed while its handler runs, so a lease may be short: what a killed consumer had
claimed is free again after one lease at most. The commands of one pass of the event loop go together.
"""

import asyncio
import secrets
from collections.abc import Sequence
from inspect import signature
from typing import Any

from hasten._core.errors import ConfigurationError, MissingDependency
from hasten.events._once import BUSY, DONE, Claim, Once, OnceUnavailable, Standing
from hasten.events.once.memory import checked_seconds

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.connection import AbstractConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as error:
    if error.name != "redis":
        raise
    raise MissingDependency("redis", "redis") from error

_PATIENCE = 2.0  # seconds for a connection, and for an answer
_TOKEN_BYTES = 12
_DONE = b"done"  # no token: those are hexadecimal

# Each may run twice (a connection was lost, and nobody knows whether before or after): the outcome is the same.
_CLAIM = """
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisOnce(Once):
    """Remembers what was handled in Redis, for all processes that use it.

    At least once: a consumer that is killed between its effect and the note leaves the effect without one. So does a
    Redis that loses its data, or fails over to a replica that has not heard of the note.

    A claim and its note cost 60 µs of CPU where 64 messages are under way, 560 alone: most of it is redis-py's.

    Args:
      redis: A URL of redis-py's (`redis://`, `rediss://`, `unix://`), or a client, which its owner closes.
      ttl: Seconds that a message is remembered; longer than the broker may deliver it again.
      lease: Seconds until what a killed consumer has claimed is free again. An event loop that stands still for longer
        loses its claims.
      prefix: Before all keys.
    Raises:
      ConfigurationError: a value is out of bounds, or the URL is wrong.
    """

    def __init__(
        self,
        redis: "str | Redis | RedisCluster" = "redis://localhost:6379/0",
        *,
        ttl: float = 86400.0,
        lease: float = 15.0,
        prefix: str = "hasten:",
    ) -> None:
        checked_seconds("RedisOnce", ttl=ttl, lease=lease)
        self._is_own = isinstance(redis, str)
        self._commands = _Commands(_client_at(redis) if isinstance(redis, str) else redis)
        self._ttl = _milliseconds(ttl)
        self._lease = _milliseconds(lease)
        self._pause = lease / 3
        self._prefix = f"{prefix}once:"
        self._held: dict[str, str] = {}
        self._renewing: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(self, group: str, message_id: str) -> Claim:
        name, token = self._name_of(group, message_id), secrets.token_hex(_TOKEN_BYTES)
        held = await self._commands.run("EVAL", _CLAIM, 1, name, token, self._lease)
        if held == token or held == token.encode():
            self._held[name] = token
            if self._renewing is None:
                self._renewing = asyncio.get_running_loop().call_later(self._pause, self._renew_soon)
            return Claim(Standing.OURS, token)
        return DONE if held in {_DONE, _DONE.decode()} else BUSY

    async def done(self, group: str, message_id: str, claim: Claim) -> None:
        name = self._forget(group, message_id, claim)
        await self._commands.run("SET", name, _DONE, "PX", self._ttl)

    async def release(self, group: str, message_id: str, claim: Claim) -> None:
        name = self._forget(group, message_id, claim)
        await self._commands.run("EVAL", _RELEASE, 1, name, claim.token)

    async def aclose(self) -> None:
        """Close the connections, if they are ours; claims that are left end by themselves."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        self._held.clear()
        await asyncio.gather(*self._tasks)
        if self._is_own:
            await self._commands.client.aclose()

    def _name_of(self, group: str, message_id: str) -> str:
        return f"{self._prefix}{group}:{message_id}"

    def _forget(self, group: str, message_id: str, claim: Claim) -> str:
        """Renew a claim no longer; return its key."""
        name = self._name_of(group, message_id)
        if self._held.get(name) == claim.token:
            del self._held[name]
        return name

    # ---- one timer for all claims, none while there are none

    def _renew_soon(self) -> None:
        self._renewing = None
        if self._held:
            loop = asyncio.get_running_loop()
            self._renewing = loop.call_later(self._pause, self._renew_soon)
            task = loop.create_task(self._renew(list(self._held.items())))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _renew(self, held: list[tuple[str, str]]) -> None:
        """Make claims last longer; one that cannot be ends, and its message may be handled twice."""
        renewals = (self._commands.run("EVAL", _RENEW, 1, name, token, self._lease) for name, token in held)
        await asyncio.gather(*renewals, return_exceptions=True)


class _Commands:
    """Sends what is asked for in one pass of the event loop in one round trip."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        self.client = client
        self._waiting: list[tuple[Sequence[Any], asyncio.Future[Any]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, *command: Any) -> "asyncio.Future[Any]":
        """Return the answer to a command.

        Raises:
          OnceUnavailable: when it is awaited, if Redis does not answer, or refuses.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._send)
        return answer

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._answer(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[tuple[Sequence[Any], "asyncio.Future[Any]"]]) -> None:
        try:
            # Reads and scripts are sent as they are, so that a cluster's client may send each to its node.
            pipeline: Any = self.client.pipeline(transaction=False)
            for command, _ in batch:
                pipeline.execute_command(*command)
            answers: Sequence[Any] = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # of redis-py, of the network
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # who asked was cancelled
                continue
            if isinstance(answer, Exception):
                failure = OnceUnavailable(f"{type(answer).__name__}: {answer}")
                failure.__cause__ = answer
                future.set_exception(failure)
            else:
                future.set_result(answer)


def _client_at(url: str) -> Redis:
    # Without `driver_info`, for which redis-py 8 reads its version from disk for every connection, in the loop; older
    # ones (from 5.3) do not know it. RESP2, because RESP3 takes a round trip more to connect, and brings nothing here.
    silent: dict[str, Any] = (
        {"driver_info": None} if "driver_info" in signature(AbstractConnection.__init__).parameters else {}
    )
    try:
        return Redis.from_url(
            url,
            protocol=2,
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 1),  # a connection that Redis has closed meanwhile costs no attempt of a message
            **silent,
        )
    except ValueError as error:  # its message has no password
        raise ConfigurationError("RedisOnce", str(error), "redis://user:password@host:6379/0") from None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
