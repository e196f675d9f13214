"""Service configs are read as grpc reads them, and what is wrong is named by its path."""

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._outliers import FailurePercentageEjection, OutlierDetection, SuccessRateEjection
from hasten.rpc.channel._service_config import (
    Balancing,
    HedgingPolicy,
    MethodConfig,
    RetryPolicy,
    RetryThrottling,
    ServiceConfig,
    parse_service_config,
)

UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def method(**settings: Any) -> dict[str, Any]:
    """Return a config with `settings` for all methods."""
    return {"methodConfig": [{"name": [{}], **settings}]}


def retry(**changes: Any) -> dict[str, Any]:
    """Return a config with a retry policy changed so; a field that is None is left out."""
    return method(retryPolicy={key: value for key, value in (RETRY | changes).items() if value is not None})


def balancing(*configs: Any) -> dict[str, Any]:
    """Return a config with these entries in loadBalancingConfig."""
    return {"loadBalancingConfig": list(configs)}


def outliers(**settings: Any) -> dict[str, Any]:
    """Return a config of outlier detection around round_robin."""
    return balancing({"outlier_detection_experimental": {"childPolicy": [{"round_robin": {}}], **settings}})


# ---- methods


def test_empty_config() -> None:
    """An empty config says nothing of any method, of throttling or of balancing."""
    config = parse_service_config("{}")
    assert config == ServiceConfig()
    assert config.for_method("/a.B/C") == MethodConfig()
    assert (config.balancing, config.retry_throttling) == (None, None)


def test_most_specific_name_wins() -> None:
    """A method's own entry comes before its service's, and that before the default for all."""
    names = [[{}], [{"service": "shop.Stock"}], [{"service": "shop.Stock", "method": "Get"}, {"service": "other"}]]
    entries = [{"name": name, "timeout": f"{seconds}s"} for seconds, name in enumerate(names, 1)]
    config = parse_service_config({"methodConfig": entries})
    wanted = {"/shop.Stock/Get": 3, "/shop.Stock/Set": 2, "/other/Get": 3, "/shop.Cart/Get": 1, "/": 1, "": 1}
    for _ in range(2):  # the second time from what is remembered
        assert {path: config.for_method(path).timeout for path in wanted} == wanted


@pytest.mark.parametrize("name", [{"service": "s"}, {"service": "s", "method": None}, {"service": "s", "method": ""}])
def test_ways_to_write_a_service(name: dict[str, Any]) -> None:
    """An absent, null or empty method means the whole service."""
    config = parse_service_config({"methodConfig": [{"name": [name], "timeout": "1s"}]})
    assert config.for_method("/s/any").timeout == 1.0


def test_all_fields_of_a_method() -> None:
    """Every field arrives, durations in seconds and codes as StatusCode."""
    config = parse_service_config(
        json.dumps(
            method(
                timeout="1.5s",
                waitForReady=True,
                maxRequestMessageBytes=0,
                maxResponseMessageBytes="4096",
                retryPolicy={**RETRY, "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL"]},
                somethingNew={"unknown": True},
            )
        )
    )
    assert config.for_method("/a.B/C") == MethodConfig(
        timeout=1.5,
        wait_for_ready=True,
        max_request_bytes=0,
        max_response_bytes=4096,
        retry=RetryPolicy(
            max_attempts=3,
            initial_backoff=0.01,
            max_backoff=1.0,
            backoff_multiplier=2.0,
            retryable_codes=frozenset({UNAVAILABLE, INTERNAL}),
        ),
    )


def test_hedging() -> None:
    """A hedging policy arrives; its delay and codes may be left out."""
    full = {"maxAttempts": 4, "hedgingDelay": ".5s", "nonFatalStatusCodes": ["UNAVAILABLE", 13]}
    assert parse_service_config(method(hedgingPolicy=full)).for_method("/a.B/C").hedging == HedgingPolicy(
        max_attempts=4, hedging_delay=0.5, non_fatal_codes=frozenset({UNAVAILABLE, INTERNAL})
    )
    least = parse_service_config(method(hedgingPolicy={"maxAttempts": 2})).for_method("/a.B/C").hedging
    assert least == HedgingPolicy(max_attempts=2)


def test_attempts_are_capped() -> None:
    """More than five attempts count as five, of retries and of hedges."""
    assert parse_service_config(retry(maxAttempts=9)).for_method("/a.B/C").retry == RetryPolicy(
        max_attempts=5,
        initial_backoff=0.01,
        max_backoff=1.0,
        backoff_multiplier=2.0,
        retryable_codes=frozenset({UNAVAILABLE}),
    )
    hedging = parse_service_config(method(hedgingPolicy={"maxAttempts": 100})).for_method("/a.B/C").hedging
    assert hedging == HedgingPolicy(max_attempts=5)


def test_throttling() -> None:
    """Throttling arrives; the ratio has three decimals, the rest is cut off."""
    for ratio, read in ((0.1, 0.1), ("0.1239", 0.123), (1, 1.0)):
        config = parse_service_config({"retryThrottling": {"maxTokens": 10, "tokenRatio": ratio}})
        assert config.retry_throttling == RetryThrottling(max_tokens=10, token_ratio=read)


# ---- balancing


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ({"loadBalancingPolicy": "ROUND_ROBIN"}, Balancing(policy="round_robin")),
        ({"loadBalancingPolicy": "p2c"}, Balancing(policy="p2c")),
        (balancing({"pick_first": {}}), Balancing(policy="pick_first")),
        (balancing({"pick_first": {"shuffleAddressList": True}}), Balancing(policy="pick_first", shuffle=True)),
        (balancing({"grpclb": {"x": 1}}, {"p2c": {}}, {"round_robin": {}}), Balancing(policy="p2c")),
        (balancing({"round_robin": {}}) | {"loadBalancingPolicy": "p2c"}, Balancing(policy="round_robin")),
        (outliers(), Balancing(policy="round_robin", outliers=OutlierDetection())),
        (
            outliers(
                interval="1s",
                baseEjectionTime="2s",
                maxEjectionTime="3s",
                maxEjectionPercent=40,
                successRateEjection={"stdevFactor": 1000, "requestVolume": 7},
                failurePercentageEjection={"threshold": 50, "minimumHosts": 2, "enforcementPercentage": 10},
            ),
            Balancing(
                policy="round_robin",
                outliers=OutlierDetection(
                    interval=1.0,
                    base_ejection_time=2.0,
                    max_ejection_time=3.0,
                    max_ejection_percent=40,
                    success_rate=SuccessRateEjection(stdev_factor=1000, request_volume=7),
                    failure_percentage=FailurePercentageEjection(
                        threshold=50, minimum_hosts=2, enforcement_percentage=10
                    ),
                ),
            ),
        ),
    ],
)
def test_balancing(config: dict[str, Any], read: Balancing) -> None:
    """The first supported policy of the list is taken, then the older field; outlier detection comes with it."""
    assert parse_service_config(config).balancing == read


# ---- what is refused


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "service config: not valid JSON: "),
        ("{", "service config: not valid JSON: "),
        ('{"a": NaN}', "service config: not valid JSON: NaN is no JSON"),
        ("[" * 100_000, "service config: not valid JSON: nested too deeply"),
        (b"\xff{}", "service config: not valid JSON: "),
        ("[]", "service config: not an object"),
        (None, "service config: not an object"),
        ({"methodConfig": {}}, "service config: methodConfig: not an array"),
        ({"methodConfig": [{}, 1]}, "service config: methodConfig[1]: not an object"),
        ({"methodConfig": [{"name": {}}]}, "methodConfig[0].name: not an array"),
        ({"methodConfig": [{"name": [{"service": 1}]}]}, "methodConfig[0].name[0].service: not a string"),
        ({"methodConfig": [{"name": [{"method": "x"}]}]}, "methodConfig[0].name[0]: has a method without a service"),
        ({"methodConfig": [{"name": [{}]}, {"name": [{}]}]}, "methodConfig[1].name[0]: names what an earlier entry"),
        (
            method(timeout=1),
            'methodConfig[0].timeout: not a duration; seconds with at most 9 decimals and an s: "1.5s"',
        ),
        (method(timeout="1"), "methodConfig[0].timeout: not a duration"),
        (method(timeout="s"), "methodConfig[0].timeout: not a duration"),
        (method(timeout="1.s"), "methodConfig[0].timeout: not a duration"),
        (method(timeout="-1s"), "methodConfig[0].timeout: not a duration"),
        (method(timeout="1.0000000001s"), "methodConfig[0].timeout: not a duration"),
        (method(timeout="999999999999s"), "methodConfig[0].timeout: longer than 315576000000 s"),
        (method(waitForReady="true"), "methodConfig[0].waitForReady: not a boolean"),
        (method(maxRequestMessageBytes=-1), "methodConfig[0].maxRequestMessageBytes: not an integer from 0 to"),
        (method(maxResponseMessageBytes=2**32), "methodConfig[0].maxResponseMessageBytes: not an integer from 0 to"),
        (method(maxResponseMessageBytes=True), "methodConfig[0].maxResponseMessageBytes: not an integer from 0 to"),
        (retry(maxAttempts=1), "methodConfig[0].retryPolicy.maxAttempts: must be at least 2"),
        (retry(maxAttempts=None), "methodConfig[0].retryPolicy.maxAttempts: missing"),
        (retry(initialBackoff="0s"), "methodConfig[0].retryPolicy.initialBackoff: must be greater than 0"),
        (retry(maxBackoff="0.0s"), "methodConfig[0].retryPolicy.maxBackoff: must be greater than 0"),
        (retry(backoffMultiplier=0), "methodConfig[0].retryPolicy.backoffMultiplier: must be greater than 0"),
        (retry(backoffMultiplier="x"), "methodConfig[0].retryPolicy.backoffMultiplier: not a number"),
        (retry(backoffMultiplier=float("inf")), "methodConfig[0].retryPolicy.backoffMultiplier: not a finite number"),
        (retry(retryableStatusCodes=[]), "methodConfig[0].retryPolicy.retryableStatusCodes: must not be empty"),
        (
            retry(retryableStatusCodes=["UNAVAILABLE", "unavailable"]),
            'retryableStatusCodes[1]: not a status code; for example "UNAVAILABLE"',
        ),
        (method(hedgingPolicy={}), "methodConfig[0].hedgingPolicy.maxAttempts: missing"),
        (method(hedgingPolicy={"maxAttempts": 1}), "methodConfig[0].hedgingPolicy.maxAttempts: must be at least 2"),
        (method(retryPolicy=RETRY, hedgingPolicy={"maxAttempts": 2}), "methodConfig[0]: has both a retryPolicy and a"),
        ({"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}, "retryThrottling.maxTokens: must be greater than 0"),
        ({"retryThrottling": {"maxTokens": 9, "tokenRatio": 0.0001}}, "retryThrottling.tokenRatio: must be at least"),
        ({"loadBalancingPolicy": "best"}, "loadBalancingPolicy: 'best' is not supported; pick_first, round_robin or"),
        (balancing(), "loadBalancingConfig: no supported policy among []; pick_first, round_robin or p2c"),
        (balancing({"grpclb": {}}), "loadBalancingConfig: no supported policy among ['grpclb']"),
        (balancing({"p2c": {}, "grpclb": {}}), "loadBalancingConfig[0]: has 2 keys; exactly one is allowed"),
        (balancing({"pick_first": {"shuffleAddressList": 1}}), "[0].pick_first.shuffleAddressList: not a boolean"),
        (balancing({"outlier_detection_experimental": {}}), "outlier_detection_experimental.childPolicy: missing"),
        (outliers(maxEjectionPercent=101), "outlier_detection_experimental.maxEjectionPercent: must be at most 100"),
        (outliers(interval="0s"), "outlier_detection_experimental.interval: must be greater than 0"),
        (
            outliers(childPolicy=[outliers()["loadBalancingConfig"][0]]),
            "childPolicy: no supported policy among ['outlier_detection_experimental']",
        ),
    ],
)
def test_refused(config: Any, said: str) -> None:
    """What is wrong is refused in one line that names the field by its path."""
    with pytest.raises(ConfigurationError) as caught:
        parse_service_config(config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


KEYS = [
    *("methodConfig", "name", "service", "method", "timeout", "waitForReady", "maxRequestMessageBytes", "retryPolicy"),
    *("hedgingPolicy", "maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes"),
    *("hedgingDelay", "nonFatalStatusCodes", "retryThrottling", "maxTokens", "tokenRatio", "loadBalancingConfig"),
    *("loadBalancingPolicy", "pick_first", "p2c", "shuffleAddressList", "outlier_detection_experimental"),
    *("childPolicy", "interval", "maxEjectionPercent", "successRateEjection", "failurePercentageEjection"),
]
VALUES = st.sampled_from(
    ["1s", "0s", ".5s", "UNAVAILABLE", "p2c", 0, 1, 3, 1e400, -1, 10**400, "", [{}], [{"p2c": {}}]]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=25,
)


def read_or_refuse(config: Any) -> None:
    """Parse `config`; an error may only be a ConfigurationError of one line."""
    said = ""
    try:
        parse_service_config(config).for_method("/a.B/C")
    except ConfigurationError as error:
        said = str(error)
    assert "\n" not in said


@given(st.text() | st.binary())
def test_any_text(config: str | bytes) -> None:
    """Any text is a config or a ConfigurationError."""
    read_or_refuse(config)


@given(JSON)
def test_any_json(config: Any) -> None:
    """Any JSON value, also one with the right keys in the wrong places, is a config or a ConfigurationError."""
    read_or_refuse(config)


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_method_config(settings: dict[str, Any], policy: dict[str, Any]) -> None:
    """Any settings in the right place are read or refused."""
    read_or_refuse({"methodConfig": [{"name": [{}], **settings, "retryPolicy": RETRY | policy}]})
    read_or_refuse(outliers(**settings))


# ---- as grpcio does it


async def accepted_by_grpcio(config: Mapping[str, Any], port: int) -> bool:
    """Tell whether a real grpc.aio channel takes `config`; nobody listens at `port`."""
    options = [("grpc.service_config", json.dumps(config))]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call: Any = channel.unary_unary("/a.B/C")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", timeout=5)
    return caught.value.code() is not grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"loadBalancingPolicy": "ROUND_ROBIN"},
        {"loadBalancingPolicy": "best"},
        {"loadBalancingPolicy": "best", "loadBalancingConfig": [{"round_robin": {}}]},
        {"methodConfig": {}},
        {"methodConfig": [1]},
        {"methodConfig": [{"timeout": "1s"}]},
        {"methodConfig": [{"name": [], "timeout": "1"}]},
        {"methodConfig": [{"name": [{"method": "x"}]}]},
        {"methodConfig": [{"name": [{"service": "x"}, {"service": "x", "method": ""}]}]},
        balancing(),
        balancing({"grpclb2": {}}),
        balancing({"grpclb2": {}}, {"round_robin": {}}),
        balancing({"grpclb2": {}, "round_robin": {}}),
        balancing({"pick_first": {"shuffleAddressList": 1}}),
        outliers(interval="1s"),
        outliers(maxEjectionPercent=101),
        balancing({"outlier_detection_experimental": {}}),
        method(timeout="1.5s"),
        method(timeout="1.s"),
        method(timeout="1"),
        method(timeout="-1s"),
        method(timeout="1.0000000001s"),
        method(timeout=1),
        method(waitForReady=1),
        method(maxRequestMessageBytes="10"),
        method(maxRequestMessageBytes=1.5),
        method(maxRequestMessageBytes=2**32),
        method(maxRequestMessageBytes=None),
        retry(),
        retry(maxAttempts=1),
        retry(maxAttempts="3"),
        retry(initialBackoff="0s"),
        retry(maxBackoff=None),
        retry(backoffMultiplier=0),
        retry(backoffMultiplier="2"),
        retry(retryableStatusCodes=[]),
        retry(retryableStatusCodes=["unavailable"]),
        retry(retryableStatusCodes=["OK"]),
        {"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}},
        {"retryThrottling": {"maxTokens": 0, "tokenRatio": 0.1}},
        {"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.0001}},
        {"retryThrottling": {"maxTokens": 10.5, "tokenRatio": 1}},
        {"retryThrottling": {"maxTokens": 10}},
    ],
    ids=json.dumps,
)
def test_accepted_as_by_grpcio(config: dict[str, Any]) -> None:
    """A config is refused if and only if grpc.aio refuses it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        accepted = asyncio.run(accepted_by_grpcio(config, closed.getsockname()[1]))
    try:
        parse_service_config(config)
    except ConfigurationError:
        assert not accepted
    else:
        assert accepted
