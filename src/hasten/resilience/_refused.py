"""The error of whoever refuses work before it begins."""

from typing import Any

from hasten._core.errors import HastenError


class Refused(HastenError):
    """Raised when work is not begun: it would fail, or make other work fail. Answer without it, or ask later.

    Attributes:
      by: What refuses it: `breaker`, `limiter`, `bulkhead stock`.
      reason: Why.
      retry_after: Seconds after which it may be worth asking again; 0.0 where that is not known.
    """

    exit_code = 3

    def __init__(self, by: str, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{by}: {reason}" + (f"; again in {retry_after:.3g} s" if retry_after else ""))
        self.by = by
        self.reason = reason
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with its values: an error that cannot be unpickled breaks the process pool it comes from."""
        return type(self), (self.by, self.reason, self.retry_after)
