"""One connection to Redis, and the commands of the protocol."""

from contextlib import suppress
from typing import Any, NamedTuple

from hasten.cache.backplanes._redis_place import Connection, Failures


class Names(NamedTuple):
    """What a namespace's keys and channels are called; all in one slot of a Cluster.

    Attributes:
      members: Sorted set: each member, scored with the server's time of its last heartbeat.
      unsettled: Exists while there may be members that are not in the set.
      announcements: The channel of all.
    """

    members: str
    unsettled: str
    announcements: str

    @classmethod
    def of(cls, namespace: str) -> "Names":
        prefix = f"{{{namespace}}}:backplane"
        return cls(f"{prefix}:members", f"{prefix}:unsettled", f"{prefix}:announcements")

    def acknowledgements(self, member: str) -> str:
        """Return the channel on which a member hears who has applied what it announced."""
        return f"{self.announcements}:{member}"


# A member that was in the set once and is not any more, because Redis has lost its data or we were away for too long,
# says that it may not be the only one. The set ends some time after the last member.
_REGISTER = """
local time = redis.call('TIME')
local added = redis.call('ZADD', KEYS[1], time[1] + time[2] / 1000000, ARGV[1])
redis.call('EXPIRE', KEYS[1], 2 * ARGV[3])
if added == 1 and ARGV[2] == '1' then redis.call('SET', KEYS[2], '1', 'PX', ARGV[4]) end
return added
"""

# Whoever is removed may only have been cut off, and come back just now: Redis itself may have stood still.
_ANNOUNCE = """
redis.call('PUBLISH', ARGV[1], ARGV[2])
local now = redis.call('TIME')[1]
if redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3]) > 0 then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
end
return {redis.call('EXISTS', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, -1)}
"""

Command = tuple[str | bytes | int, ...]


class Commands:
    """The commands of one member.

    Args:
      forget: Whole seconds without a heartbeat after which a member is removed.
      settle: Seconds in which members that Redis has lost come back.
    """

    def __init__(self, names: Names, member: str, forget: int, settle: float) -> None:
        self._names = names
        self._member = member
        self._periods = (forget, round(settle * 1000))

    def register(self, *, was_member: bool) -> Command:
        """Be in the set; the reply is 1 if we were not."""
        keys = (self._names.members, self._names.unsettled)
        return ("EVAL", _REGISTER, 2, *keys, self._member, int(was_member), *self._periods)

    def leave(self) -> Command:
        return ("ZREM", self._names.members, self._member)

    def announce(self, message: bytes) -> Command:
        """Publish to all; the reply says whether the set may lack some, and the set, as of the same moment."""
        keys = (self._names.members, self._names.unsettled)
        return ("EVAL", _ANNOUNCE, 2, *keys, self._names.announcements, message, *self._periods)

    def acknowledge(self, member: str, message: bytes) -> Command:
        return ("PUBLISH", self._names.acknowledgements(member), message)

    def subscribe(self) -> Command:
        return ("SUBSCRIBE", self._names.announcements, self._names.acknowledgements(self._member))


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
          RedisError: one of them failed; the others' replies may still be to come: the link is of no use any more.
        """
        await self.send(*commands)
        return [await self.read() for _ in commands]

    async def close(self) -> None:
        with suppress(*Failures):  # what goes wrong with closing changes nothing
            await self._connection.disconnect(nowait=True)
