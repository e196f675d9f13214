"""A call that is sent again when it fails: by hasten's client within a budget, or by a loop around it, without one."""

from types import TracebackType
from typing import Self

from hasten.http.client import Client, HttpError
from hasten.resilience import DeadlineExceeded, RetryPolicy

ATTEMPTS = 3
_POLICY = RetryPolicy(attempts=ATTEMPTS, first_backoff=0.01)
_PATIENCE = 5.0  # seconds of a call: no attempt is left out for want of time
_FAILED, _RETRIED_FROM = 502, 500


class Sender:
    """Sends requests to one service, each up to three times.

    Its client has no breaker: one that is open would send less than any budget, and hide it.

    Args:
      budget: The client sends again, within its budget; else a loop does whatever fails, as tenacity and stamina do.
    """

    def __init__(self, url: str, *, budget: bool) -> None:
        self._client = Client(url, timeout=_PATIENCE, retry=_POLICY if budget else None, breaker=None)
        self._attempts = 1 if budget else ATTEMPTS

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, target: str) -> int:
        """Send a GET, again where it fails, and return the status at the end."""
        status = _FAILED
        for _ in range(self._attempts):
            try:
                status = (await self._client.get(target)).status
            except (HttpError, DeadlineExceeded):
                continue
            if status < _RETRIED_FROM:
                break
        return status
