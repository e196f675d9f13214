"""grpc's channel and server arguments."""

import re
from typing import Any

import grpc
import pytest

import hasten.rpc._options as options_module
from hasten._core.errors import ConfigurationError
from hasten.rpc._limits import Limits
from hasten.rpc._options import (
    INT_MAX,
    ChannelOptions,
    ServerOptions,
    channel_options,
    limits_from_options,
    server_options,
)


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("grpc.max_receive_message_length", 10_000, "message_bytes", 10_000),
        ("grpc.max_receive_message_length", 0, "message_bytes", 0),
        ("grpc.max_receive_message_length", -1, "message_bytes", 2**32 - 1),
        ("grpc.max_send_message_length", 10_000, "sent_message_bytes", 10_000),
        ("grpc.max_send_message_length", -1, "sent_message_bytes", 0),
        ("grpc.max_concurrent_streams", 7, "concurrent_handlers", 7),
        ("grpc.http2.max_frame_size", 65_536, "frame_bytes", 65_536),
        ("grpc.http2.lookahead_bytes", 65_536, "stream_window_bytes", 65_536),
        ("grpc.keepalive_time_ms", 30_000, "keepalive_seconds", 30.0),
        ("grpc.keepalive_time_ms", INT_MAX, "keepalive_seconds", 0.0),
        ("grpc.keepalive_timeout_ms", 500, "keepalive_timeout_seconds", 0.5),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000, "ping_seconds", 5.0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 0, "ping_seconds", 0.0),
        ("grpc.http2.max_ping_strikes", 5, "ping_strikes", 5),
        ("grpc.http2.max_ping_strikes", 0, "ping_strikes", INT_MAX),
        ("grpc.max_connection_age_ms", 60_000, "connection_age_seconds", 60.0),
        ("grpc.max_connection_age_ms", INT_MAX, "connection_age_seconds", 0.0),
        ("grpc.max_connection_age_grace_ms", 0, "connection_age_grace_seconds", 0.0),
        ("grpc.max_connection_age_grace_ms", INT_MAX, "connection_age_grace_seconds", 2_147_483.647),
        ("grpc.max_connection_idle_ms", 1_500, "connection_idle_seconds", 1.5),
        ("grpc.max_connection_idle_ms", INT_MAX, "connection_idle_seconds", 0.0),
        ("grpc.server_handshake_timeout_ms", 1_000, "preface_seconds", 1.0),
        ("grpc.http2.settings_timeout", 1_000, "settings_seconds", 1.0),
    ],
)
def test_limit(name: str, value: int, attribute: str, expected: float) -> None:
    """An argument sets its limit, with grpc's meaning of -1, 0 and INT_MAX."""
    assert getattr(limits_from_options(Limits(), [(name, value)]), attribute) == expected


def test_nothing_given() -> None:
    """Without arguments the limits are those that were given, and options are grpc's defaults."""
    limits = Limits(message_bytes=5)
    assert limits_from_options(limits, ()) is limits
    assert limits_from_options(limits, None) is limits
    assert channel_options(None) == ChannelOptions()
    assert server_options(()) == ServerOptions()


def test_other_limits_stay() -> None:
    """An argument changes its own limit only."""
    found = limits_from_options(Limits(reset_burst=3, message_bytes=5), [("grpc.max_concurrent_streams", 7)])
    assert found == Limits(reset_burst=3, message_bytes=5, concurrent_handlers=7)


def test_first_of_equal_names() -> None:
    """Of equal names the first counts, as in grpc."""
    options = [("grpc.max_receive_message_length", 1), ("grpc.max_receive_message_length", 2)]
    assert limits_from_options(Limits(), options).message_bytes == 1


def test_large_messages_fit_the_connection() -> None:
    """A message as long as allowed fits what a connection may hold; a small limit leaves that as it is."""
    assert limits_from_options(Limits(), [("grpc.max_receive_message_length", 2**30)]).held_bytes == 2**30
    assert limits_from_options(Limits(), [("grpc.max_receive_message_length", 1)]).held_bytes == Limits().held_bytes


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (4_000, None, (4_000, 16_384)),
        (16_000, None, (16_000, 20_000)),
        (None, 100_000, (80_000, 100_000)),
        (None, 9_000, (8_192, 9_000)),
        (None, 4_000, (4_000, 4_000)),
        (10_000, 30_000, (10_000, 30_000)),
        (30_000, 20_000, (20_000, 20_000)),
    ],
)
def test_metadata_sizes(soft: int | None, hard: int | None, expected: tuple[int, int]) -> None:
    """Of the two bounds on metadata one follows the other, as in grpc-core."""
    given = {"grpc.max_metadata_size": soft, "grpc.absolute_max_metadata_size": hard}
    limits = limits_from_options(Limits(), [(name, size) for name, size in given.items() if size is not None])
    assert (limits.header_list_bytes, limits.header_list_hard_bytes) == expected


def test_channel() -> None:
    """What a channel's arguments say beside limits is read into ChannelOptions."""
    found = channel_options(
        [
            ("grpc.primary_user_agent", "shop/1"),
            ("grpc.secondary_user_agent", b"x"),
            ("grpc.default_authority", "stock"),
            ("grpc.ssl_target_name_override", "stock.example"),
            ("grpc.service_config", "{}"),
            ("grpc.enable_retries", 0),
            ("grpc.lb_policy_name", "round_robin"),
            ("grpc.default_compression_algorithm", 2),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.min_reconnect_backoff_ms", 3_000),
            ("grpc.dns_min_time_between_resolutions_ms", 1_000),
            ("grpc.client_idle_timeout_ms", INT_MAX),
            ("grpc.keepalive_permit_without_calls", True),
        ]
    )
    assert found == ChannelOptions(
        user_agent_prefix="shop/1",
        user_agent_suffix="x",
        authority="stock",
        tls_server_name="stock.example",
        service_config="{}",
        retries=False,
        balancing="round_robin",
        compression=grpc.Compression.Gzip,
        initial_backoff_seconds=0.2,
        largest_backoff_seconds=5.0,
        connect_timeout_seconds=3.0,
        resolution_seconds=1.0,
        idle_seconds=0.0,
        keepalive_without_calls=True,
    )


def test_name_override_is_the_authority() -> None:
    """The name that replaces the target's for TLS is the authority as well, unless one was given."""
    assert channel_options([("grpc.ssl_target_name_override", "a")]).authority == "a"


def test_backoff_bounds() -> None:
    """Pauses are at least 100 ms, as in grpc-core, and the first is not longer than the longest."""
    found = channel_options([("grpc.max_reconnect_backoff_ms", 1)])
    assert (found.initial_backoff_seconds, found.largest_backoff_seconds) == (0.1, 0.1)


def test_server() -> None:
    """What a server's arguments say beside limits is read into ServerOptions."""
    options = [("grpc.so_reuseport", 0), ("grpc.default_compression_algorithm", grpc.Compression.Deflate)]
    assert server_options(options) == ServerOptions(reuse_port=False, compression=grpc.Compression.Deflate)


@pytest.mark.parametrize("name", ["grpc.http2.bdp_probe", "grpc.resource_quota", "whatever"])
def test_ignored(name: str) -> None:
    """An argument without meaning here is ignored, whatever its value."""
    options = [(name, object())]
    assert limits_from_options(Limits(), options) == Limits()
    assert channel_options(options) == ChannelOptions()
    assert server_options(options) == ServerOptions()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("grpc.max_receive_message_length", "5", "must be a whole number from -2147483648 to 2147483647"),
        ("grpc.max_receive_message_length", 2**31, "must be a whole number from -2147483648 to 2147483647"),
        ("grpc.max_send_message_length", 0, "must be a whole number from 1 to 2147483647"),
        ("grpc.keepalive_time_ms", 0, "must be a whole number from 1 to 2147483647"),
        ("grpc.max_connection_age_ms", -1, "must be a whole number from 1 to 2147483647"),
        ("grpc.max_connection_idle_ms", 1.5, "must be a whole number from 1 to 2147483647"),
        ("grpc.max_concurrent_streams", 0, "must be a whole number from 1 to 2147483647"),
        ("grpc.http2.max_frame_size", 100, "must be a whole number from 16384 to 16777215"),
        ("grpc.http2.max_ping_strikes", -1, "must be a whole number from 0 to 2147483647"),
    ],
)
def test_bad_limit(name: str, value: Any, problem: str) -> None:
    """A wrong type or a value out of range is one line that names the argument, the value and what it may be."""
    with pytest.raises(ConfigurationError) as caught:
        limits_from_options(Limits(), [(name, value)])
    assert str(caught.value) == f"options: {name}={value!r}: {problem}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grpc.enable_retries", 2),
        ("grpc.enable_retries", "1"),
        ("grpc.default_authority", 5),
        ("grpc.default_compression_algorithm", 3),
        ("grpc.client_idle_timeout_ms", 0),
    ],
)
def test_bad_option(name: str, value: Any) -> None:
    """The same holds for a channel's other arguments."""
    with pytest.raises(ConfigurationError, match=re.escape(f"options: {name}={value!r}: must be")):
        channel_options([(name, value)])


@pytest.mark.parametrize("option", ["ab", ("grpc.x",), (1, 1), ("a", 1, 2), None])
def test_no_pairs(option: Any) -> None:
    """Options that are not pairs of a name and a value are refused."""
    for function in (lambda: limits_from_options(Limits(), [option]), lambda: channel_options([option])):
        with pytest.raises(ConfigurationError, match="is not a pair of a name and a value"):
            function()


def test_table_is_complete() -> None:
    """The table in the documentation has every argument that is read, and no other."""
    rows = re.findall(r"^\| (grpc\.\S+) \|", options_module.__doc__ or "", re.MULTILINE)
    read = {*options_module._LIMITS, *options_module._CHANNEL, *options_module._SERVER}
    assert set(rows) == read - {"grpc.http2.min_recv_ping_interval_without_data_ms"}
