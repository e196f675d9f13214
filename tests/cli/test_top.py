"""`hasten top`: in a terminal of its own, in a pipe, and when there is nothing to show."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hasten.cli._top_view import SORTS, Screen, Seen, draw, spark
from hasten.monitor._sample import BlockingSite, Budget, Consumer, Holds, Lookups, Point, Sample, Share, Timed
from tests.admin.live.services import Service

COMMAND = [sys.executable, "-m", "hasten", "top"]
_PATIENCE = 30.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a loaded service that no test ends."""
    running = Service(tmp_path_factory.mktemp("service"))
    try:
        running.until(lambda story: story.sample and story.sample.routes and story.sample.shares)
        yield running
    finally:
        running.end()


class Terminal:
    """A terminal with `hasten top` in it.

    Attributes:
      written: All that was written to it.
    """

    def __init__(self, *arguments: str, columns: int = 130, lines: int = 45) -> None:
        self._master, self._slave = pty.openpty()
        ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._before = termios.tcgetattr(self._slave)
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=environment,
            start_new_session=True,
        )

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    @property
    def text(self) -> str:
        """What is seen."""
        return "\n".join(self._screen.display)

    def until(self, seen: Callable[[str], Any]) -> str:
        """Return the text when `seen` is true of it."""
        end = time.monotonic() + _PATIENCE
        while not seen(self.text):
            assert time.monotonic() < end, self.text
            self._read(0.1)
        return self.text

    def _read(self, patience: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], patience)
        if not ready:
            return False
        part = os.read(self._master, 65536)
        self.written += part
        self._stream.feed(part)
        return True

    def end(self) -> int:
        """Return the exit code, when it has ended and the terminal has been left as it was."""
        end = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text
            self._read(0.1)
        while self._read(0.0):
            pass
        assert termios.tcgetattr(self._slave) == self._before
        assert self.written.count(b"\x1b[?1049h") == self.written.count(b"\x1b[?1049l")
        assert self.written.rfind(b"\x1b[?25h") >= self.written.rfind(b"\x1b[?25l")  # the cursor is seen
        os.close(self._master)
        os.close(self._slave)
        return self.process.returncode


def hasten_top(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a pipe."""
    return subprocess.run(
        [*COMMAND, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=_PATIENCE
    )


# ---- in a terminal


PARTS = (
    "orders",
    "ready",
    "GET /products/{product_id}",
    "where the time goes",
    "waiting",
    "place-order",
    "hasten product",
    "q  quit",
)


def test_the_terminal_shows_a_service_and_obeys_keys(service: Service) -> None:
    """Routes, time, objectives and caches are shown; s sorts, p pauses, q quits and leaves the terminal as it was."""
    terminal = Terminal(service.admin)
    text = terminal.until(lambda text: all(part in text for part in PARTS))
    assert "in flight ↓" in text
    terminal.press("s")
    terminal.until(lambda text: "a second ↓" in text)
    terminal.press("p")
    paused = terminal.until(lambda text: " paused " in text)
    terminal.press("p")
    terminal.until(lambda text: " paused " not in text and _figures(text) != _figures(paused))
    terminal.press("q")
    assert terminal.end() == 0


def _figures(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("requests "))


def test_a_paused_screen_keeps_its_figures(service: Service) -> None:
    """While it is paused the figures stay, whatever is pressed, and samples go on coming."""
    terminal = Terminal(service.admin)
    terminal.until(lambda text: "GET /search" in text)
    terminal.press("p")
    before = _figures(terminal.until(lambda text: " paused " in text))
    newest = service.until(lambda story: story.sample).points[-1].at
    service.until(lambda story: story.points[-1].at > newest + 2)
    terminal.press("s")
    assert _figures(terminal.until(lambda text: "a second ↓" in text)) == before
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_terminal_as_it_was(service: Service, number: int, code: int) -> None:
    """Ctrl-C and SIGTERM end it with their exit codes, cursor, screen and line editing restored."""
    terminal = Terminal(service.admin)
    terminal.until(lambda text: "GET /search" in text)
    terminal.process.send_signal(number)
    assert terminal.end() == code
    assert b"Traceback" not in terminal.written


def test_a_narrow_terminal_has_what_matters_most(service: Service) -> None:
    """On 50 columns each route has its rate and p99, in lines of its own."""
    terminal = Terminal(service.admin, columns=50)
    text = terminal.until(lambda text: "POST /orders" in text)
    (row,) = [line for line in text.splitlines() if line.startswith("POST /orders ") and line.rstrip().endswith("ms")][
        -1:
    ]
    assert len(row.split()) >= 4
    assert "p50" not in next(line for line in text.splitlines() if line.startswith("route "))
    terminal.press("q")
    assert terminal.end() == 0


def test_a_blocked_loop_is_told_with_its_line(service: Service) -> None:
    """While the event loop stands still the screen says for how long, and where."""
    terminal = Terminal(service.admin)
    terminal.until(lambda text: "GET /search" in text)
    waits = service.block(3.0)
    text = terminal.until(lambda text: "EVENT LOOP BLOCKED" in text and "busy_service.py" in text)
    assert " block" in next(line for line in text.splitlines() if "BLOCKED" in line)
    terminal.until(lambda text: "EVENT LOOP BLOCKED" not in text)
    waits.join()
    terminal.press("q")
    assert terminal.end() == 0


def test_it_outlives_the_service(tmp_path: Path) -> None:
    """When a service ends it says so, and goes on by itself when another begins there."""
    first = Service(tmp_path)
    terminal = Terminal(first.admin)
    terminal.until(lambda text: "ready" in text)
    first.end()
    terminal.until(lambda text: "reconnecting" in text)
    second = Service(tmp_path, admin=first.admin.removeprefix("http://"))
    terminal.until(lambda text: "reconnecting" not in text and "POST /orders" in text)
    second.end()
    terminal.press("q")
    assert terminal.end() == 0


def test_several_processes_are_a_table_and_one_of_them(service: Service, tmp_path: Path) -> None:
    """Each process is a row, and tab takes the next one to show in full."""
    other = Service(tmp_path)
    terminal = Terminal(service.admin, other.admin)
    mine, theirs = (one.admin.removeprefix("http://") for one in (service, other))
    terminal.until(lambda text: f"> orders {mine}" in text and f"  orders {theirs}" in text)
    terminal.press("\t")
    terminal.until(lambda text: f"> orders {theirs}" in text and f"  orders {mine}" in text)
    terminal.press("q")
    assert terminal.end() == 0
    other.end()


# ---- in a pipe


def test_once_prints_a_frame_without_a_terminal(service: Service) -> None:
    """--once, and a pipe, print the same frame, without escape sequences."""
    for arguments in ((service.admin, "--once"), (service.admin,)):
        done = hasten_top(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "POST /orders" in done.stdout
        assert "\x1b" not in done.stdout


def test_no_color_takes_the_colours_and_gives_marks(service: Service) -> None:
    """With NO_COLOR a terminal gets no colours, and bars can be read by their marks."""
    terminal = Terminal(service.admin)
    terminal.until(lambda text: "█ waiting" in text and "q  quit" in text)
    terminal.press("q")
    terminal.end()
    os.environ["NO_COLOR"] = "1"
    try:
        plain = Terminal(service.admin)
    finally:
        del os.environ["NO_COLOR"]
    plain.until(lambda text: "q  quit" in text and "█ waiting" in text and any(mark in text for mark in "▓▒░▞▚▙▟▛▜"))
    plain.press("q")
    plain.end()
    coloured = re.compile(rb"\x1b\[(?:\d+;)*3[1-6]m")
    assert coloured.search(terminal.written)
    assert not coloured.search(plain.written)


def test_json_is_one_sample_a_line(service: Service) -> None:
    """--json prints samples one after the other, with names for the figures and the URL that they are from."""
    process = subprocess.Popen([*COMMAND, service.admin, "--json"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_PATIENCE)
    assert process.returncode == 130
    times = [line["point"]["at"] for line in lines]
    assert times == sorted(set(times))
    assert all((line["url"], line["service"]) == (service.admin, "orders") for line in lines)
    assert any(row["name"] == "POST /orders" for row in lines[-1]["routes"])
    one = hasten_top(service.admin, "--json", "--once")
    assert json.loads(one.stdout)["point"]["rate"] > 0


def test_processes_are_found_by_pid_and_by_target(service: Service) -> None:
    """A PID, and a target that a process was started with, stand for its admin port."""
    for word in (str(service.pid), service.target):
        done = hasten_top(word, "--json", "--once")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["url"] == service.admin


# ---- what goes wrong


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that has nothing to do with hasten."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


def test_nothing_there_is_one_line_and_exit_code_3(service: Service, bystander: subprocess.Popen[bytes]) -> None:
    """Where nothing answers, nothing listens or nothing runs, there is one line that says so."""
    dead = "http://127.0.0.1:1"
    for arguments, problem in (
        ((dead,), "Connection refused"),
        ((dead, "--json"), "Connection refused"),
        ((dead, "--once"), "Connection refused"),
        ((f"http://127.0.0.1:{service.port}", "--once"), "no admin port of hasten"),
        (("nothing_of_this_name:app",), "no process on this machine"),
        ((str(bystander.pid),), "no admin port of hasten in this process"),
    ):
        done = hasten_top(*arguments)
        assert done.returncode == 3, done
        assert done.stdout == ""
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
    assert Terminal(dead).end() == 3
    assert hasten_top("ftp://here").returncode == 2


def test_a_token_is_given_by_option_or_variable(tmp_path: Path) -> None:
    """Without the token there is one line that says how to give it; with it, figures."""
    service = Service(tmp_path, token="open sesame")
    try:
        done = hasten_top(service.admin, "--once")
        assert (done.returncode, "HASTEN_ADMIN_TOKEN" in done.stderr) == (3, True)
        assert hasten_top(service.admin, "--once", "--token", "open sesame").returncode == 0
        assert hasten_top(service.admin, "--once", HASTEN_ADMIN_TOKEN="open sesame").returncode == 0
        assert hasten_top(str(service.pid), "--once", HASTEN_ADMIN_TOKEN="open sesame").returncode == 0
    finally:
        service.end()


# ---- the picture

_names = st.text(max_size=60)
_seconds = st.none() | st.floats(0.0, 1e4)
_rates = st.floats(0.0, 1e6)
_timed = st.builds(Timed, name=_names, rate=_rates, failed=_rates, p50=_seconds, p99=_seconds, busy=_rates)
_samples = st.builds(
    Sample,
    service=_names,
    started=st.just(0.0),
    point=st.builds(Point, at=st.floats(0.0, 1e9), rate=_rates, p99=_seconds, blocked=st.floats(0.0, 100.0)),
    blocked_at=_names,
    checks=st.lists(st.builds(Holds, name=_names, ok=st.booleans(), reason=_names), max_size=3).map(tuple),
    objectives=st.lists(st.builds(Budget, name=_names, of=_names, burn=_seconds), max_size=3).map(tuple),
    routes=st.lists(_timed, max_size=4).map(tuple),
    shares=st.lists(
        st.builds(Share, endpoint=_names, kinds=st.dictionaries(_names, st.floats(0.0, 100.0), max_size=4)), max_size=3
    ).map(tuple),
    sites=st.lists(st.builds(BlockingSite, site=_names, last=_seconds), max_size=3).map(tuple),
    consumers=st.lists(st.builds(Consumer, name=_names, waiting=_seconds), max_size=2).map(tuple),
    caches=st.lists(st.builds(Lookups, name=_names, hit=st.none() | st.floats(0.0, 1.0)), max_size=2).map(tuple),
    answered=st.lists(_timed, max_size=2).map(tuple),
)


@settings(max_examples=60)
@given(_samples, st.integers(20, 200), st.sampled_from(SORTS), st.booleans())
def test_any_sample_can_be_drawn_on_any_terminal(sample: Sample, width: int, sort: str, several: bool) -> None:  # noqa: FBT001
    """Whatever a service tells, no line is longer than the terminal is wide, and nothing is taken for markup."""
    processes = (Seen(url="http://127.0.0.1:9464", sample=sample), Seen(url="http://b", trouble="gone"))
    console = Console(width=width, force_terminal=False, record=False, highlight=False)
    screen = Screen(processes=processes if several else processes[:1], sort=sort, keys=True, width=width)
    lines = console.render_lines(draw(screen), pad=False)
    for line in lines:
        assert sum(segment.cell_length for segment in line) <= width


def test_a_course_is_drawn_from_zero() -> None:
    """The highest value is a whole block, zero the lowest, and what was not measured a blank."""
    assert spark([0.0, None, 5.0, 10.0]) == "▁ ▅█"
    assert spark([0.0, 0.0]) == "▁▁"
    assert spark([]) == ""
