"""`hasten load`: what it prints, where, and how it exits."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from hasten.cli import main
from tests.load.grpc_servers import Behaviour, aborting, noting, serving_grpc
from tests.load.servers import answering, refused_url, serving
from tests.rpc.schema.servers import PROTOS, STOCK

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
QUICK = ("--rate", "100", "--for", "200ms", "--warmup", "0s", "--arrivals", "constant")
GRPC = ("grpc://127.0.0.1:1/shop.Stock/Get", "--rate", "1")
PLAN = """
rate = 200
duration = "100ms"
warmup = "0s"
arrivals = "constant"
[[request]]
name = "product"
path = "/products/{id}"
[request.parameters]
id = { range = [1, 9] }
[[request]]
name = "order"
method = "POST"
path = "/orders"
body = '{"product_id": 1}'
"""


class Requests(list[bytes]):
    """The requests a server got; `twentieth` is set when it has got twenty."""

    def __init__(self) -> None:
        super().__init__()
        self.twentieth = threading.Event()

    def append(self, request: bytes) -> None:
        super().append(request)
        if len(self) == 20:
            self.twentieth.set()


class Server:
    """A server in a thread of its own that gives every request the same response."""

    def __init__(self, response: bytes) -> None:
        self.requests = Requests()
        self.url = ""
        self._response = response
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Server":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with serving(answering(self._response, self.requests)) as self.url:
            self._ready.set()
            await self._ended.wait()


class GrpcServer(Server):
    """The same for gRPC: a shop.Stock that does what `behaviour` does."""

    def __init__(self, behaviour: Behaviour, *, reflecting: bool = True) -> None:
        super().__init__(b"")
        self._behaviour = behaviour
        self._reflecting = reflecting

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with serving_grpc(self._behaviour, reflecting=self._reflecting) as self.url:
            self._ready.set()
            await self._ended.wait()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(OK) as running:
        yield running


def load(*arguments: str) -> int:
    """Run `hasten load` in this process and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["load", *arguments])
    code = caught.value.code or 0
    assert isinstance(code, int)
    return code


def deserved(result: dict[str, Any]) -> int:
    """Return the exit code a result deserves; whether the machine was quiet is not for a test to say."""
    return 3 if result["problems"] else 1 if result["total"]["errors"] else 0


def test_json_is_all_there_is_on_stdout(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout holds the result and nothing else, and the exit code is the one it deserves."""
    code = load(server.url, *QUICK, "--json")
    result = json.loads(capsys.readouterr().out)
    assert code == deserved(result)
    assert (result["total"]["offered"], result["total"]["answered"]) == (20, 20)
    assert result["total"]["p99"] >= result["total"]["p50"] > 0


def test_table(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report has a row per kind of request, own lateness and CPU, and ends with a next line."""
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    load("--plan", str(plan), "--target", server.url)
    lines = capsys.readouterr().out.splitlines()
    head = next(line.split() for line in lines if "offered " in line and "p99.9" in line)
    assert head == ["request", "offered", "answered", "errors", "p50", "p90", "p99", "p99.9", "max"]
    rows = {line.split()[0]: line.split()[1:3] for line in lines if line.strip()}
    assert {"product", "order"} <= set(rows)
    assert rows["total"] == ["20", "20"]
    assert any("own lateness p50" in line for line in lines)
    assert any("CPU" in line for line in lines)
    assert lines[-1].startswith("next: ")


def test_what_is_sent(server: Server) -> None:
    """Method, headers, body and path of the options arrive at the server."""
    options = ("--method", "POST", "--header", "x-a: b:c", "--header", "accept:text/plain", "--body", "{}")
    load(f"{server.url}/orders?x=1", *QUICK, *options)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /orders?x=1 HTTP/1.1\r\n")
    assert {b"x-a: b:c", b"accept: text/plain", b"Content-Length: 2"} <= set(head.split(b"\r\n"))
    assert body == b"{}"


def test_options_go_before_the_plan(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An option given beside a plan takes the place of the plan's own setting; a URL that of its target."""
    plan = tmp_path / "plan.toml"
    plan.write_text('target = "http://127.0.0.1:1"\n' + PLAN)
    load(server.url, "--plan", str(plan), "--rate", "400", "--seed", "9", "--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["rate"], result["seed"], result["target"]) == (400.0, 9, server.url)
    assert result["total"]["offered"] == 40


def test_environment(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Options can be given by their environment variables."""
    given = {"TARGET": server.url, "RATE": "100", "FOR": "200ms", "WARMUP": "0s", "ARRIVALS": "constant"}
    for name, value in {**given, "JSON": "1"}.items():
        monkeypatch.setenv(f"HASTEN_{name}", value)
    load()
    assert json.loads(capsys.readouterr().out)["total"]["offered"] == 20


def test_unexpected_answers_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers with an unexpected status exit 1 (3 on a machine too busy to measure), counted by status."""
    with Server(MISSING) as server:
        code = load(server.url, *QUICK)
        out = capsys.readouterr().out
        assert code == 1
        assert "20 status 404" in out
        assert "never" in out
        assert out.splitlines()[-1] == "next: see why the service answers 404, or add it to the expected statuses"
        assert load(server.url, *QUICK, "--expect", "200", "--expect", "404") in (0, 3)


def test_unreachable_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that nobody answers exits 3 with one line on stderr and nothing on stdout."""
    url = refused_url()
    assert load(url, *QUICK, "--json") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error: {url}: connection refused; is it running?\n"


def test_not_valid_exits_3(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that measured nothing prints its result, then names the failed check on stderr, exit 3."""
    arguments = ("--rate", "0.001", "--for", "100ms", "--warmup", "0s")
    assert load(server.url, *arguments) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("next: raise the rate or the duration")
    assert err.startswith("error: measurement not valid: requests: none was due in the measured part")
    assert err.count("\n") == 1


def test_grpc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A grpc URL with a method is called with the data and metadata given; the report looks as over HTTP."""
    seen: list[Any] = []
    metadata: list[dict[str, Any]] = []
    data = tmp_path / "data.json"
    data.write_text('{"product_id": 8}')
    with GrpcServer(noting(seen, metadata)) as server:
        url = f"{server.url}/shop.Stock/Get"
        code = load(url, *QUICK, "--data", '{"product_id": 7}', "--header", "X-Who: me", "--json")
        result = json.loads(capsys.readouterr().out)
        assert code == deserved(result)
        assert (result["total"]["answered"], result["connections"]) == (20, 1)
        assert {(query.product_id, call["x-who"]) for query, call in zip(seen, metadata, strict=True)} == {(7, "me")}
        load(url, *QUICK, "--data", f"@{data}")
        assert seen[-1].product_id == 8
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{server.url}: 100 requests/s offered")
    assert any(line.split()[:3] == ["shop.Stock/Get", "20", "20"] for line in lines)
    assert lines[-1].startswith("next: ")


def test_grpc_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan of gRPC methods is run like any other, against the server and with the .proto files of the options."""
    plan = tmp_path / "plan.toml"
    plan.write_text('rate = 200\nduration = "100ms"\nwarmup = "0s"\n[[request]]\nmethod = "shop.Stock/Get"\n')
    options = ("--arrivals", "constant", "--proto", str(STOCK), "--proto-path", str(PROTOS), "--json")
    with GrpcServer(noting([]), reflecting=False) as server:
        load(server.url, "--plan", str(plan), *options)
    assert json.loads(capsys.readouterr().out)["total"]["answered"] == 20


def test_grpc_status_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Calls that end with another status than expected exit 1, counted by the status' name."""
    with GrpcServer(aborting(grpc.StatusCode.NOT_FOUND)) as server:
        url = f"{server.url}/shop.Stock/Get"
        assert load(url, *QUICK) == 1
        out = capsys.readouterr().out
        assert "20 status NOT_FOUND" in out
        assert out.splitlines()[-1].startswith("next: see why the service answers NOT_FOUND, or add it to the expected")
        assert load(url, *QUICK, "--expect", "NOT_FOUND") in (0, 3)


def test_grpc_data_that_does_not_fit_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Data that is no request of the method exits 2 with one line that names the field."""
    with GrpcServer(noting([])) as server:
        assert load(f"{server.url}/shop.Stock/Get", *QUICK, "--data", '{"product": 7}') == 2
        error = "request[0].data.product: no field of shop.Query; did you mean productId?"
        assert capsys.readouterr() == ("", f"error: {error}\n")
        assert load(f"{server.url}/shop.Stok/Get", *QUICK) == 2
        error = "request[0].method: there is no service 'shop.Stok'; did you mean shop.Stock?"
        assert capsys.readouterr() == ("", f"error: {error}\n")


def test_grpc_unreachable_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    """A grpc URL that nobody answers exits 3 with one line."""
    url = refused_url().replace("http", "grpc")
    assert load(f"{url}/shop.Stock/Get", *QUICK) == 3
    assert capsys.readouterr() == ("", f"error: {url}: connection refused; is it running?\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[1, 9]", "[9, 1]"), "request[0].parameters.id.range: low 9 exceeds high 1"),
        (("rate", "speed"), "speed: unknown key"),
    ],
)
def test_wrong_plan_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    """A wrong plan exits 2 with one line that names file and key."""
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.replace(*change))
    assert load("http://127.0.0.1:1", "--plan", str(plan)) == 2
    assert capsys.readouterr() == ("", f"error: {plan}: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "hasten load: nothing to send; give a URL with --rate, or --plan FILE"),
        (("http://127.0.0.1:1",), "--rate: missing; say how many requests per second the URL gets"),
        (("http://127.0.0.1:1", "--rate", "-1"), "rate: -1 is not above 0"),
        (
            ("127.0.0.1:1", "--rate", "1"),
            "target: '127.0.0.1:1' is no http or https URL, nor a grpc or grpcs one; for example ",
        ),
        (
            ("http://127.0.0.1:1", "--rate", "1", "--header", "x"),
            "--header: 'x' is not of the form NAME:VALUE",
        ),
        (
            ("http://127.0.0.1:1", "--rate", "1", "--arrivals", "x"),
            "arrivals: 'x' is unknown; poisson or constant",
        ),
        (("http://127.0.0.1:1", "--rate", "1", "--method", "get"), "request[0].method: 'get' is unknown; "),
        (("--plan", "absent.toml"), "absent.toml: cannot be read: No such file or directory"),
        (("--plan", "absent.toml", "--body", "x"), "--body: the plan says what to send; "),
        (("--plan", "absent.toml", "--data", "x"), "--data: the plan says what to send; "),
        (("http://127.0.0.1:1", "--rate", "1", "--expect", "OK"), "--expect: 'OK' is no HTTP status; for example 404"),
        (("http://127.0.0.1:1", "--rate", "1", "--data", "{}"), "--data: it is for grpc:// targets; "),
        (("http://127.0.0.1:1", "--rate", "1", "--proto", "x"), "--proto: it is for gRPC methods; leave it out"),
        (("http://127.0.0.1:1", "--rate", "1", "--proto-path", "x"), "--proto-path: it is for gRPC methods; "),
        (("grpc://127.0.0.1:1", "--rate", "1"), "target: 'grpc://127.0.0.1:1' names no method; write grpc://host:"),
        ((*GRPC, "--body", "x"), "--body: it is for HTTP; a gRPC request is given by --data"),
        ((*GRPC, "--method", "POST"), "--method: it is for HTTP; "),
        ((*GRPC, "--data", "@absent.json"), "--data: absent.json cannot be read: No such file or directory"),
        ((*GRPC, "--data", "{"), "request[0].data: not valid JSON: Expecting property name"),
        ((*GRPC, "--expect", "404"), "expect: '404' is no gRPC status; one of OK, "),
        ((*GRPC, "--header", "te:x"), "request[0].headers.te: hasten sets this header itself"),
    ],
)
def test_wrong_options_exit_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    """Options that make no load test exit 2 with one line that says what is wrong."""
    assert load(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_wrong_duration_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A duration without a unit is a usage error that says how to write one."""
    assert load("http://127.0.0.1:1", "--rate", "1", "--for", "5") == 2
    assert "'5' is no duration" in capsys.readouterr().err


def test_every_option_shows_its_variable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Help shows the environment variable of each option."""
    monkeypatch.setenv("COLUMNS", "200")
    assert load("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    options = [line.split()[1] for line in lines if line.startswith("│ --")]
    text = " ".join(lines)
    assert len(options) >= 15
    for option in options:
        assert option in ("--help", "-h") or f"HASTEN_{option.removeprefix('--').upper().replace('-', '_')}" in text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for one process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_ends_it_at_once(number: signal.Signals, server: Server) -> None:
    """SIGTERM and a closed terminal end the run wherever they come, without a result or a traceback."""
    arguments = ("load", server.url, "--rate", "1000", "--for", "60s", "--warmup", "0s", "--json")
    command = [sys.executable, "-m", "hasten", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert server.requests.twentieth.wait(30)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (128 + number, "", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_interrupt_prints_what_was_measured(server: Server) -> None:
    """Ctrl-C ends the run with the partial result on stdout, marked as such, and exit 130."""
    arguments = ("load", server.url, "--rate", "100", "--for", "60s", "--warmup", "0s", "--json")
    command = [sys.executable, "-m", "hasten", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert server.requests.twentieth.wait(30)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    result = json.loads(out)
    assert (process.returncode, err) == (130, "")
    assert result["partial"]
    assert 0 < result["total"]["answered"] < 6000
