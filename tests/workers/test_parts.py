"""The small parts: cores and sizes, what systemd passes, messages, sockets."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten._serving import Ending
from hasten.service import ServiceOptions
from hasten.workers import Binding, Systemd, available_cores, bind, parse_size, take_sockets
from hasten.workers._binding import SharedListeners, SpreadListeners
from hasten.workers._machine import resident_bytes
from hasten.workers._messages import DRAIN, ORDERS, REPORT, Drain, Failed, Lines, Orders, Ready, Worn, line_of

CORES = len(os.sched_getaffinity(0))


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """Make a file system of cgroups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("_cfs", ".cfs")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("", {}, CORES),
        ("0::/\n", {"cpu_max": "max 100000\n"}, CORES),
        ("0::/\n", {"cpu_max": "150000 100000\n"}, 1),
        ("0::/\n", {"cpu_max": "20000 100000\n"}, 1),
        ("0::/pod/app\n", {"pod__app__cpu_max": "max 100000\n", "pod__cpu_max": "100000 100000\n"}, 1),
        ("0::/../../pod\n", {"cpu_max": "100000 100000\n"}, 1),
        (
            "4:cpu,cpuacct:/\n3:memory:/\n",
            {"cpu__cpu_cfs_quota_us": "100000\n", "cpu__cpu_cfs_period_us": "100000\n"},
            1,
        ),
        ("4:cpu,cpuacct:/\n", {"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"}, CORES),
        ("0::/\n", {"cpu_max": "nonsense"}, CORES),
    ],
)
def test_cores(tmp_path: Path, cgroup: str, files: dict[str, str], cores: int) -> None:
    """They are those of the affinity, or whole ones of the smallest quota above, and at least one."""
    assert available_cores(machine(tmp_path, cgroup, **files)) == cores


@pytest.mark.parametrize(("text", "size"), [("512mb", 512 << 20), ("1.5gb", 3 << 29), ("10KB", 10240)])
def test_sizes(text: str, size: int) -> None:
    """A size is a number with its unit."""
    assert parse_size(text, "--max-memory") == size


@pytest.mark.parametrize("text", ["", "512", "-1mb", "1e3mb", "mb", "1 tb"])
def test_bad_sizes(text: str) -> None:
    """Anything else says how to write one."""
    with pytest.raises(ConfigurationError, match="write it like 512mb"):
        parse_size(text, "--max-memory")


def test_memory() -> None:
    """It is known of a process that is there, and of no other one."""
    assert (resident_bytes(os.getpid()) or 0) > 1 << 20
    assert resident_bytes(2**22 + 1) is None


@given(st.lists(st.binary().map(lambda data: data.replace(b"\n", b""))), st.lists(st.integers(1, 20)))
def test_lines_come_in_any_pieces(lines: list[bytes], sizes: list[int]) -> None:
    """However the stream is cut, the lines are the same."""
    stream = b"".join(line + b"\n" for line in lines)
    parts, got = Lines(), []
    for size in sizes:
        got += parts.feed(stream[:size])
        stream = stream[size:]
    assert got + parts.feed(stream) == lines


def test_messages_arrive_as_they_were() -> None:
    """Each is a line, and says the same on the other side."""
    options = ServiceOptions(record=Path("x"), profiles=Path("/y"), slo=None, ending=Ending(grace=1.5), worker=3)
    orders = Orders(target="shop:app", options=options, listeners=(3, 4), max_requests=7)
    assert ORDERS.decode(line_of(orders)) == orders
    assert DRAIN.decode(line_of(Drain(hand_over=True, lame_duck=0.0))) == Drain(hand_over=True, lame_duck=0.0)
    for report in (Ready("http://127.0.0.1:1"), Failed("no\nway", 3), Worn("old")):
        line = line_of(report)
        assert line.count(b"\n") == 1
        assert REPORT.decode(line) == report


def test_an_environment_is_taken() -> None:
    """What systemd says is for this process, not for those that it starts."""
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    assert Systemd.of(environment).watchdog == 3.0
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "3000000"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
    ],
)
def test_no_watchdog(environment: dict[str, str]) -> None:
    """Nobody is told where nobody asks, or another process is asked; and who does not listen is no error."""
    systemd = Systemd.of(environment)
    assert systemd.watchdog is None
    systemd.ready("fine")


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x"}]
)
def test_sockets_of_others(environment: dict[str, str]) -> None:
    """Sockets that were passed to another process, its parent for example, are not taken."""
    assert take_sockets(environment) == ()
    assert environment == {}


def test_each_slot_has_a_socket() -> None:
    """Of one port; one that is released and asked for again is another socket."""
    listeners = bind(Binding(port=0), workers=True)
    assert isinstance(listeners, SpreadListeners)
    first, second = listeners.of_slot(0)[0], listeners.of_slot(1)[0]
    assert listeners.of_slot(1) == (second,)
    assert listeners.place == f"http://127.0.0.1:{first.getsockname()[1]}"
    assert first.getsockname() == second.getsockname()
    for _ in range(2):
        listeners.release(1)
    assert second.fileno() == -1
    assert listeners.of_slot(1)[0].getsockname() == first.getsockname()
    listeners.close()
    assert first.fileno() == -1


def test_ipv6() -> None:
    """The place is a URL."""
    try:
        listeners = bind(Binding(host="::1", port=0), workers=True)
    except ConfigurationError:
        pytest.skip("no IPv6 here")
    assert listeners.place.startswith("http://[::1]:")
    listeners.close()


def test_sockets_of_systemd_come_first(tmp_path: Path) -> None:
    """They are what is served on, all of them, whatever the options say."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "x"))
        listeners = bind(Binding(port=1), (one, other), workers=True)
        assert isinstance(listeners, SharedListeners)
        assert listeners.place == f"http://127.0.0.1:{one.getsockname()[1]}, unix:{tmp_path / 'x'}"
        assert listeners.of_slot(5) == (one, other)


def test_a_unix_socket_that_is_served(tmp_path: Path) -> None:
    """One that another process listens on stays, and a file that is no socket, too: both are said."""
    path = tmp_path / "shop.sock"
    with socket.socket(socket.AF_UNIX) as serving:
        serving.bind(str(path))
        serving.listen()
        with pytest.raises(ConfigurationError, match="Address already in use"):
            bind(Binding(uds=path), workers=True)
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ConfigurationError, match="Address already in use"):
        bind(Binding(uds=file), workers=True)
    assert file.read_text() == "precious"


@pytest.mark.parametrize(("fd", "problem"), [(999999, "Bad file descriptor"), (None, "it is no socket to listen on")])
def test_what_is_no_listening_socket(fd: int | None, problem: str) -> None:
    """A descriptor that is closed, or of a connection, is refused."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ConfigurationError, match=problem):
            bind(Binding(fd=fd or ours.fileno()), workers=True)
        assert ours.fileno() != -1
    with pytest.raises(ConfigurationError, match="leave one of them out"):
        bind(Binding(fd=3, uds=Path("x")), workers=True)
