"""gRPC's service config: what the owner of a service tells its clients about timeouts, retries and balancing.

Sources: grpc/grpc doc/service_config.md; grpc/service_config/service_config.proto; gRFC A6 (retries, hedging); gRFC
A50 (outlier detection); gRFC A62 (shuffled pick_first). Fields that are not listed there are passed over, as in grpc.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from hasten.resilience import RetryPolicy as Backoff
from hasten.rpc.channel._balancing import Policy
from hasten.rpc.channel._json_field import JsonField, read_json
from hasten.rpc.channel._outliers import FailurePercentageEjection, OutlierDetection, SuccessRateEjection

MOST_ATTEMPTS = 5
"""A larger maxAttempts counts as this (gRFC A6)."""
_MOST_CACHED = 1024
"""Methods whose config is remembered; a proxy may be called with any name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Send again after a failure with one of `retryable_codes` (gRFC A6). Durations in seconds.

    Attributes:
      max_attempts: 2 to 5, the first one included.
      initial_backoff, max_backoff, backoff_multiplier: The n-th retry waits min(initial_backoff *
        backoff_multiplier ** (n - 1), max_backoff), give or take a fifth.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    backoff_multiplier: float
    retryable_codes: frozenset[grpc.StatusCode]

    @property
    def backoff(self) -> Backoff:
        """The pauses between attempts."""
        return Backoff(
            attempts=self.max_attempts,
            first_backoff=self.initial_backoff,
            longest_backoff=self.max_backoff,
            multiplier=self.backoff_multiplier,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgingPolicy:
    """Send again while no answer is there, and take the first (gRFC A6).

    Attributes:
      max_attempts: 2 to 5, the first one included.
      hedging_delay: Seconds from one attempt to the next; 0 sends all at once.
      non_fatal_codes: Failures that send the next attempt at once; any other ends the call.
    """

    max_attempts: int
    hedging_delay: float = 0.0
    non_fatal_codes: frozenset[grpc.StatusCode] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryThrottling:
    """Tokens that failures take one of and successes give `token_ratio` of; at half of `max_tokens` retries stop."""

    max_tokens: int
    token_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodConfig:
    """What holds for a method. None is "not said": the call's own value or the built-in default holds.

    Attributes:
      timeout: Seconds; the shorter of this and the call's own holds.
      max_request_bytes, max_response_bytes: Of one message; the smaller of this and the channel's own holds.
      retry, hedging: At most one of them.
    """

    timeout: float | None = None
    wait_for_ready: bool | None = None
    max_request_bytes: int | None = None
    max_response_bytes: int | None = None
    retry: RetryPolicy | None = None
    hedging: HedgingPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """The first supported policy of loadBalancingConfig, or else loadBalancingPolicy.

    Attributes:
      shuffle: pick_first's shuffleAddressList.
      outliers: Of an outlier_detection_experimental around the policy; None when there is none.
    """

    policy: Policy
    shuffle: bool = False
    outliers: OutlierDetection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """A parsed service config.

    Attributes:
      methods: By (service, method); an empty method stands for all of a service, an empty service for all services.
      balancing: None when the config does not say.
    """

    methods: Mapping[tuple[str, str], MethodConfig] = field(default_factory=dict)
    retry_throttling: RetryThrottling | None = None
    balancing: Balancing | None = None
    _found: dict[str, MethodConfig] = field(default_factory=dict, init=False, repr=False, compare=False)

    def for_method(self, path: str) -> MethodConfig:
        """Return what holds for `/package.Service/Method`: the most specific entry, an empty one without any.

        0.1 µs for a method asked for before.
        """
        found = self._found.get(path)
        if found is None:
            service, _, method = path.removeprefix("/").rpartition("/")
            names = ((service, method), (service, ""), ("", ""))
            found = next((self.methods[name] for name in names if name in self.methods), NOTHING_SAID)
            if len(self._found) < _MOST_CACHED:
                self._found[path] = found
        return found


NOTHING_SAID = MethodConfig()
EMPTY_SERVICE_CONFIG = ServiceConfig()


def parse_service_config(source: str | bytes | Mapping[str, Any]) -> ServiceConfig:
    """Read a service config: the JSON text of the channel option `grpc.service_config`, or the same as a mapping.

    Raises:
      ConfigurationError: it is no JSON or not valid; the path of the wrong field is in the message.
    """
    root = read_json("service config", source)
    throttling = root.get("retryThrottling")
    return ServiceConfig(
        methods=_methods(root),
        retry_throttling=None if throttling is None else _throttling(throttling),
        balancing=_balancing(root),
    )


def _methods(root: JsonField) -> dict[tuple[str, str], MethodConfig]:
    methods: dict[tuple[str, str], MethodConfig] = {}
    entries = root.get("methodConfig")
    for entry in entries.items() if entries else ():
        config = _method_config(entry)
        names = entry.get("name")
        for item in names.items() if names else ():
            name = _text(item.get("service")), _text(item.get("method"))
            if name[1] and not name[0]:
                raise item.wrong("has a method without a service")
            if name in methods:
                raise item.wrong("names what an earlier entry names already")
            methods[name] = config
    return methods


def _method_config(entry: JsonField) -> MethodConfig:
    timeout, wait = entry.get("timeout"), entry.get("waitForReady")
    request, response = entry.get("maxRequestMessageBytes"), entry.get("maxResponseMessageBytes")
    retry, hedging = entry.get("retryPolicy"), entry.get("hedgingPolicy")
    if retry and hedging:
        raise entry.wrong("has both a retryPolicy and a hedgingPolicy", "keep one of them")
    return MethodConfig(
        timeout=timeout.seconds() if timeout else None,
        wait_for_ready=wait.flag() if wait else None,
        max_request_bytes=request.unsigned() if request else None,
        max_response_bytes=response.unsigned() if response else None,
        retry=_retry(retry) if retry else None,
        hedging=_hedging(hedging) if hedging else None,
    )


def _retry(policy: JsonField) -> RetryPolicy:
    multiplier = policy.required("backoffMultiplier")
    codes = policy.required("retryableStatusCodes")
    found = RetryPolicy(
        max_attempts=_attempts(policy),
        initial_backoff=policy.required("initialBackoff").positive_seconds(),
        max_backoff=policy.required("maxBackoff").positive_seconds(),
        backoff_multiplier=multiplier.number(),
        retryable_codes=_codes(codes),
    )
    if found.backoff_multiplier <= 0:
        raise multiplier.wrong("must be greater than 0")
    if not found.retryable_codes:
        raise codes.wrong("must not be empty")
    return found


def _hedging(policy: JsonField) -> HedgingPolicy:
    delay, codes = policy.get("hedgingDelay"), policy.get("nonFatalStatusCodes")
    return HedgingPolicy(
        max_attempts=_attempts(policy),
        hedging_delay=delay.seconds() if delay else 0.0,
        non_fatal_codes=_codes(codes) if codes else frozenset(),
    )


def _attempts(policy: JsonField) -> int:
    attempts = policy.required("maxAttempts")
    if attempts.unsigned() < 2:
        raise attempts.wrong("must be at least 2")
    return min(attempts.unsigned(), MOST_ATTEMPTS)


def _codes(codes: JsonField) -> frozenset[grpc.StatusCode]:
    return frozenset(_code(item) for item in codes.items())


def _code(item: JsonField) -> grpc.StatusCode:
    """Return a status code by name, or by number as in proto3's JSON."""
    for code in grpc.StatusCode:
        number: Any = code.value  # (number, name)
        if item.value == code.name or (type(item.value) is int and item.value == number[0]):
            return code
    raise item.wrong("not a status code", 'for example "UNAVAILABLE"')


def _throttling(policy: JsonField) -> RetryThrottling:
    tokens, ratio = policy.required("maxTokens"), policy.required("tokenRatio")
    if not tokens.unsigned():
        raise tokens.wrong("must be greater than 0")
    thousandths = int(round(ratio.number() * 1000, 6))  # gRFC A6: "Up to 3 decimal places are supported"
    if thousandths <= 0:
        raise ratio.wrong("must be at least 0.001")
    return RetryThrottling(max_tokens=tokens.unsigned(), token_ratio=thousandths / 1000)


def _balancing(root: JsonField) -> Balancing | None:
    named = root.get("loadBalancingPolicy")
    policy = None if named is None else _policy(named.text().lower())
    if named is not None and policy is None:
        raise named.wrong(f"{named.text()!r} is not supported", "pick_first, round_robin or p2c")
    configs = root.get("loadBalancingConfig")
    if configs is not None:
        return _first_supported(configs, nested=False)
    return None if policy is None else Balancing(policy=policy)


def _policy(name: str) -> Policy | None:
    return next((policy for policy in _POLICIES if policy == name), None)


def _first_supported(configs: JsonField, *, nested: bool) -> Balancing:
    names = []
    for item in configs.items():
        name, settings = item.single()
        names.append(name)
        policy = _policy(name)
        if policy is not None:
            return Balancing(policy=policy, shuffle=policy == "pick_first" and _shuffle(settings))
        if name == "outlier_detection_experimental" and not nested:
            inner = _first_supported(settings.required("childPolicy"), nested=True)
            return Balancing(policy=inner.policy, shuffle=inner.shuffle, outliers=_outliers(settings))
    raise configs.wrong(f"no supported policy among {names}", "pick_first, round_robin or p2c")


def _shuffle(settings: JsonField) -> bool:
    shuffle = settings.get("shuffleAddressList")
    return shuffle is not None and shuffle.flag()


def _outliers(settings: JsonField) -> OutlierDetection:
    rate, percentage = settings.get("successRateEjection"), settings.get("failurePercentageEjection")
    defaults = OutlierDetection()
    interval = settings.get("interval")
    base, longest = settings.get("baseEjectionTime"), settings.get("maxEjectionTime")
    return OutlierDetection(
        interval=interval.positive_seconds() if interval else defaults.interval,
        base_ejection_time=base.seconds() if base else defaults.base_ejection_time,
        max_ejection_time=longest.seconds() if longest else defaults.max_ejection_time,
        max_ejection_percent=_percent(settings, "maxEjectionPercent", defaults.max_ejection_percent),
        success_rate=_success_rate(rate) if rate else None,
        failure_percentage=_failure_percentage(percentage) if percentage else None,
    )


def _success_rate(settings: JsonField) -> SuccessRateEjection:
    defaults = SuccessRateEjection()
    return SuccessRateEjection(
        stdev_factor=_unsigned(settings, "stdevFactor", defaults.stdev_factor),
        enforcement_percentage=_percent(settings, "enforcementPercentage", defaults.enforcement_percentage),
        minimum_hosts=_unsigned(settings, "minimumHosts", defaults.minimum_hosts),
        request_volume=_unsigned(settings, "requestVolume", defaults.request_volume),
    )


def _failure_percentage(settings: JsonField) -> FailurePercentageEjection:
    defaults = FailurePercentageEjection()
    return FailurePercentageEjection(
        threshold=_percent(settings, "threshold", defaults.threshold),
        enforcement_percentage=_percent(settings, "enforcementPercentage", defaults.enforcement_percentage),
        minimum_hosts=_unsigned(settings, "minimumHosts", defaults.minimum_hosts),
        request_volume=_unsigned(settings, "requestVolume", defaults.request_volume),
    )


def _text(found: JsonField | None) -> str:
    return "" if found is None else found.text()


def _unsigned(settings: JsonField, key: str, default: int) -> int:
    found = settings.get(key)
    return default if found is None else found.unsigned()


def _percent(settings: JsonField, key: str, default: int) -> int:
    found = settings.get(key)
    if found is None:
        return default
    if found.unsigned() > 100:
        raise found.wrong("must be at most 100")
    return found.unsigned()


_POLICIES: tuple[Policy, ...] = ("pick_first", "round_robin", "p2c")
