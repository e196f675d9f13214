"""Captures by the admin port: asked for, refused, read."""

import json
import re
import threading
from pathlib import Path

import pytest

from hasten._core.errors import TargetUnreachable
from hasten.profiling import CaptureOptions, Frame, Function, Profile
from hasten.profiling._files import decode
from tests.admin.capturing import JSON, PROFILE, Port, eventually, port
from tests.profiling.test_triggers import alert, body

# ---- asking


def test_a_capture_from_its_begin_to_its_profile(served: Port) -> None:
    """202 says where it will be; until then that says 202, too, and then it is the profile."""
    with served.desk.held():
        status, headers, told = served.ask("POST", "/profile?engine=ledger&seconds=7&endpoint=GET%20/orders")
        said = json.loads(told)
        assert (status, headers["location"]) == (202, f"/profiles/{said['id']}")
        assert said["at"] == headers["location"]
        assert 0.0 < said["ready_in"] <= 7.0
        status, headers, told = served.ask("GET", said["at"])
        assert (status, json.loads(told)["state"]) == (202, "running")
        assert 1 <= int(headers["retry-after"]) <= 7
        (running,) = served.said("GET", "/profiles")[1]
        assert (running["id"], running["state"], running["size_bytes"]) == (said["id"], "running", 0)
    done = served.until("done")
    assert done | {"started": 0.0, "size_bytes": 0} == {
        "id": said["id"],
        "engine": "ledger",
        "clock": "wall",
        "seconds": 1.0,
        "started": 0.0,
        "state": "done",
        "reason": "",
        "trigger": "asked",
        "labels": {},
        "size_bytes": 0,
        "service": "shop",
        "worker": "0",
    }
    status, headers, told = served.ask("GET", said["at"])
    assert (status, headers["content-type"], len(told)) == (200, JSON, done["size_bytes"])
    assert decode(told, "answer") == PROFILE
    options, labels = served.desk.made[0]
    assert options == CaptureOptions(seconds=7.0, endpoint="GET /orders")
    assert labels == {"trigger": "asked"}


@pytest.mark.parametrize(
    ("form", "kind", "begins"),
    [
        ("html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("speedscope", JSON, b"{"),
        ("folded", "text/plain; charset=utf-8", b""),
        ("json", JSON, b"{"),
    ],
)
def test_formats(served: Port, form: str, kind: str, begins: bytes) -> None:
    """A profile comes as ?format= says, under a name for its file; what is in it runs nowhere but in itself."""
    name = served.begin()
    served.until("done")
    status, headers, told = served.ask("GET", f"/profiles/{name}?format={form}")
    assert (status, headers["content-type"]) == (200, kind)
    assert told.lower().startswith(begins)
    assert b"hash_password" in told
    assert headers["content-disposition"].startswith(f'inline; filename="{name}.')
    assert headers["content-security-policy"].startswith("sandbox ")
    assert headers["x-content-type-options"] == "nosniff"


def test_formats_that_are_not_there(served: Port) -> None:
    """An unknown format is 400, and one that needs stacks is refused where there are none, in one line."""
    served.desk.profile = Profile(engine="yappi", clock="cpu", functions=(Function(Frame("f"), 1.0, 1.0, 1),))
    name = served.begin()
    served.until("done")
    for query, status in (("format=xml", 400), ("format=json&format=html", 400), ("format=folded", 409)):
        answer, _, told = served.ask("GET", f"/profiles/{name}?{query}")
        assert (query, answer, told.count(b"\n")) == (query, status, 1)


def test_a_page_for_browsers(served: Port) -> None:
    """A browser gets a page with links to flame graphs; what others have written in labels is text there."""
    accept = "text/html,application/xhtml+xml"
    assert b"None yet." in served.ask("GET", "/profiles", accept=accept)[2]
    evil = "<script>alert(1)</script>"
    assert (
        served.ask("POST", "/alerts", body(alert(alertname="LoopLag") | {"annotations": {"summary": evil}}))[0] == 202
    )
    done = served.until("done")
    _, headers, page = served.ask("GET", "/profiles", accept=accept)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert b"<script" not in page
    assert b"LoopLag: &lt;script&gt;alert(1)" in page
    (link,) = re.findall(rb'href="(profiles/[^"]+format=html)"', page)
    assert link.decode() == f"profiles/{done['id']}?format=html"


def test_one_at_a_time(served: Port) -> None:
    """While one is under way another is refused with 409, and told where the first one will be."""
    with served.desk.held():
        first = served.begin()
        status, headers, told = served.ask("POST", "/profile")
        said = json.loads(told)
        assert (status, said["at"], said["error"]) == (409, f"/profiles/{first}", "a capture is under way")
        assert int(headers["retry-after"]) >= 1
    served.until("done")
    served.begin()
    eventually(lambda: len(served.desk.made), lambda count: count == 2)


def test_a_pause_behind_each(tmp_path: Path) -> None:
    """In the pause after a capture the next one is refused with 429, and told when to ask again."""
    with port(tmp_path, pause=600.0) as served:
        served.begin()
        served.until("done")
        status, headers, told = served.ask("POST", "/profile")
        assert status == 429
        assert int(headers["retry-after"]) == 600
        assert json.loads(told)["error"] == "the last capture is only just over; again in 600.0 s"
        assert len(served.desk.made) == 1


@pytest.mark.parametrize(
    "query",
    [
        "seconds=0",
        "seconds=301",
        "seconds=nan",
        "seconds=inf",
        "seconds=",
        "seconds=abc",
        "seconds=1&seconds=2",
        "engine=perf",
        "engine=",
        "rate=0",
        "clock=cpu",
        "nothing=1",
        "=",
        "native=1",
        "endpoint=x&engine=py-spy",
        "seconds=%00",
        "engine=" + "x" * 5000,
        "engine=a%0Ab",
    ],
)
def test_options_that_cannot_be(served: Port, query: str) -> None:
    """They are 400 and one short line; nothing is captured."""
    status, _, told = served.ask("POST", f"/profile?{query}")
    assert (status, told.count(b"\n"), served.desk.made) == (400, 1, [])
    assert len(told) < 400


def test_a_capture_that_fails(served: Port, caplog: pytest.LogCaptureFixture) -> None:
    """It is listed as failed with the reason, asking for it is 500, a line is logged; the next one works."""
    served.desk.failure = TargetUnreachable("pid 7", "not permitted to attach", "grant CAP_SYS_PTRACE")
    name = served.begin()
    failed = served.until("failed")
    assert failed["reason"] == "pid 7: not permitted to attach; grant CAP_SYS_PTRACE"
    assert served.said("GET", f"/profiles/{name}") == (500, {"id": name, "state": "failed", "error": failed["reason"]})
    assert "grant CAP_SYS_PTRACE" in caplog.text
    served.desk.failure = None
    served.begin()
    served.until("done")
    assert [one["state"] for one in served.said("GET", "/profiles")[1]] == ["done", "failed"]


def test_failures_are_bounded(served: Port) -> None:
    """The last twenty are remembered."""
    served.desk.failure = RuntimeError("odd")
    for _ in range(30):
        served.begin()
        eventually(lambda: served.captures.running, lambda running: running is None)
    listed = served.said("GET", "/profiles")[1]
    assert (len(listed), {one["reason"] for one in listed}) == (20, {"odd"})


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """The last `keep` are there, also for the next process that has the folder."""
    with port(tmp_path, keep=3) as served:
        for _ in range(5):
            served.begin()
            eventually(lambda: served.captures.running, lambda running: running is None)
        listed = served.said("GET", "/profiles")[1]
    assert len(listed) == 3
    with port(tmp_path, keep=3) as served:
        assert served.said("GET", "/profiles") == (200, listed)
        assert served.ask("GET", f"/profiles/{listed[0]['id']}")[0] == 200


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing",
        "..",
        "../../../../etc/passwd",
        "%2e%2e%2fsecret",
        "20261126T000000000-000000",
        "20261126T000000000-000000.json",
        "x" * 3000,
        "%00",
        "a/b/c",
    ],
)
def test_profiles_that_are_not_there(tmp_path: Path, name: str) -> None:
    """Whatever is asked for that is no capture is 404, and no file outside the folder is read."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret.json").write_text("secret")
    with port(tmp_path / "profiles") as served:
        status, _, told = served.ask("GET", f"/profiles/{name}")
    assert (status, b"secret" in told.replace(b"%2fsecret", b"")) == (404, False)


def test_methods(served: Port) -> None:
    """What begins something is posted, what is there is got; everything else is 405, a browser's preflight too."""
    for path in ("/profile", "/alerts"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, headers, _ = served.ask(method, path)
            assert (path, method, status, headers["allow"]) == (path, method, 405, "POST")
            assert not [name for name in headers if name.lower().startswith("access-control")]
    for path in ("/profiles", "/profiles/20261126T000000000-000000"):
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert (path, method, served.ask(method, path)[0]) == (path, method, 405)
    assert served.ask("HEAD", "/profiles")[0] == 200
    assert served.desk.made == []
    assert b"/profiles" in served.ask("GET", "/nowhere")[2]
    assert served.ask("GET", "/profilesx")[0] == 404


# ---- who may ask


def test_a_token_for_everything(tmp_path: Path) -> None:
    """Where the admin port has a token all of it needs the token, also on this machine alone."""
    with port(tmp_path, token="secret") as served:
        wanted = [("POST", "/profile"), ("POST", "/alerts"), ("GET", "/profiles"), ("GET", "/profiles/x")]
        for method, path in wanted:
            for field in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
                status, _, told = served.ask(method, path, b"{}" if method == "POST" else None, **field)
                assert (path, status, b"secret" in told) == (path, 401, False)
        assert served.desk.made == []
        allowed = {"authorization": "Bearer secret"}
        assert served.ask("POST", "/profile", **allowed)[0] == 202
        assert served.until("done", **allowed)["trigger"] == "asked"


def test_a_cookie_is_to_look_only(tmp_path: Path) -> None:
    """A browser that has had the token may see the profiles; it cannot begin a capture, whatever page asks it to."""
    with port(tmp_path, token="secret") as served:
        _, headers, _ = served.ask("POST", "/login", b"token=secret")
        cookie = headers["set-cookie"].partition(";")[0]
        assert served.ask("GET", "/profiles", cookie=cookie)[0] == 200
        assert served.ask("POST", "/profile", cookie=cookie)[0] == 401
        assert served.ask("POST", "/alerts", body(alert()), cookie=cookie)[0] == 401
    assert served.desk.made == []


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9464"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-origin"},
        {"origin": "http://evil.example:9464", "host": "evil.example:9464"},
    ],
)
@pytest.mark.parametrize("path", ["/profile", "/alerts"])
def test_pages_cannot_begin_a_capture(served: Port, path: str, fields: dict[str, str]) -> None:
    """Without a token no page can, be it of another origin, of none, or of a name that was made to lead here."""
    status, _, told = served.ask("POST", path, body(alert()), **fields)
    assert (status, told) == (403, b"pages of browsers may not; ask by a command\n")
    assert served.desk.made == []


# ---- the end


def test_the_end_of_the_port(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A capture that is under way is cancelled, nothing of it is kept, and the thread ends."""
    served = Port(tmp_path)
    with served.desk.held():
        name = served.begin()
        eventually(lambda: served.desk.made, bool)
        served.thread.stop()
    assert served.desk.cancelled == 1
    failed = served.captures.unfinished(name)
    assert failed is not None
    assert (failed.state, failed.reason) == ("failed", "the admin port has ended")
    assert list(tmp_path.iterdir()) == []
    assert [thread for thread in threading.enumerate() if thread.name == "hasten-admin"] == []
