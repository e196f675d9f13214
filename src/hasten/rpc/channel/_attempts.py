"""Sending a call again: after a failure (retry), or beside an attempt that takes long (hedge); gRFC A6.

A call's plan is asked how the call goes on each time an attempt of it has ended. All plans of a channel share one
budget, so that a server in trouble gets a tenth more calls and not twice as many; a service config's retryThrottling
holds beside it.
"""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import grpc

from hasten._core.signals import Attempt
from hasten.resilience import RetryBudget, Throttle
from hasten.rpc.channel._balancing import Endpoint
from hasten.rpc.wire._hpack import encode_field

if TYPE_CHECKING:
    from hasten.rpc.channel._call import ClientCall
    from hasten.rpc.channel._service_config import RetryPolicy

OK = grpc.StatusCode.OK
_PUSHBACK = b"grpc-retry-pushback-ms"
_MOST_DIGITS = 9  # grpc-core reads 32 bits


class Plan(Protocol):
    """How a call goes on.

    Attributes:
      used: Endpoints that have had an attempt, or have one; others are preferred.
      kind: Of the current attempt.
    """

    used: set[Endpoint]

    @property
    def kind(self) -> Attempt: ...

    def fields(self) -> bytes:
        """Return the header fields that tell the server which attempt this is."""

    def attempt_ended(self, call: "ClientCall", code: grpc.StatusCode, *, final: bool) -> bool:
        """Take the outcome of an attempt; True when the call is sent again.

        Args:
          final: It is the client's own doing (a cancellation, the deadline): it says nothing of the server, and the
            call is over.
        """


class Allowance:
    """What a channel may send beside its calls themselves.

    Args:
      throttle: Of the service config; None without.
    """

    def __init__(self, budget: RetryBudget, throttle: Throttle | None) -> None:
        self.budget = budget
        self._throttle = throttle

    def note(self, code: grpc.StatusCode, *, failed: bool) -> None:
        """Count an attempt's outcome for the throttle."""
        if self._throttle is not None:
            if failed:
                self._throttle.on_failure()
            elif code is OK:
                self._throttle.on_success()

    def take(self) -> bool:
        """Whether one more attempt may be sent; it is paid for then."""
        return (self._throttle is None or self._throttle.allowed()) and self.budget.try_withdraw()


class Retries:
    """Sends one call again after failures that its policy names.

    A call is sent again only while nothing of a response has come, all of its requests are still there, and the pause
    ends before its deadline. The server may name the pause, or forbid the retry, by grpc-retry-pushback-ms.
    """

    def __init__(
        self,
        policy: "RetryPolicy",
        allowance: Allowance,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.used: set[Endpoint] = set()
        self.count = 0
        self._pauses = 0
        self._policy = policy
        self._allowance = allowance
        self._chance = chance

    @property
    def kind(self) -> Attempt:
        return "retry" if self.count else "first"

    def fields(self) -> bytes:
        return previous_attempts(self.count)

    def attempt_ended(self, call: "ClientCall", code: grpc.StatusCode, *, final: bool) -> bool:
        if final:
            return False
        asked = pushback(call)
        forbidden = asked is not None and asked < 0
        retryable = code in self._policy.retryable_codes
        self._allowance.note(code, failed=retryable or forbidden)
        if forbidden or not retryable or not self._may_be_sent_again(call):
            return False
        pause = self._pause(asked)
        if time.monotonic() + pause >= call.deadline or not self._allowance.take():
            return False
        self.count += 1
        call.restart(after=pause)
        return True

    def _may_be_sent_again(self, call: "ClientCall") -> bool:
        return self.count + 1 < self._policy.max_attempts and not call.has_response and call.can_be_sent_again

    def _pause(self, asked: float | None) -> float:
        """Return the next pause; one that the server asked for begins the growing ones anew (gRFC A6, pushback)."""
        if asked is not None:
            self._pauses = 0
            return asked
        self._pauses += 1
        return self._policy.backoff.delay(self._pauses, self._chance)


def previous_attempts(count: int) -> bytes:
    """Return the grpc-previous-rpc-attempts field, nothing for a first attempt."""
    return encode_field(b"grpc-previous-rpc-attempts", b"%d" % count) if count else b""


def pushback(call: "ClientCall") -> float | None:
    """Return the pause in seconds that the server asks for; negative when it forbids another attempt, None without."""
    for name, value in call.trailing_fields:
        if name == _PUSHBACK:
            return int(value) / 1000 if value.isdigit() and len(value) <= _MOST_DIGITS else -1.0
    return None
