"""What answers take without load, by kind of request: learned while there is none, looked for anew where there always
is. The pure part of `Limiter`.
"""

from collections.abc import Callable

_LEARN, _LEARN_PROBING = 0.02, 0.15
"""Part of each unloaded answer in its kind's mean."""
_FIRST_ANSWERS = 50
"""Of a kind, from which it is learned whatever the load, and which are not judged: quick ones come first."""
_PROBE_ANSWERS = 30
_FIRST_PROBE = 1.0
_REST = 20.0
"""Times as long as a probe has taken pass until the next, at least: answers may take seconds."""
_FORGET = 0.99
"""Of the longest answer, what each further one leaves: so long a probe waits until those before it have ended."""
_MOST_KINDS = 256


class _Kind:
    __slots__ = ("answers", "mean")

    def __init__(self) -> None:
        self.answers = 0
        self.mean = 0.0


class Unloaded:
    """The mean of unloaded answers, by kind.

    Attributes:
      probing: Whoever has it keeps the load low.
      probes: How often it was.
    """

    __slots__ = (
        "_chance", "_clock", "_every", "_kinds", "_left", "_longest", "_next", "_pause", "_settled", "_since", "probes",
        "probing",
    )  # fmt: skip

    def __init__(self, every: float, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self._every, self._clock, self._chance = every, clock, chance
        self._kinds: dict[str, _Kind] = {}
        self._left = 0
        self._longest = self._settled = 0.0
        self._since = 0.0
        self._pause = _FIRST_PROBE
        self._next = clock() + _FIRST_PROBE
        self.probing = False
        self.probes = 0

    def expected(self, name: str, seconds: float, *, quiet: bool, straight: bool = True) -> float:
        """Return what an answer of a kind takes without load, and learn from one that took so long.

        Args:
          quiet: There is no load.
          straight: Its work began as soon as it came; what has met a queue teaches nothing, even in a probe.
        """
        kind = self._kinds.get(name) or self._meet(name)
        longest = self._longest * _FORGET
        self._longest = seconds if seconds > longest else longest
        if kind.answers < _FIRST_ANSWERS:
            kind.answers += 1
            kind.mean += (seconds - kind.mean) / kind.answers
            return seconds
        if self.probing:
            self._probe(kind, seconds, straight=straight)
        elif quiet:
            kind.mean += (seconds - kind.mean) * _LEARN
        return kind.mean

    def _probe(self, kind: _Kind, seconds: float, *, straight: bool) -> None:
        if self._clock() >= self._settled:
            if straight:
                kind.mean += (seconds - kind.mean) * _LEARN_PROBING
            self._left -= 1

    def exceeded(self, name: str, seconds: float) -> float:
        """Return what an answer of a kind takes without load where one was given up after more; else 0.0.

        It teaches nothing of unloaded answers, but a probe that brings none ends by it.
        """
        kind = self._kinds.get(name)
        if kind is None or kind.answers < _FIRST_ANSWERS or seconds <= kind.mean:
            return 0.0
        if self.probing:
            self._left -= 1
        return kind.mean

    def _meet(self, name: str) -> _Kind:
        if len(self._kinds) >= _MOST_KINDS:
            name = ""
        return self._kinds.setdefault(name, _Kind())

    def look(self, *, quiet: bool) -> None:
        """Begin a probe, or end it, if it is time; called now and then.

        Args:
          quiet: There was no load since the last call.
        """
        now = self._clock()
        if self.probing:
            if self._left <= 0:
                self.probing = False
                self._pause = min(2.0 * self._pause, self._every)
                spread = 0.75 + 0.5 * self._chance()
                self._next = now + max(self._pause * spread, _REST * (now - self._since))
        elif quiet:
            self._pause = _FIRST_PROBE
            self._next = now + _FIRST_PROBE
        elif now >= self._next:
            self.probing = True
            self.probes += 1
            self._left, self._since, self._settled = _PROBE_ANSWERS, now, now + self._longest
