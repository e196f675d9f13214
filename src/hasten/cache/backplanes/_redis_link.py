"""One connection to Redis, and the commands of the protocol."""

import re
import secrets
from contextlib import suppress
from typing import Any, NamedTuple

from hasten.cache.backplanes._redis_place import Connection, Failures, NotAllowed

NO_MEMBER = ":"
"""What begins so in the set of members is none."""
LAST = f"{NO_MEMBER}last"
"""Stands in the set with the tick of the last beat of all: no tick is given twice, whoever leaves."""


def mark_of(run: str) -> str:
    """Return what stands in the set when nobody who has trust is missing, as far as one run of the server goes.

    A server that starts with a set from before has taken no announcements for a while, and may have lost its last
    writes: the mark that it finds is not its own.
    """
    return f"{NO_MEMBER}mark:{run}"


class Names(NamedTuple):
    """What a namespace's keys and channels are called; all in one slot of a Cluster.

    Attributes:
      members: Sorted set of the members, each with the tick of its last beat (`_standing`); and LAST, and a mark.
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
local set, member, tick, over, mark = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stands = redis.call('ZSCORE', set, member) == tick
if stands and over ~= '0' then
  redis.call('ZREMRANGEBYSCORE', set, '-inf', over)
  redis.call('ZADD', set, tick, mark)
end
"""
_BEAT = f"""{_STANDS}
local last = tonumber(redis.call('ZADD', set, 'INCR', 1, '{LAST}'))
redis.call('ZADD', set, last, member)
redis.call('EXPIRE', set, ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return {{stands and 1 or 0, last}}
"""
_ANNOUNCE = f"""{_STANDS}
redis.call('PUBLISH', ARGV[5], ARGV[6])
return {{stands and tonumber(redis.call('ZSCORE', set, '{LAST}')) or 0, redis.call('ZRANGE', set, 0, -1)}}
"""
_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
"""
_EXPIRES = 86_400  # seconds from the last beat of all until the set is thrown away, and the mark with it

Command = tuple[str | bytes | int, ...]


class Commands:
    """The commands of one member.

    Those that take `tick` and `over` do so from its `Standing`.

    Attributes:
      mark: Of the server's run (`mark_of`), which is known when we are connected.
    """

    def __init__(self, names: Names, member: str, mark: str = "") -> None:
        self.mark = mark
        self._names = names
        self._member = member
        self._channel = names.channel_of(member)

    def beat(self, tick: int, over: int, message: bytes) -> Command:
        """Be in the set, and let us hear a message; the reply is whether we stood in it, and the tick of this beat."""
        key, ours = self._names.members, (self._member, tick, over, self.mark)
        return ("EVAL", _BEAT, 1, key, *ours, _EXPIRES, self._channel, message)

    def announce(self, tick: int, over: int, message: bytes) -> Command:
        """Publish to all; the reply is the last tick of all, 0 if we do not stand in the set, and what is in it."""
        names = self._names
        ours = (self._member, tick, over, self.mark)
        return ("EVAL", _ANNOUNCE, 1, names.members, *ours, names.announcements, message)

    def leave(self, message: bytes) -> Command:
        """Be in the set no more, and publish that to all."""
        return ("EVAL", _LEAVE, 1, self._names.members, self._member, self._names.announcements, message)

    def tell(self, member: str, message: bytes) -> Command:
        return ("PUBLISH", self._names.channel_of(member), message)

    def subscribe(self) -> Command:
        return ("SUBSCRIBE", self._names.announcements, self._channel)


def _packed(command: Command) -> bytes:
    """Return a command as Redis reads it; redis-py's own way takes three times as long."""
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class RedisLink:
    """A connection that is lost for good when it is lost.

    redis-py's own pub/sub connects and subscribes again by itself: nobody would hear that messages were missed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open(self) -> None:
        await self._connection.connect()

    async def run_id(self) -> str:
        """Return what tells this run of the server from those before and after it.

        Where INFO is not allowed it is a text of our own, so that we know of no run but from when we are connected.
        """
        try:
            (information,) = await self.ask([("INFO", "server")])
        except NotAllowed:
            information = b""
        found = re.search(rb"^run_id:(\w+)", information, re.MULTILINE)
        return found[1].decode() if found else secrets.token_hex(20)

    async def send(self, *commands: Command) -> None:
        await self._connection.send_packed_command(b"".join(map(_packed, commands)), check_health=False)

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
