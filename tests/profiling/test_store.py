"""The folder of the last profiles: bounded, shared, and forgiving to whatever lies there."""

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.profiling import Frame, Function, Profile, Requests, Stack
from hasten.profiling._files import decode
from hasten.profiling._store import Entry, ProfileStore, default_folder, is_id, new_id, state_folder

START = 1_700_000_000.0


def entry(number: int, **fields: Any) -> Entry:
    """Return the entry of a capture, each a second after the last."""
    at = START + number
    return Entry(id=new_id(at), engine="ledger", seconds=1.0, started=at, state="running", service="shop", **fields)


def profile(stacks: int = 3, function: str = "work") -> Profile:
    """Return a profile with so many stacks, each with fewer seconds than the one before."""
    made = [Stack((Frame("main"), Frame(f"{function}{number}")), 1.0 / (number + 1)) for number in range(stacks)]
    return Profile(engine="ledger", clock="wall", seconds=1.0, stacks=tuple(made), requests=(Requests("GET /", 3),))


def test_what_is_kept_can_be_read(tmp_path: Path) -> None:
    """A profile comes back as it was, by the id of its entry, which says its size; another store reads it, too."""
    kept = ProfileStore(tmp_path / "shop").save(entry(0, trigger="alert"), profile())
    assert (kept.state, kept.trigger) == ("done", "alert")
    other = ProfileStore(tmp_path / "shop")
    assert other.entries() == (kept,)
    data = other.read(kept.id)
    assert data is not None
    assert len(data) == kept.size_bytes
    assert decode(data, kept.id) == profile()


def test_ids_sort_by_time() -> None:
    """A later capture has a greater id, and two of one moment have different ones."""
    ids = [new_id(START + number / 1000) for number in range(50)]
    assert ids == sorted(ids)
    assert all(map(is_id, ids))
    assert new_id(START) != new_id(START)


def test_the_number_is_bounded(tmp_path: Path) -> None:
    """The newest stay, and of those that are gone no file is left."""
    store = ProfileStore(tmp_path, keep=3)
    kept = [store.save(entry(number), profile()) for number in range(10)]
    assert store.entries() == tuple(reversed(kept[-3:]))
    assert len(list(tmp_path.iterdir())) == 6


def test_the_bytes_are_bounded(tmp_path: Path) -> None:
    """Old profiles go while all of them together are too large; the newest stays, however large."""
    size_bytes = ProfileStore(tmp_path / "first").save(entry(0), profile(50)).size_bytes
    store = ProfileStore(tmp_path / "second", most_bytes=3 * size_bytes)
    kept = [store.save(entry(number), profile(50)) for number in range(6)]
    assert store.entries() == tuple(reversed(kept[-2:]))
    narrow = ProfileStore(tmp_path / "second", most_bytes=1)
    newest = narrow.save(entry(9), profile())
    assert narrow.entries() == (newest,)


def test_a_clock_that_goes_back(tmp_path: Path) -> None:
    """What was kept just now is not what goes, though its id is the least."""
    store = ProfileStore(tmp_path, keep=2)
    for number in (5, 6, 1):
        kept = store.save(entry(number), profile())
    assert kept in store.entries()
    assert len(store.entries()) == 2


def test_a_large_profile_loses_its_smallest_stacks(tmp_path: Path) -> None:
    """It gets as small as it must, keeps the stacks with the most seconds, and says what is missing."""
    store = ProfileStore(tmp_path, largest=20_000)
    kept = store.save(entry(0), profile(1000))
    assert kept.size_bytes <= 20_000
    read = decode(store.read(kept.id) or b"", kept.id)
    assert 100 < len(read.stacks) < 1000
    assert min(one.seconds for one in read.stacks) >= 1 / (len(read.stacks) + 1)
    assert read.notes[0].startswith(f"The profile was too large: its {1000 - len(read.stacks)} smallest stacks were ")


def test_a_large_table_loses_its_smallest_functions(tmp_path: Path) -> None:
    """So does a profile of an engine that knows no stacks."""
    functions = tuple([Function(Frame(f"f{number}"), 1.0 / (number + 1), 1.0, 1) for number in range(1000)])
    store = ProfileStore(tmp_path, largest=10_000)
    kept = store.save(entry(0), Profile(engine="yappi", clock="cpu", functions=functions))
    read = decode(store.read(kept.id) or b"", kept.id)
    assert kept.size_bytes <= 10_000
    assert len(read.functions) > 50
    assert "smallest functions" in read.notes[0]


def test_one_that_cannot_be_made_small(tmp_path: Path) -> None:
    """A profile that is too large without any stack is not kept, and nothing is written."""
    huge = msgspec.structs.replace(profile(), labels={"site": "x" * 5000})
    with pytest.raises(ValueError, match="without any stack"):
        ProfileStore(tmp_path, largest=1000).save(entry(0), huge)
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_damaged_files_stay(tmp_path: Path) -> None:
    """What is not ours, is damaged, or is no file at all is not listed, and is there as before afterwards."""
    store = ProfileStore(tmp_path, keep=1)
    first = store.save(entry(0), profile())
    names = [new_id(START - number) for number in range(6)]
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f"{names[0]}.entry.json").write_text("{")
    (tmp_path / f"{names[1]}.entry.json").write_bytes(msgspec.json.encode(first))  # another's id
    (tmp_path / f"{names[2]}.json").write_text("{}")  # no entry
    (tmp_path / f"{names[3]}.entry.json").symlink_to(tmp_path / f"{first.id}.entry.json")
    os.mkfifo(tmp_path / f"{names[4]}.entry.json")
    (tmp_path / f"{names[5]}.entry.json").mkdir()
    foreign = set(tmp_path.iterdir()) - {tmp_path / f"{first.id}.json", tmp_path / f"{first.id}.entry.json"}
    assert store.entries() == (first,)
    second = store.save(entry(1), profile())
    assert store.entries() == (second,)
    assert foreign <= set(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder", "absent"])
def test_a_profile_that_is_no_file(tmp_path: Path, kind: str) -> None:
    """A name that leads elsewhere, or to what would hang a reader, has no profile behind it."""
    store = ProfileStore(tmp_path)
    kept = store.save(entry(0), profile())
    place = tmp_path / f"{kept.id}.json"
    place.unlink()
    if kind == "symlink":
        (tmp_path / "secret").write_text("secret")
        place.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    assert store.read(kept.id) is None
    assert store.entries() == ()


@given(st.text(max_size=60))
def test_no_text_leads_out_of_the_folder(text: str) -> None:
    """Whatever is asked for as an id, nothing but an id reads a file."""
    assert ProfileStore(Path("/etc")).read(text) is None
    assert ProfileStore(Path("/etc")).read(f"../etc/{text}") is None
    assert not is_id(f"{text}/")


def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, however many captures; the last ones are in memory, and can be listed and read."""
    (tmp_path / "taken").write_text("a file")
    store = ProfileStore(tmp_path / "taken", keep=2)
    kept = [store.save(entry(number), profile()) for number in range(4)]
    assert store.entries() == tuple(reversed(kept[-2:]))
    assert decode(store.read(kept[-1].id) or b"", "memory") == profile()
    assert store.read(kept[0].id) is None
    assert len([one for one in caplog.records if "kept in memory" in one.message]) == 1


def test_without_a_folder(caplog: pytest.LogCaptureFixture) -> None:
    """Where there is no home, profiles are kept in memory, too."""
    store = ProfileStore(None)
    kept = store.save(entry(0), profile())
    assert store.entries() == (kept,)
    assert "there is no home" in caplog.text


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory there are fewer bytes than on disk; the newest stays."""
    monkeypatch.setattr("hasten.profiling._store.MOST_IN_MEMORY", 10_000)
    store = ProfileStore(None)
    kept = [store.save(entry(number), profile(50)) for number in range(10)]
    assert store.entries()[0] == kept[-1]
    assert sum(one.size_bytes for one in store.entries()) <= 10_000


def test_files_are_their_owners(tmp_path: Path) -> None:
    """Nobody else may look into the folder or the files: a profile tells of code and of routes."""
    folder = tmp_path / "state" / "shop"
    ProfileStore(folder).save(entry(0), profile())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {place.stat().st_mode & 0o777 for place in folder.iterdir()} == {0o600}


def test_workers_may_share_a_folder(tmp_path: Path) -> None:
    """Several that write at once leave as many as there may be, each whole."""
    stores = [ProfileStore(tmp_path, keep=5) for _ in range(4)]
    threads = [threading.Thread(target=_keep_many, args=(one, number)) for number, one in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stores[0].save(entry(1000), profile())
    found = stores[1].entries()
    assert len(found) == 5
    assert all(decode(stores[2].read(one.id) or b"", one.id) == profile() for one in found)


def _keep_many(store: ProfileStore, number: int) -> None:
    for each in range(25):
        store.save(entry(10 * each + number), profile())


def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDG_STATE_HOME says where states are, if it is an absolute path; a service's name makes no path of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    assert state_folder() == tmp_path / "states/hasten/profiles"
    assert default_folder("shop") == tmp_path / "states/hasten/profiles/shop"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_folder("") == tmp_path / ".local/state/hasten/profiles/app"
    for hostile in ("..", "../../etc", "a/b", ".hidden", "ü" * 300):
        folder = default_folder(hostile)
        assert folder is not None
        assert folder.parent == state_folder()
        assert folder.name not in {"", ".", ".."}
