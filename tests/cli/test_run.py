"""`hasten run`: serves, records, stops gracefully; runs a bus alone; bad input is one clear line."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from hasten.events import Bus
from hasten.events._broker import Inspection
from hasten.ledger import read_accounts
from tests.events.brokers.adapter import new_topic

APP = """
import asyncio
from fastapi import FastAPI

app = FastAPI()
number = 7

@app.get("/items/{item}")
async def item(item: int) -> int:
    await asyncio.sleep(0.05)
    return item
"""
TELLS = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    whole = str("hasten.whole" in scope).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": whole})
"""
FAILS = """
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    raise RuntimeError("no database")
    yield

app = FastAPI(lifespan=lifespan)
"""
MAILER = """
import asyncio
import sys
from hasten.events import Bus

class Publishing(Bus):
    async def start(self):
        await super().start()
        await self.publish("orders.paid", 7)

bus = {make}

@bus.subscribe("{topic}", group="mail")
async def mail(order: int):
    print("begun", order, type(asyncio.get_running_loop()).__module__, flush=True)
    try:
        await asyncio.to_thread(sys.stdin.readline) if {ends} else await asyncio.Event().wait()
        print("mailed", flush=True)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

@bus.subscribe("orders.cancelled", group="stock")
async def stock(order: int):
    pass

idle = Bus("memory://")
away = Bus("amqp://secret:hidden@127.0.0.1:1")

@away.subscribe("orders.paid", group="mail")
async def never(order: int):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "tells.py").write_text(TELLS)
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    return tmp_path


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run `hasten run` without an admin port; yield the process and its URL; end it if the test has not."""
    command = [sys.executable, "-m", "hasten", "run", "--admin", "off", *options]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"listening on (http://\S+)", line)
            assert found, line
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()


def refused(folder: Path, *options: str) -> tuple[int, str]:
    """Return exit code and stderr of a `hasten run` that cannot serve."""
    command = [sys.executable, "-m", "hasten", "run", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("options", [(), ("--loop", "asyncio", "--http", "h11")])
def test_serves_records_and_stops_gracefully(folder: Path, options: tuple[str, ...]) -> None:
    """A request in flight at SIGTERM is answered, its account is written, the exit code is 0."""
    with running(folder, "shop:app", "--port", "0", "--record", "recorded", *options) as (process, url):
        assert urllib.request.urlopen(f"{url}/items/1", timeout=10).read() == b"1"
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET /items/2 HTTP/1.1\r\nHost: test\r\n\r\n")
            process.send_signal(signal.SIGTERM)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert process.wait(20) == 0
    (file,) = (folder / "recorded").iterdir()
    assert file.name == f"shop-{process.pid}.accounts"
    assert [account.target for account in read_accounts(file)] == ["/items/1", "/items/2"]


@pytest.mark.parametrize(("options", "whole"), [((), "True"), (("--http", "h11"), "False")])
def test_serves_by_a_protocol(folder: Path, options: tuple[str, ...], whole: str) -> None:
    """Requests that are not recorded reach the app with a `send` by which it can answer at once, if ours can."""
    with running(folder, "tells:app", "--port", "0", "--sample-every", "1000000", *options) as (_, url):
        answers = [urllib.request.urlopen(url, timeout=10).read().decode() for _ in range(3)]
    assert answers == [whole] * 3


def test_the_admin_port_is_said(folder: Path) -> None:
    """What serves an app serves an admin port, says where, and names the routes of the app there."""
    with running(folder, "shop:app", "--port", "0", "--admin", "127.0.0.1:0") as (process, url):
        found = re.fullmatch(r"hasten: shop is seen live on (http://\S+)", line_of(process.stderr))
        assert found
        assert urllib.request.urlopen(f"{url}/items/1", timeout=10).read() == b"1"
        assert b'http_route="/items/{item}"' in urllib.request.urlopen(f"{found[1]}/metrics", timeout=10).read()


def test_an_admin_port_that_cannot_be(folder: Path) -> None:
    """Exit 2 for what is no address, or open to others without a token; exit 3 for one that cannot be bound."""
    assert refused(folder, "shop:app", "--port", "0", "--admin", "nowhere")[0] == 2
    code, said = refused(folder, "shop:app", "--port", "0", "--admin", "0.0.0.0:0")
    assert (code, "give admin_token=" in said) == (2, True)
    code, said = refused(folder, "shop:app", "--port", "0", "--admin", "192.0.2.1:9464", "--admin-token", "t")
    assert (code, "192.0.2.1:9464: Cannot assign requested address" in said) == (3, True)


def test_an_interrupt_ends_it_quietly(folder: Path) -> None:
    """Ctrl-C stops gracefully: no traceback, exit code 0."""
    with running(folder, "shop:app", "--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_port_in_use_is_named(folder: Path) -> None:
    """Exit 2, with the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refused(folder, "shop:app", "--port", str(port))
    assert code == 2
    assert error == (
        f"error: --port {port}: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another --port, or 0 for a free one\n"
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("broken:app", "nowhere_to_be_found"),
        ("shop:number", "no ASGI app"),
        ("shop:absent", "absent"),
        ("nothere:app", "nothere"),
        ("shop", "module:app"),
    ],
)
def test_a_bad_target_is_one_line(folder: Path, target: str, said: str) -> None:
    """A module that does not import, an attribute that is missing or no ASGI app: one line, exit 2."""
    code, error = refused(folder, target, "--port", "0")
    assert code == 2
    assert len(error.splitlines()) == 1
    assert said in error


def test_a_failing_start_up_is_said(folder: Path) -> None:
    """An app whose lifespan raises exits 3; the app's own error stands above ours."""
    command = [sys.executable, "-m", "hasten", "run", "fails:app", "--port", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "no database" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: fails: the app's start-up failed; see the message above"


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    """--record into a file is an error of one line, before anything is served."""
    code, error = refused(folder, "shop:app", "--port", "0", "--record", "shop.py/x")
    assert code == 2
    assert "cannot write" in error


@pytest.mark.parametrize("option", [("--grace", "soon"), ("--port", "70000"), ("--sample-every", "0"), ("--loop", "x")])
def test_a_bad_option_is_a_usage_error(folder: Path, option: tuple[str, str]) -> None:
    """Values out of range exit 2 and name the option."""
    code, error = refused(folder, "shop:app", *option)
    assert code == 2
    assert option[0] in error


# ---- a bus alone


def write_mailer(
    folder: Path, *, ends: bool, topic: str = "orders.paid", make: str = "Publishing('memory://')"
) -> None:
    (folder / "mailer.py").write_text(MAILER.format(make=make, topic=topic, ends=ends))


@contextmanager
def consuming(folder: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `hasten run mailer:bus` without an admin port; end it if the test has not."""
    command = [sys.executable, "-m", "hasten", "run", "mailer:bus", "--admin", "off", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_bus_runs_and_drains(folder: Path, stop: signal.Signals, loop: str) -> None:
    """It says what it consumes and from where; a message under way at the signal is finished; the exit code is 0."""
    write_mailer(folder, ends=True)
    with consuming(folder, "--loop", loop) as process:
        said = line_of(process.stderr)
        assert said == "hasten: mailer consumes orders.paid (mail), orders.cancelled (stock) from memory"
        assert re.fullmatch(rf"begun 7 {loop}(\..*)?", line_of(process.stdout))
        process.send_signal(stop)
        output, errors = process.communicate("go on\n", timeout=20)
    assert (process.returncode, output, errors) == (0, "mailed\n", "")


LEFT = "memory: closed with 1 messages that were not handled"  # a broker that keeps nothing says so


def test_what_takes_longer_than_the_grace(folder: Path) -> None:
    """It is cancelled when --grace is over, and that is said; the exit code is 0."""
    write_mailer(folder, ends=False)
    with consuming(folder, "--grace", "50ms") as process:
        line_of(process.stderr)
        line_of(process.stdout)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "cancelled\n")
    assert errors.splitlines() == [LEFT, "hasten: mailer: what was under way is delivered again"]


def test_a_second_signal(folder: Path) -> None:
    """It cancels at once what is under way, whatever the grace; the exit code is that of an interrupt."""
    write_mailer(folder, ends=False)
    with consuming(folder, "--grace", "1h") as process:
        line_of(process.stderr)
        line_of(process.stdout)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "cancelled\n")
    assert errors.splitlines() == [LEFT, "hasten: mailer: what was under way is delivered again"]


def test_a_bus_on_rabbitmq(folder: Path, amqp_url: str) -> None:
    """A message that was cancelled is at the broker, and the next process gets it; one that was handled is not."""
    topic = new_topic()

    async def publish() -> None:
        async with Bus(amqp_url) as bus:
            await bus.publish(topic, 7)

    async def waiting() -> int:
        async with Bus(amqp_url) as bus:
            assert isinstance(bus.broker, Inspection)
            return (await bus.broker.backlog(topic, "mail")).waiting

    write_mailer(folder, ends=False, topic=topic, make=f"Bus({amqp_url!r})")
    with consuming(folder, "--grace", "50ms") as process:
        assert f"consumes {topic} (mail), orders.cancelled (stock) from amqp " in line_of(process.stderr)
        asyncio.run(publish())
        assert line_of(process.stdout).startswith("begun 7")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == "cancelled\n"
    assert asyncio.run(waiting()) == 1
    write_mailer(folder, ends=True, topic=topic, make=f"Bus({amqp_url!r})")
    with consuming(folder) as process:
        assert line_of(process.stdout).startswith("begun 7")
        process.send_signal(signal.SIGTERM)
        assert process.communicate("go on\n", timeout=20)[0] == "mailed\n"
    assert asyncio.run(waiting()) == 0


def test_a_broker_that_is_away(folder: Path) -> None:
    """One line that says which, without the password; exit 3."""
    write_mailer(folder, ends=True)
    code, error = refused(folder, "mailer:away")
    assert code == 3
    assert len(error.splitlines()) == 1
    assert error.startswith("error: amqp 127.0.0.1:1: ")
    assert "hidden" not in error


def test_a_signal_while_it_starts(folder: Path) -> None:
    """A bus whose broker does not answer stops at a signal, quietly; the exit code is 0."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        write_mailer(folder, ends=True, make=f"Bus('amqp://127.0.0.1:{silent.getsockname()[1]}')")
        with consuming(folder) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                assert process.communicate(timeout=20) == ("", "")
                assert process.returncode == 0


def test_a_bus_without_consumers(folder: Path) -> None:
    """One line, exit 2."""
    write_mailer(folder, ends=True)
    code, error = refused(folder, "mailer:idle")
    assert code == 2
    assert error == "error: mailer: nothing is subscribed to its bus; import the module that subscribes\n"


@pytest.mark.parametrize(
    "option", [("--port", "8000"), ("--host", "::1"), ("--record", "x"), ("--http", "h11"), ("--sample-every", "20")]
)
def test_options_of_apps(folder: Path, option: tuple[str, str]) -> None:
    """An option that means nothing for a bus is refused if it is given, also with its default; exit 2."""
    write_mailer(folder, ends=True)
    code, error = refused(folder, "mailer:bus", *option)
    assert code == 2
    assert error == f"error: {option[0]}: mailer:bus is a bus, which serves no requests; leave it out\n"
