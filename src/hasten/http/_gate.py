"""Which requests an app takes on, and how: what the edge's layer and the server's protocol both ask.

A refusal costs least where it costs nothing but a look at bytes: the protocol asks `Gate.refuse_unread` before it
parses them. What is not so plain is parsed, and asked about with `admits`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hasten._core.errors import ConfigurationError
from hasten.http._paths import path_pattern
from hasten.http._problems import Problem, refusals
from hasten.resilience import Limiter, Priority

GATE = "hasten.gate"
"""Key of the lifespan's state under which the edge's layer tells the protocol of its gate."""
HEALTH = ("/healthz", "/livez", "/readyz", "/health", "/metrics")
TIMEOUT_FIELD = b"x-request-timeout-ms"
_MOST_DIGITS = 12
_MOST_SEEN = 10_000  # paths that are remembered with their rules; then it begins anew
_LONGEST = 1024  # characters of one that is remembered
_WORDS = {b"low": Priority.LOW, b"normal": Priority.NORMAL, b"high": Priority.HIGH}
_FIRST_LINE = re.compile(rb"GET (/[^ ?%\r\n]*)[^ \r\n]* HTTP/1\.1\r\n")
_NOT_PLAIN = re.compile(
    rb"\n(?:[cC][oO][nN][tT][eE][nN][tT]-[lL]|[tT][rR][aA][nN]|[uU][pP]|[eE][xX]"  # Content-Length, Expect ...
    rb"|[cC][oO][nN][nN][eE][cC][tT][iI][oO][nN]:(?! ?[kK])"
    rb"|\r\n(?!\Z)|\n)"  # an empty line that is not the last, or has no CR before it
)
"""What makes more of a GET than its head: a body, an end of the connection, another request behind it.

Four times as quick as one pattern that ignores case, 0.6 µs.
"""


@dataclass(frozen=True, slots=True)
class EdgeRule:
    """How requests to the paths that match are taken on.

    Args:
      path: As in Starlette's routes: `/reports/{name}`, `/files/{name:path}`.
      methods: It is for these; empty for all.
      priority: Where there is little room: LOW has half of the limit, NORMAL 0.9, HIGH 1.25.
      timeout: Seconds for an answer; None leaves it to the edge, `math.inf` has no end: streams.
      finishes: A request goes on though its client has gone: a payment.
      exempt: It is not counted and never refused: health, and streams that last.
    Raises:
      ConfigurationError: one of these is wrong.
    """

    path: str
    methods: Sequence[str] = ()
    priority: Priority = Priority.NORMAL
    timeout: float | None = None
    finishes: bool = False
    exempt: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.methods, str):
            raise self._wrong(f"methods={self.methods!r}", f'give a tuple: methods=("{self.methods}",)')
        if self.timeout is not None and not self.timeout > 0.0:
            raise self._wrong(f"timeout={self.timeout}", "give seconds above 0, or math.inf")
        object.__setattr__(self, "pattern", path_pattern(self.path, self._wrong))

    def _wrong(self, problem: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"EdgeRule {self.path}", problem, remedy)


_OTHERS = EdgeRule("/{any:path}")


class Gate:
    """Finds the rule of a request, and room for it.

    Args:
      limiter: Says how many may be under way; None for as many as come.
      rules: Of these the first one whose path and methods match counts.
      timeout: Seconds for an answer where a rule does not say.
      priority_field: A request field whose value, high, normal or low, counts before the rule's priority; None: none
        does. Only where all who can send it may say so.
    Raises:
      ConfigurationError: one of these is wrong.
    """

    def __init__(
        self, *, limiter: Limiter | None, rules: Iterable[EdgeRule], timeout: float, priority_field: str | None
    ) -> None:
        if not timeout > 0.0:
            raise ConfigurationError(f"Edge(timeout={timeout})", "must be above 0", "give seconds, or math.inf")
        self.limiter = limiter
        self.timeout = timeout
        self._rules = (*rules, *(EdgeRule(path, exempt=True) for path in HEALTH), _OTHERS)
        self._seen: dict[str, tuple[EdgeRule, ...]] = {}
        self._field = priority_field.lower().encode() if priority_field else b""
        self._refusals = refusals()

    def rule(self, method: str, path: str) -> EdgeRule:
        """Return the first rule that matches; 0.15 µs for a path that was seen."""
        for rule in self._seen.get(path) or self._find(path):
            if not rule.methods or method in rule.methods:
                return rule
        return _OTHERS

    def rule_of(self, scope: Any) -> EdgeRule:
        """Return the rule of a request by its path within the app."""
        root = scope.get("root_path")
        path = scope["path"]
        return self.rule(scope["method"], path.removeprefix(root) if root else path)

    def _find(self, path: str) -> tuple[EdgeRule, ...]:
        found = tuple(rule for rule in self._rules if rule.pattern.fullmatch(path))
        if len(path) <= _LONGEST:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[path] = found
        return found

    def admits(self, rule: EdgeRule, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Admit a request that is not exempt, which `Limiter.ended` or `dropped` follows; or count a refusal."""
        limiter = self.limiter
        return limiter is None or limiter.admits(self._priority(rule, headers) if self._field else rule.priority)

    def _priority(self, rule: EdgeRule, headers: Iterable[tuple[bytes, bytes]]) -> Priority:
        for name, value in headers:
            if name == self._field:
                return _WORDS.get(value.lower(), rule.priority)
        return rule.priority

    def refusal(self) -> Problem:
        """Return what the next refused request is answered with."""
        return next(self._refusals)

    def refuse_unread(self, data: bytes) -> bool:
        """Refuse, and count, what a connection between two requests has sent, without parsing it; 1.7 µs.

        Returns:
          False where there may be room, or it is not plainly one whole GET that leaves the connection open: it is to be
          parsed.
        """
        if not data.endswith(b"\r\n\r\n"):
            return False
        line = _FIRST_LINE.match(data)
        if line is None or _NOT_PLAIN.search(data) is not None:
            return False
        rule = self.rule("GET", line[1].decode("latin-1"))
        priority = self._priority_unread(rule, data) if self._field else rule.priority
        return not rule.exempt and self.limiter is not None and self.limiter.refuses(priority)

    def _priority_unread(self, rule: EdgeRule, data: bytes) -> Priority:
        lowered = data.lower()
        begin = lowered.find(b"\r\n" + self._field + b":")
        if begin < 0:
            return rule.priority
        begin += len(self._field) + 3
        return _WORDS.get(lowered[begin : lowered.find(b"\r\n", begin)].strip(), rule.priority)


def time_allowed(rule: EdgeRule, gate: Gate, headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Return the seconds for an answer: the rule's or the edge's, or what the caller has left where that is less.

    A value of x-request-timeout-ms that is no whole number is as none.
    """
    seconds = gate.timeout if rule.timeout is None else rule.timeout
    for name, value in headers:
        if name == TIMEOUT_FIELD:
            if value.isdigit() and len(value) <= _MOST_DIGITS:
                return min(seconds, int(value) / 1000)
            return seconds
    return seconds
