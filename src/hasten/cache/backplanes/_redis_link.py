"""One connection to Redis, and the commands of the protocol."""

from contextlib import suppress
from typing import Any, NamedTuple

from hasten.cache.backplanes._redis_place import Connection, Failures

MARK = ""
"""Stands in the set of members when nobody who has trust is missing; it is lost with the set."""


class Names(NamedTuple):
    """What a namespace's keys and channels are called; all in one slot of a Cluster.

    Attributes:
      members: Sorted set of the members, and MARK, each with the tick of its last beat (`_standing`).
      announcements: The channel of all.
    """

    members: str
    announcements: str

    @classmethod
    def of(cls, namespace: str) -> "Names":
        prefix = f"{{{namespace}}}:backplane"
        return cls(f"{prefix}:members", f"{prefix}:announcements")

    def channel_of(self, member: str) -> str:
        """Return the channel that one member alone hears: acknowledgements, and its own beats."""
        return f"{self.announcements}:{member}"


# Each script begins so. A member that is in the set with the tick that it remembers has been there without a break. If
# there are beats that are over by its clock, it has been there for longer than any trust lasts: whoever has trust has
# come in since, and is in the set. Whose last beat is over is removed, so that nobody waits for it.
_STANDS = """
local set, member, tick, over = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local stands = redis.call('ZSCORE', set, member) == tick
if stands and over ~= '0' then
  redis.call('ZREMRANGEBYSCORE', set, '-inf', over)
  redis.call('ZADD', set, tick, '')  -- MARK
end
local last = tonumber(redis.call('ZRANGE', set, -1, -1, 'WITHSCORES')[2] or 0)
"""
_BEAT = f"""{_STANDS}
redis.call('ZADD', set, last + 1, member)
redis.call('EXPIRE', set, ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return {{stands and 1 or 0, last + 1}}
"""
_ANNOUNCE = f"""{_STANDS}
redis.call('PUBLISH', ARGV[4], ARGV[5])
return {{stands and last or 0, redis.call('ZRANGE', set, 0, -1)}}
"""
_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
"""
_EXPIRES = 86_400  # seconds from the last beat of all until the set is thrown away, and its mark with it

Command = tuple[str | bytes | int, ...]


class Commands:
    """The commands of one member.

    Those that take `tick` and `over` do so from its `Standing`.
    """

    def __init__(self, names: Names, member: str) -> None:
        self._names = names
        self._member = member
        self._channel = names.channel_of(member)

    def beat(self, tick: int, over: int, message: bytes) -> Command:
        """Be in the set, and let us hear a message; the reply is whether we stood in it, and the tick of this beat."""
        names = self._names
        return ("EVAL", _BEAT, 1, names.members, self._member, tick, over, _EXPIRES, self._channel, message)

    def announce(self, tick: int, over: int, message: bytes) -> Command:
        """Publish to all; the reply is the last tick of all, 0 if we do not stand in the set, and what is in it."""
        return ("EVAL", _ANNOUNCE, 1, self._names.members, self._member, tick, over, self._names.announcements, message)

    def leave(self, message: bytes) -> Command:
        """Be in the set no more, and publish that to all."""
        return ("EVAL", _LEAVE, 1, self._names.members, self._member, self._names.announcements, message)

    def tell(self, member: str, message: bytes) -> Command:
        return ("PUBLISH", self._names.channel_of(member), message)

    def subscribe(self) -> Command:
        return ("SUBSCRIBE", self._names.announcements, self._channel)


class RedisLink:
    """A connection that is lost for good when it is lost.

    redis-py's own pub/sub connects and subscribes again by itself: nobody would hear that messages were missed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open(self) -> None:
        await self._connection.connect()

    async def send(self, *commands: Command) -> None:
        packed = self._connection.pack_commands(list(commands))
        await self._connection.send_packed_command(packed, check_health=False)

    async def read(self) -> Any:
        """Return the next reply or message, undecoded.

        Raises:
          RedisError: it is an error.
        """
        return await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)

    async def ask(self, commands: list[Command]) -> list[Any]:
        """Send commands together and return their replies.

        Raises:
          RedisError: one of them failed; the others' replies may be still to come: the link is of no use any more.
        """
        await self.send(*commands)
        return [await self.read() for _ in commands]

    async def close(self) -> None:
        with suppress(*Failures):  # what goes wrong with closing changes nothing
            await self._connection.disconnect(nowait=True)
