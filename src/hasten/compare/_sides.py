"""The two sides of a comparison: services that are started here, or URLs of services that run already.

Both are up together all the time, so that whatever changes on the machine meanwhile meets both; a started one is ended
by pid on every path.

A started side is suspended (SIGSTOP) while the other is measured. It keeps its memory and its connections, but its
timers, threads and consumers take no CPU of the core they share: what an idle side did would be charged to the other,
and a change that adds work in the background would slow both alike and be found on neither. What it has missed, it
makes up for when it is resumed (SIGCONT), in the lead-in of its round, which is driven and not counted. Peers that
expect a heartbeat within seconds would lose it: for their sake it can be let run.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hasten._core.errors import ConfigurationError
from hasten._core.processes import ServiceProcess, cores
from hasten.admin.live import Place, parse_place
from hasten.compare._cpu import CpuClock, MetricsCpu, clock_of_pid, clock_of_url
from hasten.load import Plan
from hasten.load._target import parse_target

# Else sets of strings lie in another order in each process, which makes one faster than its twin.
_HASH_SEED = "PYTHONHASHSEED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where and by which Python an app is served.

    Attributes:
      folder: None for the current one.
      environment: Variables added to this process's own.
    """

    folder: Path | None = None
    python: str = field(default_factory=lambda: sys.executable)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is compared.

    Attributes:
      name: What the comparison calls it: `main:app`, a URL, a revision.
      app: `module:app`, to be started; empty with a URL.
      url: Of a service that runs already; empty with an app.
      admin: Admin port of the service at the URL, which knows its CPU; None without one.
      start_timeout: Seconds in which a started one must listen.
    """

    name: str
    app: str = ""
    url: str = ""
    admin: Place | None = None
    workplace: Workplace = field(default_factory=Workplace)
    start_timeout: float = 60.0


class RunningSide:
    """A side that answers.

    Attributes:
      name: Which side it is, and what it is: messages call it so.
      url: Where it answers.
      clock: Of its CPU.
    """

    def __init__(self, name: str, url: str, clock: CpuClock, process: ServiceProcess | None = None) -> None:
        self.name = name
        self.url = url
        self.clock = clock
        self._process = process

    @property
    def started(self) -> bool:
        """It is a process of ours."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of its process; 0 for a URL."""
        return self._process.pid if self._process else 0

    def require_running(self) -> None:
        """Raise TargetUnreachable, with its last words, if it was started here and has ended."""
        if self._process is not None:
            self._process.require_running()

    def suspend(self) -> None:
        """Let a started side rest; a URL's cannot be."""
        if self._process is not None:
            self._process.suspend()

    def resume(self) -> None:
        """Let a started side go on."""
        if self._process is not None:
            self._process.resume()


def side_of(text: str, where: str, *, admin: str = "", token: str = "", start_timeout: float = 60.0) -> Side:
    """Return the side that a text names: `module:app`, or a URL.

    Args:
      where: What messages call the text's place: `BEFORE`.
      admin: Admin port of a URL's service, whose CPU it tells; empty for none.
      token: Of that port.
    Raises:
      ConfigurationError: it is neither, or an app has an admin port given.
    """
    place = parse_place(admin, token) if admin else None
    if "://" in text:
        parse_target(text, where)
        return Side(name=text, url=text, admin=place)
    if ":" not in text.strip(":"):
        raise ConfigurationError(f"{where} {text!r}", "neither module:app nor a URL", "for example main:app")
    if place is not None:
        remedy = "leave it out: what is started here is seen without it"
        raise ConfigurationError(f"--admin-{where.lower()}", f"{text} is no URL", remedy)
    return Side(name=text, app=text, start_timeout=start_timeout)


@contextmanager
def running(before: Side, after: Side, plan: Plan, scratch: Path, on: set[int] | None) -> Iterator[list[RunningSide]]:
    """Have both sides run within the block: yields before and after, in this order.

    Args:
      plan: That they are sent.
      scratch: Folder for their output.
      on: Cores of those that are started; None for all.
    Raises:
      ConfigurationError: an app's arguments are wrong, or it would be sent gRPC.
      TargetUnreachable: an app does not start, with its last words; an admin port does not answer.
    """
    sides = {"before": before, "after": after}
    for side in sides.values():
        _check(side, plan)
    with ExitStack() as stack:
        processes = {role: stack.enter_context(_started(role, side, scratch, on)) for role, side in sides.items()}
        yield [_answering(role, side, processes[role]) for role, side in sides.items()]


def _check(side: Side, plan: Plan) -> None:
    """Raise ConfigurationError if a side cannot be sent the plan."""
    if side.url:
        plan.with_target(side.url)
    elif plan.grpc:
        problem = "the plan calls gRPC, and hasten run serves HTTP"
        raise ConfigurationError(side.name, problem, "start both services and give their URLs, grpc://host:port")


@contextmanager
def running_alone(side: Side, plan: Plan, scratch: Path, on: set[int] | None) -> Iterator[RunningSide]:
    """Have one side run within the block; as `running`."""
    _check(side, plan)
    with _started("", side, scratch, on) as process:
        yield _answering("", side, process)


@contextmanager
def _started(role: str, side: Side, scratch: Path, on: set[int] | None) -> Iterator[ServiceProcess | None]:
    if not side.app:
        yield None
        return
    process = None
    try:
        with cores(on):
            process = ServiceProcess(
                _called(role, side.name),
                _command(side),
                environment={_HASH_SEED: os.environ.get(_HASH_SEED, "0"), **side.workplace.environment},
                log=scratch / f"{role or 'service'}.log",
                folder=side.workplace.folder,
            )
        yield process
    finally:
        if process is not None:
            process.stop()


def _command(side: Side) -> list[str]:
    """Return what serves an app; the admin port of one would be in the other's way, and costs a thread."""
    serve = [side.workplace.python, "-m", "hasten", "run", side.app]
    return [*serve, "--host", "127.0.0.1", "--port", "0", "--admin", "off"]


def _answering(role: str, side: Side, process: ServiceProcess | None) -> RunningSide:
    if process is not None:
        url = process.wait_listening(side.start_timeout)
        return RunningSide(process.name, url, clock_of_pid(process.pid), process)
    clock = MetricsCpu(side.admin) if side.admin else clock_of_url(side.url)
    return RunningSide(_called(role, side.url), side.url, clock)


def _called(role: str, name: str) -> str:
    return f"{role}: {name}" if role else name
