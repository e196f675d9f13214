"""When a process is captured without anybody asking: pure decisions about alerts, holds of the loop and quantiles.

    what is seen ── Triggers.of_webhook, .of_hold, .of_slow ──> Fired, or why not ── the capture begins ── .begun

Each kind of trigger captures once in `cooldown` seconds, and an alert once at all, however often it is told.
"""

import hashlib
import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from hasten._core.durations import format_duration
from hasten._core.errors import ConfigurationError
from hasten.monitor import Snapshot
from hasten.monitor._window import Window, total
from hasten.monitor.slo import PROFILED, Objective
from hasten.profiling._options import CaptureOptions, Engine
from hasten.profiling._store import KEPT

LARGEST_WEBHOOK = 1024 * 1024
"""Bytes."""
_VERSION = "4"
_REMEMBERED = 256
_MOST_LABELS = 32
_LONGEST_NAME = 64
_LONGEST_VALUE = 256
_MOST_KEPT = 1000
_SHORTEST_HOLD = 0.05
_LONGEST = 86400.0
_RECENT = 10.0
"""Seconds that quantiles are over."""
_APART = 0.9
"""Seconds between two snapshots of which both are kept."""


class ProfileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is captured in a process by itself, and where captures are kept.

    Attributes:
      folder: Of the last captures; None for ~/.local/state/hasten/profiles/SERVICE.
      keep: How many.
      pause: Seconds after a capture before another one may be asked for.
      allow_tracers: Other processes of the same user may attach to this one, as py-spy does.
      engine, seconds: Of captures that nobody has asked for.
      cooldown: Seconds between two of those for one kind of reason: alerts, holds, quantiles.
      alerts: Names of the alerts that are a reason, when Alertmanager tells them to the admin port's /alerts.
      hold: Seconds that the loop is held without a break, which are a reason, from 0.05; 0 for none.
      p99: Whether a quantile that is over its latency objective is one: p99 for 99 %.
    """

    folder: str | Path | None = None
    keep: int = KEPT
    pause: float = 10.0
    allow_tracers: bool = True
    engine: Engine = "ledger"
    seconds: float = 10.0
    cooldown: float = 300.0
    alerts: tuple[str, ...] = PROFILED
    hold: float = 0.5
    p99: bool = True

    @property
    def capture(self) -> CaptureOptions:
        """How captures are made that nobody has asked for."""
        return CaptureOptions(engine=self.engine, seconds=self.seconds)

    def checked(self) -> "ProfileOptions":
        """Return these options if they can be.

        Raises:
          ConfigurationError: one is out of bounds.
        """
        self.capture.checked("profile ")
        _check("keep", self.keep, 1, _MOST_KEPT)
        _check("pause", self.pause, 0.0, _LONGEST)
        _check("cooldown", self.cooldown, 0.0, _LONGEST)
        if self.hold:
            _check("hold", self.hold, _SHORTEST_HOLD, _LONGEST)
        return self


WHEN_ASKED = ProfileOptions(allow_tracers=False, alerts=(), hold=0.0, p99=False)
"""Nothing is captured by itself."""


def profile_options(given: "ProfileOptions | bool") -> ProfileOptions:
    """Return the options that `install(profile=...)` means.

    Raises:
      ConfigurationError: one is out of bounds.
    """
    if isinstance(given, ProfileOptions):
        return given.checked()
    return ProfileOptions() if given else WHEN_ASKED


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigurationError(f"profile {name}", f"{value:g} is not from {least:g} to {most:g}")


# ---- what Alertmanager tells


class Alert(msgspec.Struct, frozen=True):
    """One alert of a webhook."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = msgspec.field(name="startsAt", default="")

    @property
    def name(self) -> str:
        """Of its rule."""
        return self.labels.get("alertname", "")

    @property
    def key(self) -> str:
        """The same each time that it is told, until it fires anew."""
        words = [self.starts_at, *(word for label in sorted(self.labels.items()) for word in label)]
        return hashlib.blake2b(msgspec.json.encode(words), digest_size=16).hexdigest()


class Webhook(msgspec.Struct, frozen=True):
    """What Alertmanager sends, as far as it is of interest.

    Source: Prometheus documentation, Alertmanager configuration, <webhook_config>, version 4.
    """

    version: str
    alerts: tuple[Alert, ...]


def parse_webhook(body: bytes) -> Webhook:
    """Return what the body of a request of Alertmanager says.

    Raises:
      ConfigurationError: it is none, or of another version.
    """
    try:
        webhook = msgspec.json.decode(body, type=Webhook)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            "webhook", f"is none of Alertmanager: {_readable(str(error), _LONGEST_VALUE)}"
        ) from None
    if webhook.version != _VERSION:
        raise ConfigurationError(
            "webhook", f"has the version {_readable(webhook.version, 20)!r}", f"{_VERSION} is known"
        )
    return webhook


# ---- decisions


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """A reason to capture.

    Attributes:
      labels: Of the capture.
      key: Of what is captured only once; empty where only the cooldown counts.
    """

    trigger: Literal["alert", "hold", "p99"]
    labels: dict[str, str]
    key: str = ""


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """An objective whose quantile is over its threshold.

    Attributes:
      quantile: Seconds that the promised share of the events has not exceeded.
      events: That the quantile is of.
    """

    objective: Objective
    quantile: float
    events: int


class Triggers:
    """Decides what a process is captured for; remembers no more than the last captures.

    Args:
      service, worker: Of the process: an alert that names others is about them.
    """

    def __init__(self, options: ProfileOptions, *, service: str = "", worker: str = "0") -> None:
        self._options = options
        self._service = service
        self._worker = worker
        self._begun: dict[str, float] = {}
        self._captured: OrderedDict[str, None] = OrderedDict()

    def rests(self, trigger: str, now: float) -> float:
        """Return the seconds until this kind of trigger may capture again; 0.0 if it may now.

        Args:
          now: Monotonic seconds.
        """
        return max(0.0, self._begun.get(trigger, -math.inf) + self._options.cooldown - now)

    def begun(self, fired: Fired, now: float) -> None:
        """Note that a capture has begun."""
        self._begun[fired.trigger] = now
        if fired.key:
            self._captured[fired.key] = None
            if len(self._captured) > _REMEMBERED:
                self._captured.popitem(last=False)

    # ---- alerts

    def of_webhook(self, webhook: Webhook, now: float) -> Fired | str:
        """Return the first alert to capture for, or in one line why there is none."""
        best = 0, "there is no alert in it"
        for alert in webhook.alerts:
            refused = self._refusal(alert, now)
            if refused is None:
                return Fired(trigger="alert", labels=_labels_of(alert), key=alert.key)
            best = max(best, refused)
        return best[1]

    def _refusal(self, alert: Alert, now: float) -> tuple[int, str] | None:
        """Return why an alert is no reason, with how near it came to be one."""
        name, labels = _readable(alert.name, _LONGEST_NAME), alert.labels
        if alert.name not in self._options.alerts:
            return 1, f"{name or 'an alert without a name'} is none of the alerts that are captured for"
        if self._service and labels.get("service", self._service) != self._service:
            return 2, f"{name} is about another service"
        if labels.get("worker", self._worker) != self._worker:
            return 3, f"{name} is about another process"
        if alert.status != "firing":
            return 4, f"{name} is over"
        if alert.key in self._captured:
            return 5, f"{name} was captured for already"
        rest = self.rests("alert", now)
        return (6, f"the last alert was captured for just now; again in {math.ceil(rest)} s") if rest else None

    # ---- what the process sees itself

    def of_hold(self, seconds: float, site: str, now: float, *, over: bool) -> Fired | None:
        """Return the reason that a hold of the loop is.

        Args:
          seconds: That it took, or has taken so far.
          site: Whose code: `app/orders.py:41 place_order`; empty where it is not known.
          over: Whether the loop runs again.
        """
        wanted = self._options.hold
        if not wanted or seconds < wanted or self.rests("hold", now):
            return None
        labels = {"site": _readable(site, _LONGEST_VALUE)} if site else {}
        return Fired(
            trigger="hold", labels={**labels, "held": format_duration(seconds), "state": "over" if over else "goes on"}
        )

    def of_slow(self, slow: Slow | None, now: float) -> Fired | None:
        """Return the reason that a slow objective is."""
        if slow is None or not self._options.p99 or self.rests("p99", now):
            return None
        objective = slow.objective
        quantile = f"p{objective.target * 100:.10g}"
        labels = {
            "slo": objective.name,
            "of": objective.words,
            quantile: format_duration(slow.quantile),
            "objective": format_duration(objective.threshold),
            "events": str(slow.events),
        }
        return Fired(trigger="p99", labels=labels)


def _labels_of(alert: Alert) -> dict[str, str]:
    """Return the labels of a capture for an alert: bounded, and without what a terminal would obey."""
    said: Mapping[str, str] = {**alert.labels, "summary": alert.annotations.get("summary", "")}
    names = ("alertname", "summary", *sorted(said))  # those first: they stay, however many there are
    found = {_readable(name, _LONGEST_NAME): _readable(said.get(name, ""), _LONGEST_VALUE) for name in names}
    kept = list({name: value for name, value in found.items() if value}.items())[: _MOST_LABELS - 1]
    started = _readable(alert.starts_at, _LONGEST_NAME)
    return dict(kept) | ({"startsAt": started} if started else {})


def _readable(text: str, longest: int) -> str:
    """Return a text of others, cut, with spaces for what cannot be printed."""
    return "".join([sign if sign.isprintable() else " " for sign in text[:longest]])


# ---- quantiles


class Quantiles:
    """Finds objectives that are not kept now, from one snapshot to the next.

    Args:
      objectives: Of the process; those about latency are looked at.
    """

    def __init__(self, objectives: Iterable[Objective]) -> None:
        self._objectives = tuple(one for one in objectives if one.kind == "latency")
        self._snapshots: deque[tuple[float, Snapshot]] = deque()

    def __bool__(self) -> bool:
        return bool(self._objectives)

    def add(self, snapshot: Snapshot, clock: float) -> Slow | None:
        """Return the objective that is missed by most in the last ten seconds or a little more; None if all are kept.

        One of which fewer than `min_bad` events were slow is kept.

        Args:
          clock: Monotonic seconds when the snapshot was taken.
        """
        kept = self._snapshots
        if kept and clock - kept[-1][0] < _APART:
            return None
        kept.append((clock, snapshot))
        while len(kept) > 2 and kept[1][0] <= clock - _RECENT:
            kept.popleft()
        begun, before = kept[0]
        if before is snapshot:
            return None
        window = Window(before, snapshot, clock - begun)
        missed = [found for one in self._objectives if (found := _missed(one, window)) is not None]
        return max(missed, key=lambda found: found.quantile / found.objective.threshold, default=None)


def _missed(objective: Objective, window: Window) -> Slow | None:
    covered = [timing for values, timing in window.timings(objective.metric).items() if objective.covers(values)]
    together = total(covered, objective.metric)
    quantile = together.quantile(objective.target)
    slow = together.count - together.within(objective.threshold)
    if quantile is None or quantile <= objective.threshold or slow < objective.min_bad:
        return None
    return Slow(objective=objective, quantile=quantile, events=together.count)
