"""The stream of the live page: one sample for all viewers, none kept for those that do not read, and who may see it."""

import http.client
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import TargetUnreachable
from hasten.admin import AdminAddress
from hasten.admin._app import AdminApp
from hasten.admin._server import AdminThread
from hasten.admin.live import Feed, Page, Place, Session, fetch_story, follow
from hasten.admin.live._feed import MOST_VIEWERS
from hasten.monitor import Check, Monitor, Pool
from hasten.monitor._sample import Sample, Story

TOKEN = "open sesame"


class Port:
    """An admin port in a thread, that makes fifty samples a second."""

    def __init__(self, monitor: Monitor, token: str = "", patience: float = 10.0) -> None:
        self.feed = Feed(monitor, interval=0.02, patience=patience)
        address = AdminAddress(port=0, token=token)
        app = AdminApp(monitor, address, self.feed)
        listener, _ = address.bind()
        self.number = listener.getsockname()[1]
        self.place = Place("127.0.0.1", self.number, token=token)
        self.thread = AdminThread(app, listener, background=app.background)
        self.thread.start()

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Return status, fields and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=10)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        return answer.status, answer.headers, told


@contextmanager
def served(monitor: Monitor, token: str = "", patience: float = 10.0) -> Iterator[Port]:
    port = Port(monitor, token, patience)
    try:
        yield port
    finally:
        port.thread.stop()


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("orders")


# ---- one feed, many viewers


def test_a_viewer_gets_the_story_and_then_each_sample(monitor: Monitor) -> None:
    """The stream begins with what has been so far, and goes on with samples that follow it."""
    with served(monitor) as port:
        told = follow(port.place)
        first = next(told)
        assert isinstance(first, Story)
        samples = [next(told) for _ in range(5)]
        told.close()
    times = [point.at for point in first.points]
    times += [sample.point.at for sample in samples if isinstance(sample, Sample)]
    assert len(times) >= 6
    assert times == sorted(set(times))
    assert samples[-1].service == "orders"  # type: ignore[union-attr]


def test_a_viewer_that_comes_back_gets_what_it_has_missed(monitor: Monitor) -> None:
    """`after` is the Unix time of the last point that a viewer has, in the stream and in the history."""
    with served(monitor) as port:
        told = follow(port.place)
        next(told)
        last = [next(told) for _ in range(10)][-1].point.at  # type: ignore[union-attr]
        everything = fetch_story(port.place).points
        status, _, body = port.ask(f"/history?after={last}")
        later = msgspec.json.decode(body, type=Story).points
        told.close()
    assert status == 200
    assert any(point.at <= last for point in everything)
    assert all(point.at > last for point in later)


def test_twenty_viewers_share_one_sample(monitor: Monitor) -> None:
    """A process is looked at once for each sample, however many viewers there are, and all get the same bytes."""
    looks = 0

    def look() -> Pool:
        nonlocal looks
        looks += 1
        return Pool(used=1, idle=0, limit=2)

    monitor.watch_pool("database", look)
    with served(monitor) as port, ExitStack() as viewers:
        seen: list[dict[float, Sample]] = []
        streams = [follow(port.place) for _ in range(20)]
        for told in streams:
            viewers.callback(told.close)
            next(told)
        for told in streams:
            samples = [next(told) for _ in range(10)]
            seen.append({one.point.at: one for one in samples if isinstance(one, Sample)})
        assert port.feed.viewers == 20
    assert looks == port.feed.number
    for other in seen[1:]:
        shared = seen[0].keys() & other.keys()
        assert shared
        assert all(seen[0][at] == other[at] for at in shared)


def test_a_viewer_that_does_not_read_is_dropped(monitor: Monitor) -> None:
    """A viewer that takes nothing has its connection cut after a while; the others are served as before."""
    monitor.add_checks(lambda: [Check(name="verbose", ok=False, reason="x" * 100_000)])
    with served(monitor, patience=0.3) as port:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(10)
        deaf.connect(("127.0.0.1", port.number))
        deaf.sendall(b"GET /live HTTP/1.1\r\nHost: orders\r\n\r\n")
        told = follow(port.place)
        next(told)
        most = port.feed.viewers
        while port.feed.viewers > 1 or most < 2:  # ends by the test's timeout where nobody is dropped
            most = max(most, port.feed.viewers)
            next(told)
        told.close()
        assert _is_cut(deaf)
        deaf.close()


def _is_cut(connection: socket.socket) -> bool:
    """Read what is left, and say whether the answer was cut off, and not ended."""
    got = b""
    try:
        while part := connection.recv(65536):
            got = got[-16:] + part
    except ConnectionResetError:
        return True
    return not got.endswith(b"0\r\n\r\n")


def test_a_viewer_that_has_gone_is_forgotten(monitor: Monitor) -> None:
    """Who closes the connection is no viewer any more at the next sample."""
    with served(monitor) as port:
        told, other = follow(port.place), follow(port.place)
        next(told)
        next(other)
        assert port.feed.viewers == 2
        other.close()
        while port.feed.viewers > 1:
            next(told)
        told.close()


def test_there_are_no_more_viewers_than_a_hundred(monitor: Monitor) -> None:
    """One viewer too many is refused, and the others stay."""
    with served(monitor) as port, ExitStack() as viewers:
        for _ in range(MOST_VIEWERS):
            told = follow(port.place)
            next(told)
            viewers.callback(told.close)
        status, _, body = port.ask("/live")
        assert (status, body) == (503, b"100 look already\n")
        assert isinstance(next(told), Sample)


def test_the_end_of_the_process_ends_every_stream(monitor: Monitor) -> None:
    """When the admin port closes, viewers' answers are ended as they should be, not cut."""
    with served(monitor) as port:
        told = follow(port.place)
        next(told)
        raw = socket.create_connection(("127.0.0.1", port.number), timeout=10)
        raw.sendall(b"GET /live HTTP/1.1\r\nHost: orders\r\n\r\n")
        while port.feed.viewers < 2:
            next(told)
        port.thread.stop()
        assert not _is_cut(raw)
        raw.close()
        with pytest.raises(TargetUnreachable, match="it has ended"):
            for _ in told:
                pass


def test_samples_go_on_after_one_that_could_not_be_made(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    """A pool that cannot be asked costs the samples until it can, one warning, and nothing else."""
    broken = threading.Event()

    def look() -> Pool:
        if broken.is_set():
            raise RuntimeError("no pool")
        return Pool(used=1, idle=0, limit=2)

    monitor.watch_pool("database", look)
    with served(monitor) as port, caplog.at_level(logging.WARNING, "hasten.admin"):
        told = follow(port.place)
        next(told)
        broken.set()
        with pytest.raises(TargetUnreachable):
            for _ in follow(port.place, timeout=0.3):
                pass
        broken.clear()
        before = port.feed.number
        while port.feed.number <= before:
            next(told)
        told.close()
    assert [record.message for record in caplog.records] == ["no live sample could be made"]


# ---- the page


class _Scripts(HTMLParser):
    """Collects scripts and styles as a browser finds them, and what asks for something elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str | None], str]] = []
        self.links: list[str] = []
        self._inside: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = {"tag": tag, **dict(attrs)} if tag in {"script", "style"} else None
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if self._inside is not None:
            self.found.append((self._inside, ""))

    def handle_data(self, data: str) -> None:
        if self._inside is not None and self.found:
            self.found[-1] = (self.found[-1][0], self.found[-1][1] + data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = None


def _parsed(document: bytes) -> _Scripts:
    parser = _Scripts()
    parser.feed(document.decode())
    return parser


def test_the_page_is_one_document_that_allows_nothing_else(monitor: Monitor) -> None:
    """Scripts and styles are within, allowed by their hashes alone, and nothing of another host is in it."""
    with served(monitor) as port:
        told = follow(port.place)
        next(told)
        told.close()
        status, headers, body = port.ask("/")
    policy = headers["content-security-policy"]
    assert status == 200
    assert "unsafe" not in policy
    parsed = _parsed(body)
    assert sorted(str(found["tag"]) for found, _ in parsed.found) == ["script", "script", "script", "style"]
    assert len(re.findall(r"'sha256-[\w+/=]+'", policy)) == 3
    assert not [link for link in parsed.links if "//" in link and not link.startswith("data:")]


def test_the_first_paint_has_data(monitor: Monitor) -> None:
    """The story stands in the document, so nothing has to be fetched to draw it."""
    with served(monitor) as port:
        told = follow(port.place)
        next(told)
        next(told)
        told.close()
        _, _, body = port.ask("/")
    (story,) = [text for found, text in _parsed(body).found if found.get("id") == "story"]
    assert len(json.loads(story)["points"]) >= 2
    assert json.loads(story)["sample"]["service"] == "orders"


@given(st.text())
def test_a_story_cannot_leave_its_place_in_the_page(reason: str) -> None:
    """Whatever a service calls its routes, the document holds the same story and the same scripts."""
    story = msgspec.json.encode({"reason": f"</script><script>alert(1)</script><!--{reason}"})
    parsed = _parsed(PAGE.render(story))
    assert [str(found["tag"]) for found, _ in parsed.found].count("script") == 3
    (told,) = [text for found, text in parsed.found if found.get("id") == "story"]
    assert json.loads(told) == json.loads(story)


PAGE = Page()


# ---- who may see it


def test_without_the_token_there_is_a_page_that_asks_for_it(monitor: Monitor) -> None:
    """A port with a token shows nothing but a form, and refuses stream and history."""
    with served(monitor, TOKEN) as port:
        status, headers, body = port.ask("/")
        assert (status, b"orders" in body, b'name="token"' in body) == (401, False, True)
        assert "unsafe" not in headers["content-security-policy"]
        for path in ("/live", "/history", "/metrics", "/snapshot", "/ledger"):
            status, _, body = port.ask(path)
            assert (status, b"Bearer" in body) == (401, True)


def test_the_form_gives_a_cookie_that_opens_the_page(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    """The right token gives a cookie that is not the token, for this port alone; nothing is logged of it."""
    caplog.set_level(logging.DEBUG)
    with served(monitor, TOKEN) as port:
        status, headers, _ = port.ask("/login", "POST", "token=open+sesame")
        assert (status, headers["location"]) == (303, "/")
        given = headers["set-cookie"]
        assert given.endswith("; Path=/; HttpOnly; SameSite=Strict")
        assert TOKEN not in given
        cookie = given.partition(";")[0]
        assert port.ask("/", Cookie=cookie)[0] == 200
        assert port.ask("/history", Cookie=f"other=1; {cookie}")[0] == 200
        elsewhere = cookie.replace(f"_{port.number}=", "_1=")
        assert port.ask("/", Cookie=elsewhere)[0] == 401
        assert port.ask("/history", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert not [record for record in caplog.records if "sesame" in record.getMessage()]


def test_another_token_gives_no_cookie(monitor: Monitor) -> None:
    """The wrong token, none and a form without an end get the form again."""
    with served(monitor, TOKEN) as port:
        for form in ("token=wrong", "", "token=" + "x" * 10_000):
            status, headers, body = port.ask("/login", "POST", form)
            assert (status, headers["set-cookie"], b"not the token" in body) == (401, None, True)
        assert port.ask("/login")[0] == 303
        assert port.ask("/", "POST")[0] == 405


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_cookie_and_no_form_but_the_right_one_opens(cookies: bytes, form: bytes) -> None:
    """Whatever a client sends as a cookie or a form, it is refused and nothing is raised."""
    session = Session(AdminAddress(token=TOKEN))
    assert not session.admits(cookies, 9464)
    assert session.open(form, 9464) == ""


def test_the_form_does_not_reveal_what_the_token_is_made_to() -> None:
    """The cookie of one token opens no port with another."""
    one, other = Session(AdminAddress(token="a")), Session(AdminAddress(token="b"))
    cookie = one.open(b"token=a", 9464).partition(";")[0].encode()
    assert one.admits(cookie, 9464)
    assert not other.admits(cookie, 9464)


# ---- the client


def test_a_client_without_the_token_is_told_what_to_do(monitor: Monitor) -> None:
    """A refusal, silence and a stranger are one line each, with what to do."""
    with served(monitor, TOKEN) as port, pytest.raises(TargetUnreachable, match="wants a token; give --token"):
        fetch_story(Place("127.0.0.1", port.number))
    with pytest.raises(TargetUnreachable, match="Connection refused; is a service"):
        fetch_story(Place("127.0.0.1", port.number))


def test_a_silent_or_strange_server_is_told_as_such() -> None:
    """A port that answers nothing, or what no admin port does, is unreachable, with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Place("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(TargetUnreachable, match=r"no answer for 0\.1 s"):
            fetch_story(place, timeout=0.1)

        def answer(said: bytes) -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(said)
            connection.close()

        listener.accept()[0].close()
        for said, problem in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "answers what no admin port does"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no admin port of hasten"),
            (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0"),
        ):
            stranger = threading.Thread(target=answer, args=(said,))
            stranger.start()
            with pytest.raises(TargetUnreachable, match=problem):
                fetch_story(place)
            stranger.join()
