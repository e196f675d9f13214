"""grpc's channel and server arguments (`options=`), read into `Limits` and the few other things that they set.

| argument | here | conventions |
|---|---|---|
| grpc.max_receive_message_length | Limits.message_bytes, and held_bytes where that is less | -1: no bound |
| grpc.max_send_message_length | Limits.sent_message_bytes | -1: no bound |
| grpc.max_metadata_size | Limits.header_list_bytes | alone, it raises the hard bound to 1.25 of it |
| grpc.absolute_max_metadata_size | Limits.header_list_hard_bytes | alone, it raises the soft bound to 0.8 of it |
| grpc.max_concurrent_streams | Limits.concurrent_handlers | |
| grpc.http2.max_frame_size | Limits.frame_bytes | |
| grpc.http2.lookahead_bytes | Limits.stream_window_bytes | |
| grpc.keepalive_time_ms | Limits.keepalive_seconds | INT_MAX: never |
| grpc.keepalive_timeout_ms | Limits.keepalive_timeout_seconds | INT_MAX: 24 days |
| grpc.http2.min_ping_interval_without_data_ms | Limits.ping_seconds | also as min_recv_ping_interval_without_data_ms |
| grpc.http2.max_ping_strikes | Limits.ping_strikes | 0: any number |
| grpc.max_connection_age_ms | Limits.connection_age_seconds | INT_MAX: never |
| grpc.max_connection_age_grace_ms | Limits.connection_age_grace_seconds | INT_MAX: 24 days |
| grpc.max_connection_idle_ms | Limits.connection_idle_seconds | INT_MAX: never |
| grpc.server_handshake_timeout_ms | Limits.preface_seconds | |
| grpc.http2.settings_timeout | Limits.settings_seconds | milliseconds |
| grpc.default_compression_algorithm | compression of ChannelOptions and ServerOptions | 0 none, 1 deflate, 2 gzip |
| grpc.primary_user_agent | ChannelOptions.user_agent_prefix | |
| grpc.secondary_user_agent | ChannelOptions.user_agent_suffix | |
| grpc.default_authority | ChannelOptions.authority | |
| grpc.ssl_target_name_override | ChannelOptions.tls_server_name | also the authority, where none is given |
| grpc.service_config | ChannelOptions.service_config | JSON |
| grpc.enable_retries | ChannelOptions.retries | 0 or 1 |
| grpc.lb_policy_name | ChannelOptions.balancing | |
| grpc.initial_reconnect_backoff_ms | ChannelOptions.initial_backoff_seconds | at least 100 ms |
| grpc.max_reconnect_backoff_ms | ChannelOptions.largest_backoff_seconds | at least 100 ms |
| grpc.min_reconnect_backoff_ms | ChannelOptions.connect_timeout_seconds | at least 100 ms |
| grpc.dns_min_time_between_resolutions_ms | ChannelOptions.resolution_seconds | |
| grpc.client_idle_timeout_ms | ChannelOptions.idle_seconds | INT_MAX: never |
| grpc.keepalive_permit_without_calls | ChannelOptions.keepalive_without_calls | 0 or 1 |
| grpc.so_reuseport | ServerOptions.reuse_port | 0 or 1 |

A value of the wrong type or out of range is an error here, where grpc logs it and goes on without. Everything else has
no meaning in this transport and is ignored, as grpc ignores what it does not know: grpc.http2.bdp_probe,
grpc.http2.hpack_table_size.*, grpc.http2.max_pings_without_data, grpc.http2.true_binary, grpc.http2.write_buffer_size,
grpc.http2_scheme, grpc.service_config_disable_resolution (service configs are never read from DNS),
grpc.enable_http_proxy, grpc.http_proxy, grpc.use_local_subchannel_pool, grpc.per_rpc_retry_buffer_size,
grpc.default_compression_level, grpc.compression_enabled_algorithms_bitset, grpc.enable_channelz, grpc.resource_quota,
grpc.tcp_*, grpc.experimental.*, grpc.internal.*, grpc.xds_*.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc

from hasten._core.errors import ConfigurationError
from hasten.rpc._limits import LARGEST_STREAM_ID, LARGEST_WINDOW, Limits

INT_MAX = 2**31 - 1
"""Largest value of an argument; as a duration it means never."""
_INT_MIN = -(2**31)
_LARGEST_MESSAGE = 2**32 - 1  # what a message's prefix can say
_LEAST_BACKOFF_SECONDS = 0.1  # grpc-core's, for connecting again

Options = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """What a channel's arguments set beside `Limits`; the defaults are grpc's.

    Attributes:
      user_agent_prefix, user_agent_suffix: Put before and after our own user-agent.
      authority: `:authority` of all calls; empty for the target's.
      tls_server_name: Name that the server's certificate is checked for; empty for the target's host.
      service_config: JSON; empty for none.
      retries: Whether a service config's retry and hedging policies are followed.
      balancing: Policy's name; empty where not given.
      compression: Of messages sent; None where not given.
      initial_backoff_seconds, largest_backoff_seconds: Pauses between attempts to connect.
      connect_timeout_seconds: Least time that one attempt to connect is given.
      resolution_seconds: Least time from one name resolution to the next.
      idle_seconds: Without a call for so long, connections are closed until the next; 0 never.
      keepalive_without_calls: Send keepalive PINGs also while no call is open.
    """

    user_agent_prefix: str = ""
    user_agent_suffix: str = ""
    authority: str = ""
    tls_server_name: str = ""
    service_config: str = ""
    retries: bool = True
    balancing: str = ""
    compression: grpc.Compression | None = None
    initial_backoff_seconds: float = 1.0
    largest_backoff_seconds: float = 120.0
    connect_timeout_seconds: float = 20.0
    resolution_seconds: float = 30.0
    idle_seconds: float = 1800.0
    keepalive_without_calls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What a server's arguments set beside `Limits`; the defaults are grpc's.

    Attributes:
      compression: Of messages sent; None where not given.
      reuse_port: Whether several processes may listen on one port (SO_REUSEPORT).
    """

    compression: grpc.Compression | None = None
    reuse_port: bool = True


def limits_from_options(limits: Limits, options: Options | None) -> Limits:
    """Return `limits` with what grpc's arguments say about them; the first of equal names counts, as in grpc.

    Raises:
      ConfigurationError: an argument has a value of the wrong type, or out of range.
    """
    given = _by_name(options)
    changes = _read(given, _LIMITS)
    message_bytes = changes.get("message_bytes", 0)
    if message_bytes > limits.held_bytes:  # one message alone must fit
        changes["held_bytes"] = message_bytes
    _complete_header_bounds(changes, limits)
    return replace(limits, **changes) if changes else limits


def channel_options(options: Options | None) -> ChannelOptions:
    """Return what a channel's arguments say; raises as `limits_from_options`."""
    changes = _read(_by_name(options), _CHANNEL)
    if "tls_server_name" in changes:
        changes.setdefault("authority", changes["tls_server_name"])
    found = ChannelOptions(**changes)
    largest = found.largest_backoff_seconds
    return replace(found, initial_backoff_seconds=min(found.initial_backoff_seconds, largest))


def server_options(options: Options | None) -> ServerOptions:
    """Return what a server's arguments say; raises as `limits_from_options`."""
    return ServerOptions(**_read(_by_name(options), _SERVER))


def _by_name(options: Options | None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    option: Any  # users need not type-check
    for option in options or ():
        if not (isinstance(option, tuple | list) and len(option) == 2 and isinstance(option[0], str)):
            raise ConfigurationError("options", f"{option!r} is not a pair of a name and a value")
        given.setdefault(*option)
    return given


def _read(given: Mapping[str, Any], table: Mapping[str, "tuple[str, _Reader]"]) -> dict[str, Any]:
    """Return what `table` makes of the arguments that it knows, by the name that each has with us."""
    return {table[name][0]: table[name][1](name, value) for name, value in given.items() if name in table}


def _complete_header_bounds(changes: dict[str, Any], limits: Limits) -> None:
    """Let one bound follow the other where only one was given, as grpc-core does."""
    soft, hard = changes.get("header_list_bytes"), changes.get("header_list_hard_bytes")
    if soft is not None and hard is None:
        changes["header_list_hard_bytes"] = max(limits.header_list_hard_bytes, soft * 5 // 4)
    elif hard is not None:
        wanted = max(limits.header_list_bytes, hard * 4 // 5) if soft is None else soft
        changes["header_list_bytes"] = min(wanted, hard)


_Reader = Callable[[str, Any], Any]


def _integer(low: int = 0, high: int = INT_MAX) -> _Reader:
    def read(name: str, value: Any) -> int:
        if not isinstance(value, int) or not low <= value <= high:
            raise ConfigurationError(f"options: {name}={value!r}", f"must be a whole number from {low} to {high}")
        return int(value)

    return read


_positive = _integer(1)
_any_integer = _integer(_INT_MIN)


def _switch(name: str, value: Any) -> bool:
    return bool(_integer(0, 1)(name, value))


def _text(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise ConfigurationError(f"options: {name}={value!r}", "must be a str")
    return value


def _seconds(name: str, value: Any) -> float:
    milliseconds: int = _integer()(name, value)
    return milliseconds / 1000


def _positive_seconds(name: str, value: Any) -> float:
    milliseconds: int = _positive(name, value)
    return milliseconds / 1000


def _seconds_or_never(name: str, value: Any) -> float:
    """Read a duration whose INT_MAX is never, which is our 0; grpc's 0 is at once, which nobody wants."""
    return 0.0 if value == INT_MAX else _positive_seconds(name, value)


def _backoff(name: str, value: Any) -> float:
    return max(_LEAST_BACKOFF_SECONDS, _seconds(name, value))


def _received_bytes(name: str, value: Any) -> int:
    size: int = _any_integer(name, value)
    return _LARGEST_MESSAGE if size < 0 else size


def _sent_bytes(name: str, value: Any) -> int:
    """Read a bound whose -1 is none, which is our 0; grpc's 0, not one byte, cannot be said and is an error."""
    size: int = _any_integer(name, value)
    return 0 if size < 0 else int(_positive(name, size))


def _strikes(name: str, value: Any) -> int:
    strikes: int = _integer()(name, value)
    return strikes or INT_MAX


def _compression(name: str, value: Any) -> grpc.Compression:
    return grpc.Compression(_integer(0, 2)(name, value))


_LIMITS: Mapping[str, tuple[str, _Reader]] = {
    "grpc.max_receive_message_length": ("message_bytes", _received_bytes),
    "grpc.max_send_message_length": ("sent_message_bytes", _sent_bytes),
    "grpc.max_metadata_size": ("header_list_bytes", _integer()),
    "grpc.absolute_max_metadata_size": ("header_list_hard_bytes", _integer()),
    "grpc.max_concurrent_streams": ("concurrent_handlers", _integer(1, LARGEST_STREAM_ID)),
    "grpc.http2.max_frame_size": ("frame_bytes", _integer(2**14, 2**24 - 1)),
    "grpc.http2.lookahead_bytes": ("stream_window_bytes", _integer(1, LARGEST_WINDOW)),
    "grpc.keepalive_time_ms": ("keepalive_seconds", _seconds_or_never),
    "grpc.keepalive_timeout_ms": ("keepalive_timeout_seconds", _positive_seconds),
    "grpc.http2.min_ping_interval_without_data_ms": ("ping_seconds", _seconds),
    "grpc.http2.min_recv_ping_interval_without_data_ms": ("ping_seconds", _seconds),
    "grpc.http2.max_ping_strikes": ("ping_strikes", _strikes),
    "grpc.max_connection_age_ms": ("connection_age_seconds", _seconds_or_never),
    "grpc.max_connection_age_grace_ms": ("connection_age_grace_seconds", _seconds),
    "grpc.max_connection_idle_ms": ("connection_idle_seconds", _seconds_or_never),
    "grpc.server_handshake_timeout_ms": ("preface_seconds", _positive_seconds),
    "grpc.http2.settings_timeout": ("settings_seconds", _positive_seconds),
}
_CHANNEL: Mapping[str, tuple[str, _Reader]] = {
    "grpc.primary_user_agent": ("user_agent_prefix", _text),
    "grpc.secondary_user_agent": ("user_agent_suffix", _text),
    "grpc.default_authority": ("authority", _text),
    "grpc.ssl_target_name_override": ("tls_server_name", _text),
    "grpc.service_config": ("service_config", _text),
    "grpc.enable_retries": ("retries", _switch),
    "grpc.lb_policy_name": ("balancing", _text),
    "grpc.default_compression_algorithm": ("compression", _compression),
    "grpc.initial_reconnect_backoff_ms": ("initial_backoff_seconds", _backoff),
    "grpc.max_reconnect_backoff_ms": ("largest_backoff_seconds", _backoff),
    "grpc.min_reconnect_backoff_ms": ("connect_timeout_seconds", _backoff),
    "grpc.dns_min_time_between_resolutions_ms": ("resolution_seconds", _seconds),
    "grpc.client_idle_timeout_ms": ("idle_seconds", _seconds_or_never),
    "grpc.keepalive_permit_without_calls": ("keepalive_without_calls", _switch),
}
_SERVER: Mapping[str, tuple[str, _Reader]] = {
    "grpc.default_compression_algorithm": ("compression", _compression),
    "grpc.so_reuseport": ("reuse_port", _switch),
}
