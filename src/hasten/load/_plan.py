"""What a load test sends: a target, a rate, and weighted requests. Pure data, checked when it is made."""

import math
from pathlib import Path
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.load._arrivals import Arrivals
from hasten.load._plan_file import read_settings
from hasten.load._request_kind import RequestKind, Where, check_requests
from hasten.load._status_names import status_code
from hasten.load._target import parse_target

_LARGEST_RATE = 1_000_000.0
_LARGEST_SECONDS = 7 * 86_400.0
_LARGEST_TIMEOUT = 3_600.0  # well below what the histogram holds
_HTTP_CONNECTIONS = 1000
_GRPC_CONNECTIONS = 1  # a service has one channel to another: what it sees is what is measured


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A load test: what to send, where, how often, how long. Every way to make one checks it.

    Attributes:
      target: URL of the server; its path, if any, goes before each HTTP request's.
      requests: At least one kind, all HTTP or all gRPC.
      rate: Requests per second, all kinds together.
      duration: Seconds that are measured, after `warmup` seconds that are sent and not counted.
      arrivals: "poisson" or "constant".
      timeout: Seconds from a request's intended send time to its last byte.
      connections: HTTP: upper bound; requests wait in line for a free one beyond it. gRPC: as many channels, opened
        before the start and used in turn. None for 1000 over HTTP, 1 over gRPC.
      seed: Of arrivals, kinds and values: the same seed sends the same requests at the same times.
      verify: Check the certificate and its host name (https, grpcs).
      proto: .proto files that describe the gRPC methods; empty to ask the server (reflection).
      proto_path: Folders where their imports are looked for.
      source: File that the plan was read from, for messages; "" when it was made by code.
    """

    target: str
    requests: tuple[RequestKind, ...]
    rate: float
    duration: float = 10.0
    warmup: float = 2.0
    arrivals: Arrivals = "poisson"
    timeout: float = 10.0
    connections: int | None = None
    seed: int = 1
    verify: bool = True
    proto: tuple[str, ...] = ()
    proto_path: tuple[str, ...] = ()
    source: str = ""

    @property
    def grpc(self) -> bool:
        """Its requests are gRPC calls."""
        return bool(self.requests) and self.requests[0].rpc

    @property
    def connection_limit(self) -> int:
        """`connections`, or the protocol's default."""
        if self.connections is not None:
            return self.connections
        return _GRPC_CONNECTIONS if self.grpc else _HTTP_CONNECTIONS

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

    @classmethod
    def for_method(
        cls,
        url: str,
        *,
        rate: float,
        duration: float = 10.0,
        data: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        expect: tuple[str, ...] = (),
    ) -> "Plan":
        """Make a plan that calls one gRPC method: `grpc://host:port/package.Service/Method`, `grpcs://` with TLS.

        Args:
          url: Server and method.
          rate: Calls per second.
          duration: Seconds that are measured.
          data: The request as JSON text.
          headers: The metadata.
          expect: Names of the statuses that count as an answer; empty for OK.
        Raises:
          ConfigurationError: an argument is wrong. Whether the method exists is seen when the plan is run.
        """
        target = parse_target(url, "target")
        method = target.base.removeprefix("/")
        if "/" not in method:
            problem = f"{url!r} names no method"
            raise ConfigurationError("target", problem, "write grpc://host:port/package.Service/Method")
        codes = tuple(status_code(name, "expect") for name in expect)
        kind = RequestKind(name=method, method=method, path="", headers=headers, data=data, expect=codes)
        return cls(target=target.origin, requests=(kind,), rate=rate, duration=duration).checked()

    def with_target(self, url: str) -> "Plan":
        """Return this plan against another server.

        Raises:
          ConfigurationError: `url` is no URL that its requests can be sent to.
        """
        changed = msgspec.structs.replace(self, target=url)
        _check_target(changed, str)
        return changed

    def with_settings(self, **settings: Any) -> "Plan":
        """Return this plan with other values of rate, duration, warmup, arrivals, timeout, connections,
        seed, verify, proto, proto_path.

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
        check_settings(self, self.place)
        parse_target(self.target, self.place("target"))
        check_requests(self.requests, self.place)
        _check_target(self, self.place)
        return self

    def place(self, key: str) -> str:
        """Return how an error message names a key of this plan: with its file, if it has one."""
        return f"{self.source}: {key}" if self.source else key


def check_settings(plan: Plan, where: Where) -> None:
    """Raise ConfigurationError for the first of the plan's own settings that is out of bounds."""
    _check_number("rate", plan.rate, _LARGEST_RATE, where)
    _check_number("duration", plan.duration, _LARGEST_SECONDS, where)
    _check_number("timeout", plan.timeout, _LARGEST_TIMEOUT, where)
    if not 0 <= plan.warmup <= _LARGEST_SECONDS:
        raise ConfigurationError(where("warmup"), f"{plan.warmup:g} s is not from 0 to {_LARGEST_SECONDS:g} s")
    if plan.arrivals not in ("poisson", "constant"):
        raise ConfigurationError(where("arrivals"), f"{plan.arrivals!r} is unknown", "poisson or constant")
    if plan.connections is not None and not 1 <= plan.connections <= 60_000:
        raise ConfigurationError(where("connections"), f"{plan.connections} is not from 1 to 60000")


def _check_target(plan: Plan, where: Where) -> None:
    """Raise ConfigurationError if the plan's requests cannot be sent to its target.

    An http or https URL does for gRPC, too: many tools write a gRPC server's address so.
    """
    target = parse_target(plan.target, where("target"))
    if plan.grpc and target.base not in ("", "/"):
        raise ConfigurationError(where("target"), "it has a path", "gRPC methods stand in the plan's requests")
    if target.grpc and not plan.grpc:
        problem = f"{plan.target!r} speaks gRPC and the requests are HTTP"
        raise ConfigurationError(where("target"), problem, "write a request's method as package.Service/Method")
    if "?" in target.base:
        raise ConfigurationError(where("target"), "it has a query", "write it into each request's path")


def _check_number(key: str, value: float, largest: float, where: Where) -> None:
    if not math.isfinite(value) or value <= 0:
        raise ConfigurationError(where(key), f"{value:g} is not above 0")
    if value > largest:
        raise ConfigurationError(where(key), f"{value:g} is above {largest:g}")
