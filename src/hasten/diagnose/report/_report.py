"""What a doctor's session hands to the reports: the diagnosis, and how far its figures can be trusted."""

from typing import Any

import msgspec

from hasten.diagnose._diagnosis import Diagnosis


class LoadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The load under which the accounts were recorded.

    Attributes:
      target: Base URL that was driven.
      rate: Offered requests per second.
      seconds: Length of the measured part.
      warmup: Seconds driven before it; accounts that started then are not part of the diagnosis.
      started: When the measured part began, seconds of CLOCK_MONOTONIC.
      sent: Requests sent in the measured part.
      answered: Of these, answered with an expected status.
      errors: Of these, what went wrong (`500`, `timeout`) and how often.
      lateness_p99: 99th percentile of the seconds by which the generator sent later than planned.
    """

    target: str
    rate: float
    seconds: float
    warmup: float
    started: float
    sent: int
    answered: int
    errors: dict[str, int]
    lateness_p99: float


class ClientGap(msgspec.Struct, frozen=True):
    """What the client waited beyond what the accounts explain: its latency minus wall time minus unread time.

    Attributes:
      matched: Requests found on both sides by their request id.
      p50: Median gap in seconds: network, both kernels and the client's own time.
      p99: 99th percentile of the gap in seconds.
    """

    matched: int
    p50: float
    p99: float


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when the report was made.

    Attributes:
      made: Date and time in ISO 8601 with offset.
      hasten: Version of hasten.
      python: Version of Python.
      system: Operating system and machine (`Linux 6.1 x86_64`).
      cpus: Cores this process may use.
    """

    made: str
    hasten: str
    python: str
    system: str
    cpus: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis with its circumstances.

    Attributes:
      diagnosis: Where the time goes and what costs it.
      environment: Where and when it was made.
      load: The load that was driven; None for recordings of unknown load.
      gap: The check against the client's clock; None where no request ids match.
      notes: Sentences about what limits the result.
    """

    diagnosis: Diagnosis
    environment: Environment
    load: LoadSummary | None = None
    gap: ClientGap | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: services, endpoints and findings, their circumstances beside them."""
        circumstances = {
            "load": self.load,
            "client_gap": self.gap,
            "environment": self.environment,
            "notes": self.notes,
        }
        return {**msgspec.to_builtins(self.diagnosis), **msgspec.to_builtins(circumstances)}
