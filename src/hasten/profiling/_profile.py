"""What a profile is, whichever engine has made it: stacks with what was spent in them, or functions alone.

    Profile ── stacks ── Stack ── frames, the outermost first ── Frame
            └─ functions ── Function: of engines that know no stacks

Seconds are wall-clock or CPU seconds, as `Profile.clock` says; an engine that samples gives each sample the time
between two of them. Plain data, frozen: engines make it, everything else reads it.
"""

import msgspec


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One function on a stack.

    Attributes:
      function: Its qualified name (`Basket.load`); of libraries with their package in front (`httpx.AsyncClient.get`).
      file: Absolute path; empty where there is none or the engine does not know it.
      line: Where it stands, from 1; 0 where the engine does not know it.
    """

    function: str
    file: str = ""
    line: int = 0


class Stack(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stack, and what was spent in it.

    Attributes:
      frames: The outermost first.
      seconds: Spent while it stood so.
      count: Samples, calls or stretches of time that these are.
      endpoint: Method and route template (`GET /products/{id}`) of the requests that it is of; empty where the engine
        does not know, or it was of none.
      kind: Of time, as the ledger's (`computing`, `waiting`, `held`, ...); empty where the engine does not know.
    """

    frames: tuple[Frame, ...]
    seconds: float
    count: int = 1
    endpoint: str = ""
    kind: str = ""


class Function(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was spent in one function.

    Attributes:
      frame: Which; its line is where the function begins, or 0 where lines of it were added up.
      own: Seconds in it, its callees aside.
      total: Seconds in it and what it called; of a recursive function the outermost calls alone.
      count: Calls, or samples, or stretches of time.
      endpoint: As of `Stack`.
      kind: As of `Stack`: of `own`.
    """

    frame: Frame
    own: float
    total: float
    count: int
    endpoint: str = ""
    kind: str = ""


class Requests(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Requests of one endpoint that were answered while a profile was made."""

    endpoint: str
    count: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service's time went for a while.

    Attributes:
      engine: `py-spy`, `yappi` or `ledger`.
      clock: `wall`, or `cpu`.
      service: Name of the service; empty where it is not known.
      started: When it was begun, Unix seconds.
      seconds: How long it took.
      requests: Answered meanwhile, by endpoint, those that `stacks` and `functions` are of; empty where the engine does
        not know, which makes the profile one per second and not per request.
      stacks: Of engines that know them; those of the same frames, endpoint and kind are one.
      functions: Of engines that know no stacks.
      interval: Seconds between two samples; 0.0 of engines that do not sample.
      labels: What was said of it: the alert that it was made for, the engine's options, versions.
      notes: What a reader must know: samples that were lost, stacks that were left out. Whole sentences.
    """

    engine: str
    clock: str
    service: str = ""
    started: float = 0.0
    seconds: float = 0.0
    requests: tuple[Requests, ...] = ()
    stacks: tuple[Stack, ...] = ()
    functions: tuple[Function, ...] = ()
    interval: float = 0.0
    labels: dict[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def answered(self) -> int:
        """Requests that it is of; 0 where they are not known."""
        return sum(one.count for one in self.requests)

    @property
    def spent(self) -> float:
        """Seconds in all of its stacks, or in all of its functions themselves."""
        if self.stacks:
            return sum(stack.seconds for stack in self.stacks)
        return sum(function.own for function in self.functions)

    def endpoints(self) -> tuple[str, ...]:
        """Return the endpoints that it knows, the one with the most seconds first."""
        spent = {one.endpoint: 0.0 for one in self.requests}
        for stack in self.stacks:
            spent[stack.endpoint] = spent.get(stack.endpoint, 0.0) + stack.seconds
        for function in self.functions:
            spent[function.endpoint] = spent.get(function.endpoint, 0.0) + function.own
        return tuple(name for name in sorted(spent, key=lambda name: -spent[name]) if name)

    def of_endpoint(self, endpoint: str) -> "Profile":
        """Return the part of one endpoint."""
        return msgspec.structs.replace(
            self,
            requests=tuple(one for one in self.requests if one.endpoint == endpoint),
            stacks=tuple(stack for stack in self.stacks if stack.endpoint == endpoint),
            functions=tuple(function for function in self.functions if function.endpoint == endpoint),
        )
