"""Where the admin port may be, and who may ask there."""

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.admin import AdminAddress, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9464", "127.0.0.1", 9464), ("localhost:0", "localhost", 0), ("[::1]:65535", "::1", 65535)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    """Host and port, with a name or an IPv6 address too."""
    assert parse_address(text) == AdminAddress(host=host, port=port)


@pytest.mark.parametrize("text", ["", "9464", ":9464", "localhost", "localhost:", "localhost:-1", "localhost:65536"])
def test_what_is_no_address(text: str) -> None:
    """It is refused with an example."""
    with pytest.raises(ConfigurationError, match=r"is no address; write one like 127\.0\.0\.1:9464"):
        parse_address(text)


@given(st.text())
def test_hostile_addresses(text: str) -> None:
    """Whatever the text, there is an address or one clear line."""
    with contextlib.suppress(ConfigurationError):
        assert 0 <= parse_address(text).port <= 65535


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "[::]", "admin.internal"])
def test_open_to_others_needs_a_token(host: str) -> None:
    """An address that others can reach is refused without a token, and taken with one."""
    with pytest.raises(ConfigurationError, match="give admin_token="):
        parse_address(f"{host}:9464")
    assert parse_address(f"{host}:9464", "secret").token == "secret"


def test_who_is_admitted() -> None:
    """With a token only who sends it, without one everybody."""
    assert AdminAddress().admits(b"")
    guarded = AdminAddress(token="sécret")
    assert guarded.admits("Bearer sécret".encode())
    assert not any(guarded.admits(said) for said in (b"", b"Bearer ", b"Bearer secret", "sécret".encode()))


def test_the_next_free_port() -> None:
    """Each process that comes gets the next port, and the number of those before it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener, number = AdminAddress(port=port).bind()
        with listener:
            assert listener.getsockname()[1] == port + number
            assert number >= 1


def test_any_port() -> None:
    """Port 0 is any that is free, and its process is the first."""
    listener, number = AdminAddress(port=0).bind()
    with listener:
        assert number == 0
        assert listener.getsockname()[1] > 0


def test_an_address_of_another_machine() -> None:
    """What cannot be bound is refused with the reason."""
    with pytest.raises(ConfigurationError, match=r"admin 192\.0\.2\.1:9464: Cannot assign requested address"):
        AdminAddress(host="192.0.2.1").bind()
