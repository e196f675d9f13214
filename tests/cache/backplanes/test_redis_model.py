"""The scripts on a real Redis against a model: nobody who has trust is forgotten, whatever is lost and whoever is late.

Time is the model's own. Members take their commands from `Commands` and their knowledge from `Standing`, as the outbox
does; only the moments are given to them.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from hasten.cache.backplanes._redis_link import NO_MEMBER, Command, Commands, Names, mark_of
from hasten.cache.backplanes._standing import Standing
from tests.cache.backplanes.servers import RedisServer

TRUST, PATIENCE = 1.0, 1.05
_members = st.integers(0, 2)
_seconds = st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.99])


class Member:
    """A process, as far as the set is concerned.

    Attributes:
      trusted_until, alone_until: By the model's time.
    """

    def __init__(self, name: str, names: Names, mark: str) -> None:
        self.name = name
        self.commands = Commands(names, name, mark)
        self.trusted_until = self.alone_until = 0.0
        self.standing = Standing(PATIENCE)

    def begin_anew(self) -> None:
        """Have a new session, as far as it knows."""
        self.standing = Standing(PATIENCE)


class Set(RuleBasedStateMachine):
    """Members that beat, announce, leave, stand still, lose their connections; a Redis that is started again."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.now = 0.0
        self.late: list[Command] = []

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        self.names = Names.of("model")
        self.run = 1
        self.members = [Member(f"m{number}", self.names, self.mark) for number in range(3)]

    @property
    def mark(self) -> str:
        return mark_of(str(self.run))

    @rule(seconds=_seconds)
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule(member=_members, before=_seconds, after=_seconds)
    def beat(self, member: int, before: float, after: float) -> None:
        """It takes a while until Redis has the command, and until the member has the reply."""
        self._beat(self.members[member], before, after)

    @rule(seconds=st.floats(0.2, 0.4))
    def all_beat(self, seconds: float) -> None:
        """As when nothing is wrong."""
        self.now += seconds
        for member in self.members:
            self._beat(member, 0.0, 0.0)

    @rule()
    def all_beat_for_long(self) -> None:
        """Then Redis knows everybody."""
        for _ in range(5):
            self.all_beat(0.3)

    @rule(member=_members, before=_seconds, after=_seconds)
    def announce(self, member: int, before: float, after: float) -> None:
        """Whoever has trust when the announcement is taken must be waited for: by its name, or as a stranger.

        Whoever is alone then must be waited for as a stranger.
        """
        ours = self.members[member]
        if not ours.standing.tick:
            return
        command = ours.commands.announce(ours.standing.tick, ours.standing.over(self.now), b"")
        self.now += before
        last_tick, found = self.client.execute_command(*command)
        waited_for = {name.decode() for name in found}
        trusting = {one.name for one in self.members if one is not ours and self.now < one.trusted_until}
        assert self.mark not in waited_for or trusting <= waited_for
        assert self.mark not in waited_for or all(self.now >= one.alone_until for one in self.members)
        self.now += after
        if last_tick:
            ours.standing.saw(last_tick, self.now)

    @rule(member=_members)
    def announce_after_waiting(self, member: int) -> None:
        """Whoever has been waited out is not waited for again, unless it has beaten since."""
        ours = self.members[member]
        if not ours.standing.tick:
            return
        last_tick, found = self._announce(ours)
        if not last_tick:
            return
        silent = {name.decode() for name in found if not name.startswith(NO_MEMBER.encode())} - {ours.name}
        for _ in range(2):  # it is not silent itself
            self.now += PATIENCE / 2
            self._beat(ours, 0.0, 0.0)
        self.now += 0.001  # what is waited for is not shorter than its period
        _, found = self._announce(ours)
        assert silent.isdisjoint(name.decode() for name in found)
        assert self.mark.encode() in found

    @rule(member=_members)
    def leave(self, member: int) -> None:
        """It distrusts before it says so."""
        ours = self.members[member]
        ours.trusted_until = 0.0
        ours.begin_anew()
        self.client.execute_command(*ours.commands.leave(b""))

    @rule(member=_members)
    def lose_the_connection(self, member: int) -> None:
        """It must not trust any more, and has said nothing; it does not know its place when it comes back."""
        self.members[member].trusted_until = 0.0
        self.members[member].begin_anew()

    @rule(member=_members)
    def leave_a_beat_behind(self, member: int) -> None:
        """It loses its connection behind a beat that Redis may take much later."""
        ours = self.members[member]
        self.late.append(ours.commands.beat(ours.standing.tick, ours.standing.over(self.now), b""))
        self.lose_the_connection(member)

    @rule()
    def take_what_is_late(self) -> None:
        for command in self.late:
            self.client.execute_command(*command)
        self.late.clear()

    @rule()
    def lose_the_data(self) -> None:
        """Connections stand, members trust."""
        self.client.flushall()

    @rule(frozen=_members, seconds=_seconds, keeps_data=st.booleans())
    def restart(self, frozen: int, seconds: float, *, keeps_data: bool) -> None:
        """Connections are lost, and all but one, which stands still, find that Redis is away until the last moment."""
        self.now += seconds
        self.late.clear()
        self.run += 1
        if not keeps_data:
            self.client.flushall()
        for number, member in enumerate(self.members):
            member.begin_anew()
            member.commands.mark = self.mark
            if number != frozen:
                member.trusted_until = 0.0
                member.alone_until = self.now + TRUST

    @rule(member=_members, keeps_data=st.booleans())
    def announce_after_a_restart(self, member: int, *, keeps_data: bool) -> None:
        """The first one that has joined again, while the others are alone."""
        self.restart(member, 0.0, keeps_data=keeps_data)
        self._beat(self.members[member], 0.0, 0.0)
        self.announce(member, 0.0, 0.0)

    def _beat(self, member: Member, before: float, after: float) -> None:
        sent, standing = self.now, member.standing
        command = member.commands.beat(standing.tick, standing.over(sent), b"")
        self.now += before
        stood, tick = self.client.execute_command(*command)
        self.now += after
        standing.beaten(tick, self.now, stood=bool(stood))
        member.trusted_until = max(member.trusted_until, sent + TRUST)
        member.alone_until = 0.0

    def _announce(self, member: Member) -> Any:
        standing = member.standing
        reply = self.client.execute_command(*member.commands.announce(standing.tick, standing.over(self.now), b""))
        if reply[0]:
            standing.saw(reply[0], self.now)
        return reply


def test_set_of_members(server: RedisServer) -> None:
    """Who has trust is waited for, and who has been waited out is not waited for again; see the rules of `Set`."""
    with server.client() as client:

        class OfThisRedis(Set):
            def __init__(self) -> None:
                super().__init__(client)

        run_state_machine_as_test(
            OfThisRedis,
            settings=settings(
                max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )


def test_tick_of_one_that_has_left(server: RedisServer) -> None:
    """No beat gets the tick that another had: who knows that one to be long over would take this one for it."""
    with server.client() as client:
        model = Set(client)
        model.begin()
        leaving, quiet, ours = range(3)
        for _ in range(6):
            model.all_beat(0.3)
        model.beat(leaving, 0.0, 0.0)
        model.announce(ours, 0.0, 0.0)
        model.leave(leaving)
        model.wait(0.09)
        model.beat(quiet, 0.0, 0.0)
        for _ in range(3):
            model.beat(ours, 0.0, 0.3)
        model.wait(0.07)
        assert model.now < model.members[quiet].trusted_until
        model.announce(ours, 0.0, 0.0)
