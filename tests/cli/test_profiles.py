"""`hasten profiles`: lists and shows the captures in a folder or at an admin port, by the real command."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hasten.cli import main
from hasten.profiling import Frame, Profile, Requests, Stack
from hasten.profiling._files import read_profile
from hasten.profiling._store import Entry, ProfileStore, new_id
from tests.admin.capturing import Port, port

PROFILE = Profile(
    engine="ledger",
    clock="wall",
    service="shop",
    seconds=10.0,
    requests=(Requests("GET /orders", 90), Requests("GET /items", 10)),
    stacks=(
        Stack((Frame("main"), Frame("hash_password", "/app/shop.py", 7)), 0.9, 3, "GET /orders", "held"),
        Stack((Frame("main"), Frame("load_items", "/app/shop.py", 9)), 0.1, 1, "GET /items", "waiting"),
    ),
)
LABELS: dict[str, dict[str, str]] = {
    "asked": {},
    "alert": {"alertname": "LoopBlocked", "summary": "the event loop has stood still for 6s"},
    "hold": {"site": "shop.py:7 hash_password", "held": "734 ms", "state": "goes on"},
    "p99": {"slo": "fast", "of": "GET /orders", "p99": "213 ms", "objective": "50.0 ms", "events": "900"},
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hasten(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `hasten profiles` and returns its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            main(["profiles", *map(str, arguments)])
        return int(raised.value.code or 0), *capsys.readouterr()

    return run


def keep(folder: Path, number: int, **fields: Any) -> Entry:
    """Keep a profile whose id sorts by its number."""
    at = time.time() - 1000 + number
    entry = Entry(id=new_id(at), engine="ledger", seconds=10.0, started=at, service="shop")
    return ProfileStore(folder).save(msgspec.structs.replace(entry, **fields), PROFILE)


@pytest.fixture
def kept(tmp_path: Path) -> list[Entry]:
    """Return what is in the folder `shop`: one for each trigger, the newest last."""
    folder = tmp_path / "shop"
    return [keep(folder, number, trigger=name, labels=labels) for number, (name, labels) in enumerate(LABELS.items())]


def refused(run: tuple[int, str, str], code: int) -> str:
    """Return the one line that a command has refused with."""
    assert (run[0], run[1], run[2].count("\n")) == (code, "", 1), run
    return run[2].removeprefix("error: ").rstrip()


# ---- list


def test_a_list(hasten: Run, kept: list[Entry], tmp_path: Path) -> None:
    """The newest comes first; each says when, by what, how long, and why it was made."""
    code, out, _ = hasten("list", tmp_path / "shop")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == f"{tmp_path / 'shop'}: 4 profiles"
    assert [line.split()[0] for line in lines[1:9:2]] == [entry.id for entry in reversed(kept)]
    assert re.fullmatch(r"\S+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  shop  ledger 10\.0 s  \d+ B", lines[1])
    assert [line.strip() for line in lines[2:9:2]] == [
        "GET /orders: p99 213 ms, promised 50.0 ms",
        "loop held for 734 ms by shop.py:7 hash_password",
        "LoopBlocked: the event loop has stood still for 6s",
        "asked for",
    ]
    assert lines[-1] == f"next: hasten profiles show {kept[-1].id} {tmp_path / 'shop'} shows the newest"


def test_several_services(hasten: Run, kept: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a place the profiles of all services are listed, and found; HOME's state folder has them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    other = keep(tmp_path / "state/hasten/profiles/stock", 5, service="stock")
    (tmp_path / "shop").rename(tmp_path / "state/hasten/profiles/shop")
    code, out, _ = hasten("list", "--json")
    assert code == 0
    assert [one["id"] for one in json.loads(out)["profiles"]] == [other.id, *[one.id for one in reversed(kept)]]
    assert hasten("show", kept[0].id)[0] == 0


def test_nothing_yet(hasten: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none the command says so and what makes one; a folder that is not there yet is no error."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code, out, _ = hasten("list")
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path}/hasten/profiles: no profiles")
    assert "install(app, profile=True)" in out
    assert json.loads(hasten("list", "--json")[1])["profiles"] == []


def test_labels_do_not_control_the_terminal(hasten: Run, tmp_path: Path) -> None:
    """What others have written is shown as text."""
    keep(tmp_path, 0, trigger="alert", labels={"alertname": "\x1b[2J", "summary": "[red]a\nb"}, service="\x07")
    code, out, _ = hasten("list", tmp_path)
    assert code == 0
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[red]a b" in out
    assert "\x1b" not in hasten("show", "latest", tmp_path)[1]


# ---- show


def test_a_profile(hasten: Run, kept: list[Entry], tmp_path: Path) -> None:
    """Its labels, the functions with the most time, and how to get a flame graph of it."""
    code, out, _ = hasten("show", kept[1].id, tmp_path)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == [kept[1].id, *lines[0].split()[1:3], "alert"]
    assert lines[1:3] == ["  alertname: LoopBlocked", "  summary: the event loop has stood still for 6s"]
    assert re.search(r"hash_password\s+app/shop\.py:7\s+held\s+900 ms", out)
    assert lines[-1].startswith(f"next: hasten profiles show {kept[1].id} {tmp_path} -o profile.html ")


def test_the_latest(hasten: Run, kept: list[Entry], tmp_path: Path) -> None:
    """`latest` is the newest; the beginning of an id is enough where it is the only one of its kind."""
    assert hasten("show", "latest", tmp_path)[1].startswith(kept[-1].id)
    assert hasten("show", kept[0].id[:-3], tmp_path)[1].startswith(kept[0].id)
    assert refused(hasten("show", "2", tmp_path), 2) == "2: 4 profiles begin so; give more of the id"


def test_an_endpoint(hasten: Run, kept: list[Entry], tmp_path: Path) -> None:
    """Only its requests are shown; one that is not there is an error that names those that are."""
    _, out, _ = hasten("show", kept[0].id, tmp_path, "--endpoint", "GET /items")
    assert "load_items" in out
    assert "hash_password" not in out
    said = refused(hasten("show", kept[0].id, tmp_path, "--endpoint", "GET /x"), 2)
    assert said == "--endpoint: nothing of 'GET /x' is in the profile; there is GET /orders, GET /items"


@pytest.mark.parametrize("name", ["p.json", "p.folded", "p.speedscope.json"])
def test_a_file(hasten: Run, kept: list[Entry], tmp_path: Path, name: str) -> None:
    """A profile is written in the format that the file's name asks for, and can be read again."""
    code, out, error = hasten("show", kept[0].id, tmp_path / "shop", "-o", tmp_path / name)
    assert (code, out, error) == (0, "", f"written to {tmp_path / name}\n")
    assert read_profile(tmp_path / name).spent == pytest.approx(1.0)


def test_json(hasten: Run, kept: list[Entry], tmp_path: Path) -> None:
    """The profile as it is kept, and nothing else on stdout."""
    code, out, error = hasten("show", kept[0].id, tmp_path, "--json")
    assert (code, error) == (0, "")
    (tmp_path / "again.json").write_text(out)
    assert read_profile(tmp_path / "again.json") == PROFILE


# ---- an admin port


def made(served: Port) -> str:
    """Have a capture made, and return its id."""
    name = served.begin()
    served.until("done")
    return name


def test_an_admin_port(hasten: Run, tmp_path: Path) -> None:
    """The same of a process that runs, by its URL or by host and port."""
    with port(tmp_path / "port") as served:
        name = made(served)
        url = f"http://127.0.0.1:{served.number}"
        code, out, _ = hasten("list", url)
        assert (code, out.splitlines()[0]) == (0, f"{url}: 1 profile")
        assert "hash_password" in hasten("show", "latest", f"127.0.0.1:{served.number}")[1]
        assert json.loads(hasten("list", url, "--json")[1])["profiles"][0]["id"] == name


def test_one_that_is_not_finished(hasten: Run, tmp_path: Path) -> None:
    """One that is under way, and one that has failed, are listed as such; asking for them is an error with why."""
    with port(tmp_path / "port") as served:
        url = f"http://127.0.0.1:{served.number}"
        with served.desk.held():
            name = served.begin("?seconds=7")
            assert hasten("list", url)[1].splitlines()[1].endswith(" running")
            assert refused(hasten("show", name, url), 2) == f"{name}: is under way; it takes 7.00 s"
            served.desk.failure = RuntimeError("the engine broke")
        served.until("failed")
        listed = hasten("list", url)[1]
        assert "failed" in listed.splitlines()[1]
        assert "the engine broke" in listed.splitlines()[2]
        assert refused(hasten("show", name, url), 3) == f"{name}: the capture has failed: the engine broke"


def test_a_token(hasten: Run, tmp_path: Path) -> None:
    """A port with a token says what to give."""
    with port(tmp_path, token="secret") as served:
        url = f"http://127.0.0.1:{served.number}"
        assert refused(hasten("list", url), 3) == f"{url}: it wants a token; give --token, or set HASTEN_ADMIN_TOKEN"
        assert hasten("list", url, "--token", "secret")[0] == 0


# ---- what is wrong


def test_places_that_are_none(hasten: Run, tmp_path: Path) -> None:
    """Each is one line that says what is wrong with it."""
    (tmp_path / "file").write_text("text")
    for place in (tmp_path / "nowhere", tmp_path / "file", "nowhere"):
        said = refused(hasten("list", place), 2)
        assert said == f"{place}: is no folder, and no URL of an admin port; write one like 127.0.0.1:9464"
    assert refused(hasten("list", "http://127.0.0.1:1"), 3).startswith("http://127.0.0.1:1: Connection refused; ")
    refused(hasten("list", "ftp://127.0.0.1:1"), 2)
    refused(hasten("list", "127.0.0.1:99999"), 2)


def test_profiles_that_are_none(hasten: Run, kept: list[Entry], tmp_path: Path) -> None:
    """An id that is unknown, and a profile that is damaged, are one line each."""
    said = refused(hasten("show", "nothing", tmp_path), 2)
    assert said == f"nothing: no such profile in {tmp_path}; hasten profiles list says what there is"
    (tmp_path / "shop" / f"{kept[0].id}.json").write_text("{}")
    assert kept[0].id in refused(hasten("show", kept[0].id, tmp_path), 2)
    said = refused(hasten("show", kept[1].id, tmp_path, "-o", tmp_path / "no" / "file.json"), 2)
    assert "cannot be written" in said


def test_an_entry_of_no_time(hasten: Run, tmp_path: Path) -> None:
    """A time that no calendar has is shown as unknown."""
    keep(tmp_path, 0, started=1e300)
    assert hasten("list", tmp_path)[1].splitlines()[1].split()[1] == "?"


def test_without_a_home(hasten: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no home, a place must be given."""

    def nobody() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(nobody))
    assert "give a folder or a URL" in refused(hasten("list"), 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read(hasten: Run, tmp_path: Path) -> None:
    """One line says why."""
    (tmp_path / "closed").mkdir(mode=0)
    assert "cannot be read" in refused(hasten("list", tmp_path / "closed"), 2)
