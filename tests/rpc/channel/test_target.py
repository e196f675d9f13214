"""Targets are read as gRPC reads them, and addresses are shown as gRPC shows them."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._target import Address, Place, Target, parse_target, peer_label

# ---- what is accepted


@pytest.mark.parametrize(
    ("target", "scheme", "endpoints", "authority"),
    [
        ("stock:50051", "dns", [("stock", 50051)], "stock:50051"),
        ("stock", "dns", [("stock", 443)], "stock"),
        ("stock.shop.svc.cluster.local.:1", "dns", [("stock.shop.svc.cluster.local.", 1)], None),
        ("dns:stock:50051", "dns", [("stock", 50051)], "stock:50051"),
        ("dns:stock", "dns", [("stock", 443)], "stock"),
        ("dns:/stock:50051", "dns", [("stock", 50051)], "stock:50051"),
        ("dns:///stock:50051", "dns", [("stock", 50051)], "stock:50051"),
        ("DNS:///Stock:50051", "dns", [("Stock", 50051)], "Stock:50051"),
        ("dns:///stock:50051?a=1#b", "dns", [("stock", 50051)], "stock:50051"),
        ("127.0.0.1:80", "dns", [("127.0.0.1", 80)], "127.0.0.1:80"),
        ("[::1]:80", "dns", [("::1", 80)], "[::1]:80"),
        ("[::1]", "dns", [("::1", 443)], "[::1]"),
        ("::1", "dns", [("::1", 443)], "[::1]"),
        ("dns:%5B::1%5D:80", "dns", [("::1", 80)], "[::1]:80"),
        ("ipv4:1.2.3.4:50051", "ipv4", [("1.2.3.4", 50051)], "1.2.3.4:50051"),
        ("ipv4:///1.2.3.4:50051", "ipv4", [("1.2.3.4", 50051)], "1.2.3.4:50051"),
        ("ipv4:1.2.3.4:1,1.2.3.5,1.2.3.4:1,", "ipv4", [("1.2.3.4", 1), ("1.2.3.5", 443)], "1.2.3.4:1"),
        ("ipv6:[::1]:50051", "ipv6", [("::1", 50051)], "[::1]:50051"),
        ("ipv6:::1", "ipv6", [("::1", 443)], "[::1]"),
        ("ipv6:[::1]:1,[::2]:2", "ipv6", [("::1", 1), ("::2", 2)], "[::1]:1"),
        ("ipv6:[fe80::1%25eth0]:1", "ipv6", [("fe80::1%eth0", 1)], "[fe80::1]:1"),
        ("unix:stock.sock", "unix", ["stock.sock"], "localhost"),
        ("unix:/run/stock.sock", "unix", ["/run/stock.sock"], "localhost"),
        ("unix:///run/stock.sock", "unix", ["/run/stock.sock"], "localhost"),
        ("unix:///run/a%20b", "unix", ["/run/a b"], "localhost"),
        ("unix-abstract:stock", "unix-abstract", ["\0stock"], "localhost"),
    ],
)
def test_forms(target: str, scheme: str, endpoints: list[Place], authority: str | None) -> None:
    """Every form of naming.md gives its endpoints and its authority, and keeps its name."""
    parsed = parse_target(target)
    assert (parsed.scheme, list(parsed.endpoints), parsed.name) == (scheme, endpoints, target)
    assert authority in (parsed.authority, None)


def test_sequence_of_targets() -> None:
    """Several targets are used together, without repeats; the first one gives the authority."""
    parsed = parse_target(["stock-1:1", "unix:/s", "stock-1:1", "ipv4:1.2.3.4:5"])
    assert parsed == Target(
        "list",
        (("stock-1", 1), "/s", ("1.2.3.4", 5)),
        "stock-1:1",
        "stock-1:1, unix:/s, stock-1:1, ipv4:1.2.3.4:5",
    )
    assert parse_target(("stock:1",)) == parse_target("stock:1")


# ---- what is refused


def problem(target: Any) -> str:
    """Return the one line that parsing `target` ends in."""
    with pytest.raises(ConfigurationError) as caught:
        parse_target(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "no host in it"),
        ("dns:", "no host in it"),
        ("dns:///", "no host in it"),
        (":50051", "no host in it"),
        ("stock:", "'' is no port"),
        ("stock:0", "'0' is no port; 1 to 65535"),
        ("stock:65536", "'65536' is no port"),
        ("stock:http", "'http' is no port"),
        ("stock:٣", "is no port"),
        ("stock:50051/x", "'50051/x' is no port"),
        ("sto ck:50051", "'sto ck' is no host"),
        ("stöck:50051", "is no host"),
        ("a" * 254, "is no host"),
        ("stock:1,stock:2", "is no host"),
        ("[::1:80", "has no IPv6 address between its brackets"),
        ("[stock]:80", "has no IPv6 address between its brackets"),
        ("[::1]80", "has no IPv6 address between its brackets"),
        ("dns://8.8.8.8/stock:50051", "would be a DNS server; the system's resolver is asked; write dns:///..."),
        ("//stock:1", "'//stock' is no host"),
        ("http://stock:50051/", "a URL is no gRPC target; write dns:///stock:50051"),
        ("xds:///stock", "scheme 'xds' is not supported; dns, ipv4, ipv6, unix, unix-abstract are; or grpc.aio"),
        ("ipv4:", "no address in it; for example ipv4:10.0.0.1:50051,10.0.0.2:50051"),
        ("ipv4:,", "no address in it"),
        ("ipv4:stock:50051", "'stock' is no IPv4 address"),
        ("ipv4:[::1]:50051", "'::1' is no IPv4 address"),
        ("ipv4:1.2.3.4:99999", "'99999' is no port"),
        ("ipv6:1.2.3.4:1", "'1.2.3.4' is no IPv6 address"),
        ("ipv6:[fe80::1%a b]:1", "has no IPv6 address between its brackets"),
        ("unix:", "no path in it"),
        ("unix://run/stock.sock", "a path after // must be absolute; write unix:///..."),
        ("unix:/" + "a" * 107, "the path has 108 bytes, a socket's has at most 107"),
        ("unix:/a%00b", "the path has a NUL byte in it"),
        ("unix:/\ud800", "the path is no valid text"),
        ("unix-abstract:", "no path in it"),
        ([], "neither a target nor a sequence of targets"),
        (["stock:1", 2], "neither a target nor a sequence of targets"),
        (["stock:1", "ipv4:x"], "'x' is no IPv4 address"),
        (b"stock:1", "neither a target nor a sequence of targets"),
        (None, "neither a target nor a sequence of targets"),
    ],
)
def test_refused(target: Any, said: str) -> None:
    """What cannot be a target is refused in one line that says what is wrong."""
    assert said in problem(target)


@given(
    st.text()
    | st.text(alphabet="dnsipvux46-abstract:/[]%,.#?0123456789\0\n ")
    | st.builds("{}:{}".format, st.sampled_from(["dns", "ipv4", "ipv6", "unix", "unix-abstract", "dns://"]), st.text())
)
def test_any_text(text: str) -> None:
    """Any text is a target with an endpoint and a printable authority, or a ConfigurationError of one line."""
    try:
        target = parse_target(text)
    except ConfigurationError as error:
        said = str(error)
    else:
        assert target.endpoints
        said = target.authority
        assert said.isascii()
    assert "\n" not in said


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?(\.[a-z]{1,9}){0,3}", fullmatch=True), st.integers(1, 65_535))
def test_host_and_port_come_back(host: str, port: int) -> None:
    """Any host name and port are read unchanged in each of the three ways to write them."""
    for target in (f"dns:///{host}:{port}", f"dns:{host}:{port}"):
        assert parse_target(target).endpoints == ((host, port),)
    if host not in ("dns", "ipv4", "ipv6", "unix"):
        assert parse_target(f"{host}:{port}").endpoints == ((host, port),)


# ---- as grpcio does it


class AuthorityRecorder(asyncio.Protocol):
    """As much of an HTTP/2 server as it takes to read the `:authority` of a first request, and to refuse it."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen
        self._data = b""
        self._decoder = hpack.Decoder()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"\0\0\0\4\0\0\0\0\0")

    def data_received(self, data: bytes) -> None:
        self._data += data
        position = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while len(self._data) >= position + 9:
            end = position + 9 + int.from_bytes(self._data[position : position + 3])
            if len(self._data) >= end and self._data[position + 3] == 1:
                headers: dict[Any, Any] = dict(self._decoder.decode(self._data[position + 9 : end]))
                self._seen.append(headers[":authority"])
                self._transport.abort()
                return
            position = end


async def authority_of_grpcio(target: str) -> str:
    """Return the `:authority` that a real grpc.aio client sends; `PORT` in the target is that of our server."""
    seen: list[str] = []
    host = "::1" if "::1" in target else "127.0.0.1"
    server = await asyncio.get_running_loop().create_server(lambda: AuthorityRecorder(seen), host, 0)
    port = str(server.sockets[0].getsockname()[1])
    async with server, grpc.aio.insecure_channel(target.replace("PORT", port)) as channel:
        call: Any = channel.unary_unary("/a.B/C")
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call(b"", timeout=10)
    return seen[0].replace(port, "PORT")


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:PORT",
        "dns:127.0.0.1:PORT",
        "DNS:///127.0.0.1:PORT?a",
        "ipv4:127.0.0.1:PORT",
        "ipv4:///127.0.0.1:PORT",
    ],
)
def test_authority_is_grpcios(target: str) -> None:
    """The authority of a target is the one a grpc.aio client sends for it."""
    parsed = parse_target(target.replace("PORT", "50051"))
    assert parsed.authority.replace("50051", "PORT") == asyncio.run(authority_of_grpcio(target))


@pytest.mark.parametrize("target", ["[::1]:PORT", "dns:[::1]:PORT", "ipv6:[::1]:PORT", "ipv6:%5B::1%5D:PORT"])
def test_authority_is_grpcios_for_ipv6(target: str) -> None:
    """An IPv6 address keeps its brackets in the authority, as with grpc.aio."""
    require_ipv6()
    parsed = parse_target(target.replace("PORT", "50051"))
    assert parsed.authority.replace("50051", "PORT") == asyncio.run(authority_of_grpcio(target))


def require_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 loopback here: {error}")


async def words_of_grpcio(target: str) -> str:
    """Return what a grpc.aio client says when it cannot connect to `target`."""
    async with grpc.aio.insecure_channel(target) as channel:
        call: Any = channel.unary_unary("/a.B/C")
        try:
            await call(b"", timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.details() or ""
    return ""


def test_labels_are_grpcios(tmp_path: Path) -> None:
    """An address is named as grpcio names it in its own words on a failed connection."""
    path = str(tmp_path / "none.sock")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        port = closed.getsockname()[1]
        for target, address in (
            (f"ipv4:127.0.0.1:{port}", Address(socket.AF_INET, ("127.0.0.1", port))),
            (f"unix:{path}", Address(socket.AF_UNIX, path)),
            ("unix-abstract:hasten-none", Address(socket.AF_UNIX, "\0hasten-none")),
        ):
            assert f" {address.label}: " in asyncio.run(words_of_grpcio(target))


def test_ipv6_label_is_grpcios() -> None:
    """The brackets of an IPv6 address are percent-encoded in its label, as grpcio does."""
    require_ipv6()
    with socket.socket(socket.AF_INET6) as closed:
        closed.bind(("::1", 0))
        port = closed.getsockname()[1]
        label = Address(socket.AF_INET6, ("::1", port, 0, 0)).label
        assert f" {label}: " in asyncio.run(words_of_grpcio(f"ipv6:[::1]:{port}"))


@pytest.mark.parametrize(
    ("family", "sockaddr", "label"),
    [
        (socket.AF_INET, ("127.0.0.1", 5), "ipv4:127.0.0.1:5"),
        (socket.AF_INET6, ("::1", 5, 0, 0), "ipv6:%5B::1%5D:5"),
        (socket.AF_INET6, ("fe80::1", 5, 0, 1), "ipv6:%5Bfe80::1%251%5D:5"),
        (socket.AF_INET6, ("fe80::1%eth0", 5, 0, 1), "ipv6:%5Bfe80::1%25eth0%5D:5"),
        (socket.AF_INET6, ("::ffff:10.0.0.1", 5, 0, 0), "ipv4:10.0.0.1:5"),
        (socket.AF_UNIX, "/run/a", "unix:/run/a"),
        (socket.AF_UNIX, "", "unix:"),
        (socket.AF_UNIX, b"\0a", "unix-abstract:a"),
    ],
)
def test_labels(family: socket.AddressFamily, sockaddr: Sequence[Any], label: str) -> None:
    """Whatever a socket says of its peer has a label."""
    assert peer_label(family, sockaddr) == label


def test_addresses_compare_by_where_they_lead() -> None:
    """Equal addresses are equal and hash alike, so that repeats can be dropped and subchannels be found again."""
    one, same = (Address(socket.AF_INET, ("127.0.0.1", 5)) for _ in range(2))
    assert len({one, same, Address(socket.AF_INET, ("127.0.0.1", 6))}) == 2
