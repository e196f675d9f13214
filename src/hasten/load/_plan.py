"""What a load test sends: a target, a rate, and weighted requests. Pure data, checked when it is made."""

import math
from pathlib import Path
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.load._arrivals import Arrivals
from hasten.load._plan_file import read_settings
from hasten.load._request_kind import RequestKind, Where, check_requests
from hasten.load._target import parse_target

_LARGEST_RATE = 1_000_000.0
_LARGEST_SECONDS = 7 * 86_400.0
_LARGEST_TIMEOUT = 3_600.0  # well below what the histogram holds


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A load test: what to send, where, how often, how long. Every way to make one checks it.

    Attributes:
      target: URL of the server; its path, if any, goes before each request's.
      requests: At least one kind.
      rate: Requests per second, all kinds together.
      duration: Seconds that are measured, after `warmup` seconds that are sent and not counted.
      arrivals: "poisson" or "constant".
      timeout: Seconds from a request's intended send time to its last byte.
      connections: Upper bound; requests wait in line for a free one beyond it.
      seed: Of arrivals, kinds and values: the same seed sends the same requests at the same times.
      verify: Check the certificate and its host name (https).
      source: File that the plan was read from, for messages; "" when it was made by code.
    """

    target: str
    requests: tuple[RequestKind, ...]
    rate: float
    duration: float = 10.0
    warmup: float = 2.0
    arrivals: Arrivals = "poisson"
    timeout: float = 10.0
    connections: int = 1000
    seed: int = 1
    verify: bool = True
    source: str = ""

    @classmethod
    def from_file(cls, path: str | Path, *, target: str = "") -> "Plan":
        """Read a TOML file; `target` goes before the file's own.

        Raises:
          ConfigurationError: it cannot be read, or a key is unknown, missing, or wrong: file and key are
            named.
        """
        settings = read_settings(Path(path))
        if target:
            settings["target"] = target
        return cls(**settings, source=str(path)).checked()

    @classmethod
    def for_url(
        cls,
        url: str,
        *,
        rate: float,
        duration: float = 10.0,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        body: str = "",
        expect: tuple[int, ...] = (),
    ) -> "Plan":
        """Make a plan that sends one kind of request to `url`, path and query included.

        Raises:
          ConfigurationError: an argument is wrong.
        """
        target = parse_target(url, "target")
        path = target.base if target.base.startswith("/") else "/" + target.base
        kind = RequestKind(name=f"{method} {path}", method=method, path=path, headers=headers, body=body, expect=expect)
        return cls(target=target.origin, requests=(kind,), rate=rate, duration=duration).checked()

    def with_target(self, url: str) -> "Plan":
        """Return this plan against another server.

        Raises:
          ConfigurationError: `url` is no http or https URL.
        """
        parse_target(url, "target")
        return msgspec.structs.replace(self, target=url)

    def with_settings(self, **settings: Any) -> "Plan":
        """Return this plan with other values of rate, duration, warmup, arrivals, timeout, connections,
        seed, verify.

        Raises:
          ConfigurationError: a value is out of bounds.
        """
        changed = msgspec.structs.replace(self, **settings)
        check_settings(changed, str)  # what has changed is not the file's: name the setting alone
        return changed

    def checked(self) -> "Plan":
        """Return this plan if it can be run.

        Raises:
          ConfigurationError: it cannot; the first wrong key is named, with the file it stands in.
        """

        def where(key: str) -> str:
            return f"{self.source}: {key}" if self.source else key

        check_settings(self, where)
        parsed = parse_target(self.target, where("target"))
        if "?" in parsed.base:
            raise ConfigurationError(where("target"), "it has a query", "write it into each request's path")
        check_requests(self.requests, where)
        return self


def check_settings(plan: Plan, where: Where) -> None:
    """Raise ConfigurationError for the first of the plan's own settings that is out of bounds."""
    _check_number("rate", plan.rate, _LARGEST_RATE, where)
    _check_number("duration", plan.duration, _LARGEST_SECONDS, where)
    _check_number("timeout", plan.timeout, _LARGEST_TIMEOUT, where)
    if not 0 <= plan.warmup <= _LARGEST_SECONDS:
        raise ConfigurationError(where("warmup"), f"{plan.warmup:g} s is not from 0 to {_LARGEST_SECONDS:g} s")
    if plan.arrivals not in ("poisson", "constant"):
        raise ConfigurationError(where("arrivals"), f"{plan.arrivals!r} is unknown", "poisson or constant")
    if not 1 <= plan.connections <= 60_000:
        raise ConfigurationError(where("connections"), f"{plan.connections} is not from 1 to 60000")


def _check_number(key: str, value: float, largest: float, where: Where) -> None:
    if not math.isfinite(value) or value <= 0:
        raise ConfigurationError(where(key), f"{value:g} is not above 0")
    if value > largest:
        raise ConfigurationError(where(key), f"{value:g} is above {largest:g}")
