"""Profiles of processes with an admin port: asked for, waited for, fetched; and every way in which that fails."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.profiling import CaptureOptions, Frame, Profile, Stack, parse_options
from hasten.profiling import _remote as remote
from hasten.profiling._files import encode
from hasten.profiling._remote import fetch_profile, get_profile, list_profiles

pytestmark = pytest.mark.may_block

PROFILE = Profile(engine="ledger", clock="wall", service="shop", stacks=(Stack((Frame("f", "/a.py", 3),), 0.5),))
Answer = tuple[int, Any]


class Port:
    """An HTTP server that speaks as an admin port does, or as it is told to.

    Attributes:
      asked: Method and path of each request.
      headers: Of the last one.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.answers: dict[str, list[Answer]] = {}
        port = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                port.asked.append(f"{self.command} {self.path}")
                port.headers = dict(self.headers.items())
                status, said = port.answer(f"{self.command} {urlsplit(self.path).path}")
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, asked: str) -> Answer:
        """Return the next answer to a request; the last one again and again."""
        answers = self.answers.get(asked, [(404, b"not found\n")])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    made.answers = {
        "POST /profile": [(202, {"id": "x1", "at": "/profiles/x1", "ready_in": 0.05})],
        "GET /profiles/x1": [(202, {"id": "x1", "state": "running"}), (200, encode(PROFILE, "json"))],
        "GET /profiles": [(200, [{"id": "x1", "engine": "ledger", "state": "running"}])],
    }
    yield made
    made.close()


# ---- when it goes well


def test_a_profile_is_asked_for_waited_for_and_fetched(port: Port) -> None:
    """It comes as the process made it; meanwhile the caller hears what goes on, and when capturing is over."""
    heard: list[str] = []
    options = CaptureOptions(seconds=0.5, endpoint="GET /a/{b}")
    found = fetch_profile(port.url, options, announce=heard.append, over=lambda: heard.append("over"))
    assert found == PROFILE
    begin, *polls = port.asked
    assert polls == ["GET /profiles/x1", "GET /profiles/x1"]
    assert heard[0].startswith("ledger looks on")
    assert heard[-2:] == ["over", "waiting for the profile"]
    assert begin.startswith("POST /profile?")


@pytest.mark.parametrize(
    "options",
    [
        CaptureOptions(),
        CaptureOptions(engine="yappi", clock="cpu", seconds=2.5, endpoint="GET /a/{b}?c&d=ü"),
        CaptureOptions(engine="py-spy", rate=250, native=True, threads=True, subprocesses=True, clock="cpu"),
    ],
)
def test_the_process_hears_the_options_as_they_are(port: Port, options: CaptureOptions) -> None:
    """What the query says is read on the other side as what was given."""
    fetch_profile(port.url, options)
    assert parse_options(parse_qs(urlsplit(port.asked[0].partition(" ")[2]).query)) == options


def test_the_token_goes_along(port: Port) -> None:
    """A token is sent as the admin port wants it, and a path in front of the port's own is kept."""
    assert get_profile_of(port, token="s3cret") == PROFILE
    assert port.headers["Authorization"] == "Bearer s3cret"
    port.answers["GET /behind/profiles"] = port.answers["GET /profiles"]
    assert [entry.id for entry in list_profiles(f"{port.url}/behind/")] == ["x1"]
    assert "Authorization" not in port.headers


def get_profile_of(port: Port, **settings: Any) -> Profile:
    port.answers["GET /profiles/x1"] = [(200, encode(PROFILE, "json"))]
    return get_profile(port.url, "x1", **settings)


# ---- when it does not


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((400, b"engine: unknown\nelse"), ConfigurationError, "engine: unknown else"),
        ((401, b"no"), TargetUnreachable, "it wants a token; give --token, or set HASTEN_ADMIN_TOKEN"),
        ((404, b"no"), TargetUnreachable, "no admin port of hasten that makes profiles answers there"),
        ((405, b"no"), TargetUnreachable, "no admin port of hasten that makes profiles answers there"),
        ((200, b"<html>"), TargetUnreachable, "no admin port of hasten that makes profiles answers there"),
        ((202, b"<html>"), TargetUnreachable, "no admin port of hasten that makes profiles answers there"),
        ((409, {"error": "e", "at": "/profiles/y", "retry_after": 12.3}), TargetUnreachable, "try again in 12 s"),
        ((409, {"error": "e"}), TargetUnreachable, "it makes another profile now"),
        ((429, {"error": "e", "retry_after": 7.6}), TargetUnreachable, "just made a profile; try again in 8 s"),
        ((503, b"\xff"), TargetUnreachable, "it answers 503"),
        ((302, b""), TargetUnreachable, "it answers 302"),
    ],
)
def test_what_does_not_begin_is_one_line(port: Port, answer: Answer, error: type[Exception], words: str) -> None:
    """Whatever a port answers instead of beginning is one line that says what to do."""
    port.answers["POST /profile"] = [answer]
    with pytest.raises(error) as caught:
        fetch_profile(port.url, CaptureOptions(seconds=0.1))
    assert words in str(caught.value)
    assert str(caught.value).startswith(port.url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((500, {"id": "x1", "error": "py-spy is not installed"}), TargetUnreachable, "py-spy is not installed"),
        ((404, b"no"), ConfigurationError, "x1: no such profile at "),
        ((200, b"{}"), ConfigurationError, "no profile of hasten"),
        ((200, b""), ConfigurationError, "is empty"),
        ((503, b""), TargetUnreachable, "it answers 503"),
    ],
)
def test_what_does_not_come_is_one_line(port: Port, answer: Answer, error: type[Exception], words: str) -> None:
    """A capture that fails, gets lost or is garbled is one line with the process's own reason."""
    port.answers["GET /profiles/x1"] = [(202, {}), answer]
    with pytest.raises(error) as caught:
        fetch_profile(port.url, CaptureOptions(seconds=0.1))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_profile_that_never_comes_is_given_up(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr(remote, "_PATIENCE", 0.3)
    port.answers["GET /profiles/x1"] = [(202, {})]
    with pytest.raises(TargetUnreachable, match=r"not there 0\.3 s after it should have been"):
        fetch_profile(port.url, CaptureOptions(seconds=0.1))


def test_what_is_not_finished_is_said_so(port: Port) -> None:
    """One profile is asked for once, and not waited for."""
    with pytest.raises(ConfigurationError, match="x1: is not finished"):
        get_profile(port.url, "x1")


def test_an_id_is_no_path(port: Port) -> None:
    """An id with slashes asks for nothing else."""
    with pytest.raises(ConfigurationError, match="no such profile"):
        get_profile(port.url, "../metrics")
    assert port.asked == ["GET /profiles/..%2Fmetrics"]


@pytest.mark.parametrize("said", [b"<html>", b"{}", b"[1]"])
def test_lists_of_others_are_told(port: Port, said: bytes) -> None:
    """What answers, and is no list of profiles, is no admin port."""
    port.answers["GET /profiles"] = [(200, said)]
    with pytest.raises(TargetUnreachable, match="no admin port"):
        list_profiles(port.url)


def test_a_port_without_anybody() -> None:
    """Where nothing listens the line says what should be there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(TargetUnreachable, match=r"is a service with hasten\.install running there"):
        fetch_profile(f"http://127.0.0.1:{free}", CaptureOptions())


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
def test_a_port_that_speaks_otherwise(said: bytes) -> None:
    """What is no HTTP, or stops in the middle of it, is one line."""
    with once(said) as url, pytest.raises(TargetUnreachable) as caught:
        list_profiles(url())
    assert "\n" not in str(caught.value)


class once:  # noqa: N801 - used as a function is
    """Says one thing to whoever comes first, and hangs up."""

    def __init__(self, said: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._said = said
        self._thread = threading.Thread(target=self._answer)

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(self._said)

    def __enter__(self) -> Callable[[], str]:
        self._thread.start()
        return lambda: f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


def test_one_that_waits_can_be_told_to_stop(port: Port) -> None:
    """What `announce` raises ends the waiting."""

    class Enough(Exception):
        pass

    def announce(_: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        fetch_profile(port.url, CaptureOptions(), announce=announce)
