"""Which worker is started, drained or killed when: any order of events, by a clock of its own."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hasten.workers._fleet import Action, Drain, Ended, Fleet, Kill, Release, Reloading, Say, Settled, Start, Timing

TIMING = Timing(start=60.0, drain=26.0, steady=10.0)


class World:
    """Processes that do as the fleet says, and a clock.

    Attributes:
      alive: What the fleet has started and not yet been told to have ended: its state as a process has it.
      told: All actions so far.
    """

    def __init__(self, size: int, *, patient: bool = False) -> None:
        self.now = 1000.0
        self.fleet = Fleet("shop", size, TIMING, lambda: 0.0, patient=patient)
        self.alive: dict[int, str] = {}
        self.slots: dict[int, int] = {}
        self.told: list[Action] = []
        self.do(self.fleet.begin(self.now))

    def do(self, actions: list[Action]) -> list[Action]:
        """Do what the fleet says; return it."""
        for action in actions:
            match action:
                case Start(worker, slot):
                    assert worker not in self.slots, "a number is used once"
                    self.alive[worker] = "starting"
                    self.slots[worker] = slot
                    self.fleet.spawned(worker, 100 + worker)
                case Drain(worker):
                    assert self.alive[worker] == "ready", "one that serves nobody has nothing to drain, nor again"
                    self.alive[worker] = "draining"
                case Kill(worker):
                    assert worker in self.alive
                    self.alive[worker] = "killed"
        self.told += actions
        return actions

    def ready(self, worker: int) -> list[Action]:
        """Have a worker be ready."""
        self.alive[worker] = "ready"
        return self.do(self.fleet.ready(worker, self.now))

    def exit(self, worker: int, how: str = "was ended by SIGKILL") -> list[Action]:
        """Have a worker end."""
        del self.alive[worker]
        return self.do(self.fleet.exited(worker, how, self.now))

    def tick(self, seconds: float) -> list[Action]:
        """Let time pass."""
        self.now += seconds
        return self.do(self.fleet.tick(self.now))

    def start_all(self) -> None:
        """Have all be ready that start."""
        while starting := self.those("starting"):
            self.ready(starting[0])

    def those(self, *states: str) -> list[int]:
        """Return the workers in these states."""
        return [worker for worker, state in self.alive.items() if state in states]

    def last(self) -> Ended | None:
        """Return the end, if it has come."""
        return next((action for action in self.told if isinstance(action, Ended)), None)


def said(actions: list[Action]) -> list[str]:
    return [action.line for action in actions if isinstance(action, Say)]


def test_the_first_worker_starts_alone() -> None:
    """What is wrong with the app is told once: the others start when the first one is ready."""
    world = World(3)
    assert world.told == [Start(0, 0)]
    assert world.ready(0) == [Start(1, 1), Start(2, 2)]
    assert world.ready(2) == []
    assert world.ready(1) == [Settled(3)]


def test_a_start_that_fails_ends_all() -> None:
    """Those that serve already drain, those that start are killed, and the error is that of the worker."""
    world = World(3)
    world.ready(0)
    world.fleet.failed(1, "no database", 3)
    assert world.exit(1) == [Drain(0, hand_over=False), Kill(2)]
    assert world.exit(2) == []
    assert world.exit(0) == [Ended(3, "no database")]


def test_a_start_that_takes_too_long() -> None:
    """It is killed, and that it was not ready is the error."""
    world = World(1)
    assert world.fleet.due() == world.now + 60
    assert world.tick(59) == []
    assert world.tick(1) == [Kill(0)]
    assert world.exit(0) == [Ended(3, "shop: not ready within 60.0 s")]


def test_crashes_in_a_row() -> None:
    """The first one is answered at once, the next ones later and later, and from the start when one has lasted."""
    world = World(1)
    world.ready(0)
    pauses = []
    for worker in range(8):
        assert world.those("ready") == [worker]
        world.exit(worker)
        due = world.fleet.due()
        assert due is not None
        pauses.append(due - world.now)
        world.tick(due - world.now)
        world.ready(worker + 1)
    assert pauses == [0, 0.5, 1, 2, 4, 8, 15, 15]
    world.now += 10
    assert said(world.exit(8)) == ["worker 108 was ended by SIGKILL; another one starts now"]


def test_crashes_in_a_row_leave_nobody_waiting() -> None:
    """While a slot has nobody for a while, its socket is closed: the kernel gives what comes to the others."""
    world = World(2)
    world.start_all()
    assert world.exit(1) == [Say("worker 101 was ended by SIGKILL; another one starts now")]
    assert world.tick(0) == [Start(2, 1)]
    line = Say("worker 102 was ended by SIGKILL; another one starts in 500 ms")
    assert world.exit(2) == [Release(1), line]
    assert world.tick(0.5) == [Start(3, 1)]


def test_a_rolling_restart_is_one_after_another() -> None:
    """A new worker, the old one drains when it is ready, and the next slot waits until that has ended."""
    world = World(2)
    world.start_all()
    assert world.do(world.fleet.replace_all(world.now)) == [Reloading(), Start(2, 0)]
    assert world.ready(2) == [Say("worker 102 takes the place of 100"), Drain(0, hand_over=True)]
    assert world.exit(0) == [Start(3, 1)]
    assert world.ready(3) == [Say("worker 103 takes the place of 101"), Drain(1, hand_over=True)]
    assert world.exit(1) == [Say("restarted: 2 workers"), Settled(2)]


def test_a_restart_that_fails_goes_no_further() -> None:
    """The old worker stays, so do those that were to follow, and the reload is over."""
    world = World(2)
    world.start_all()
    world.do(world.fleet.replace_all(world.now))
    world.fleet.failed(2, "does not import", 2)
    line = "the new worker 102 does not start: does not import; worker 100 stays"
    assert world.exit(2) == [Say(line), Settled(2)]
    assert world.those("ready") == [0, 1]
    assert world.fleet.due() is None


def test_a_second_request_replaces_what_the_first_has_started() -> None:
    """A worker that starts for a restart may have read the old code: another request replaces it, too."""
    world = World(1)
    world.start_all()
    world.do(world.fleet.replace_all(world.now))
    world.do(world.fleet.replace_all(world.now))
    world.ready(1)
    assert world.exit(0) == [Start(2, 0)]
    world.ready(2)
    assert world.exit(1) == [Say("restarted: 1 worker"), Settled(1)]


def test_the_old_one_crashes_while_it_is_replaced() -> None:
    """The new one starts already: no other one does."""
    world = World(1)
    world.start_all()
    world.do(world.fleet.replace_all(world.now))
    assert world.exit(0) == [Say("worker 100 was ended by SIGKILL; another one starts already")]
    assert world.ready(1) == [Say("restarted: 1 worker"), Settled(1)]


def test_workers_that_wear_out_at_once() -> None:
    """One is replaced at a time, and one that wears out sooner than the last one waits longer."""
    world = World(2)
    world.start_all()
    assert Start(2, 0) in world.do(world.fleet.worn(0, "too big", world.now))
    assert said(world.do(world.fleet.worn(1, "too big", world.now))) == ["worker 101 is replaced: too big"]
    world.ready(2)
    assert world.exit(0) == [Start(3, 1)]
    assert world.do(world.fleet.worn(2, "too big", world.now)) == []
    world.now += 0.5
    assert said(world.do(world.fleet.worn(2, "too big", world.now))) == ["worker 102 is replaced: too big"]


def test_one_that_does_not_drain_is_killed() -> None:
    """The line says after how long."""
    world = World(1)
    world.start_all()
    world.do(world.fleet.stop(world.now))
    assert world.tick(26) == [Say("worker 100 has not ended within 26.0 s: it is killed"), Kill(0)]
    assert world.exit(0) == [Ended()]


def test_a_second_stop() -> None:
    """It kills what is left, and the exit code is that of an interrupt."""
    world = World(2)
    world.start_all()
    assert world.do(world.fleet.stop(world.now)) == [Drain(0, hand_over=False), Drain(1, hand_over=False)]
    assert world.do(world.fleet.stop(world.now)) == [Kill(0), Kill(1)]
    world.exit(0)
    assert world.exit(1) == [Ended(130)]


def test_more_and_fewer() -> None:
    """A worker more gets a slot of its own; one less drains, and its slot is closed; the last one stays."""
    world = World(1)
    world.start_all()
    assert world.do(world.fleet.add(world.now)) == [Start(1, 1), Say("2 workers")]
    world.ready(1)
    assert world.do(world.fleet.remove(world.now)) == [Release(1), Drain(1, hand_over=False), Say("1 worker")]
    assert world.do(world.fleet.remove(world.now)) == []
    assert world.exit(1) == []
    assert world.fleet.size == 1


def test_patience_in_development() -> None:
    """A worker that does not start is told, and another one starts when something has changed."""
    world = World(1, patient=True)
    world.fleet.failed(0, "does not import", 2)
    assert world.exit(0) == [Say("does not import; waits for a change")]
    assert world.fleet.due() is None
    assert world.do(world.fleet.reload(world.now)) == [Start(1, 0)]
    assert world.ready(1) == [Settled(1)]
    assert world.do(world.fleet.reload(world.now)) == [Drain(1, hand_over=True)]
    assert world.exit(1) == [Start(2, 0)]
    assert world.do(world.fleet.reload(world.now)) == [Kill(2)]
    assert world.exit(2) == [Start(3, 0)]


Event = Callable[[float], list[Action]]


class Histories(RuleBasedStateMachine):
    """Any order of events; what must hold in each."""

    @initialize(size=st.integers(1, 4))
    def start(self, size: int) -> None:
        self.world = World(size)
        self.stops = 0

    def some(self, data: st.DataObject, *states: str) -> int:
        return data.draw(st.sampled_from(self.world.those(*states)))

    @precondition(lambda self: self.world.those("starting"))
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        self.world.ready(self.some(data, "starting"))

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), told=st.booleans())
    def exit(self, data: st.DataObject, *, told: bool) -> None:
        worker = self.some(data, "starting", "ready", "draining", "killed")
        if told and self.world.alive[worker] == "starting":
            self.world.fleet.failed(worker, "does not import", 2)
        self.world.exit(worker)

    @rule(seconds=st.sampled_from([0.1, 1.0, 12.0, 61.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule(event=st.sampled_from(["replace_all", "add", "remove", "reload"]))
    def ask(self, event: str) -> None:
        asked: Event = getattr(self.world.fleet, event)
        if event != "add" or self.world.fleet.size < 6:
            self.world.do(asked(self.world.now))

    @precondition(lambda self: self.world.those("ready"))
    @rule(data=st.data())
    def worn(self, data: st.DataObject) -> None:
        self.world.do(self.world.fleet.worn(self.some(data, "ready"), "worn", self.world.now))

    @rule()
    def stop(self) -> None:
        self.world.do(self.world.fleet.stop(self.world.now))

    @invariant()
    def slots_have_at_most_two(self) -> None:
        """A worker that serves or is to, one beside it; what drains comes on top."""
        taken = [self.world.slots[worker] for worker in self.world.those("starting", "ready")]
        assert all(taken.count(slot) <= 2 for slot in taken)

    @invariant()
    def one_is_replaced_at_a_time(self) -> None:
        taken = [self.world.slots[worker] for worker in self.world.those("starting", "ready")]
        assert sum(taken.count(slot) == 2 for slot in set(taken)) <= 1

    @invariant()
    def it_ends_when_all_have(self) -> None:
        if self.world.last() is not None:
            assert not self.world.alive
            assert self.world.fleet.due() is None

    def teardown(self) -> None:
        """Left alone, it gets all its workers; told to stop, it ends."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for _ in range(100):
            for worker in world.those("killed", "draining"):
                world.exit(worker)
            world.start_all()
            due = world.fleet.due()
            if due is not None:
                world.tick(max(0.0, due - world.now))
        if not any(isinstance(action, Ended) for action in world.told):
            assert len(world.those("ready")) == world.fleet.size
            world.do(world.fleet.stop(world.now))
            for worker in list(world.alive):
                world.exit(worker)
        assert world.last() is not None


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
