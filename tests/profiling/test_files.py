"""Profiles as files: what is written can be read, other tools' files can be too, and damaged ones say so in a line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.profiling import Frame, Profile, Stack
from hasten.profiling._files import FORMATS, LARGEST, decode, encode, format_of, read_profile, write_profile
from tests.profiling.profiles import DIGEST, PROFILES, SEARCHED, of_ledger, of_py_spy, of_yappi

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


# ---- ours


@given(PROFILES)
def test_our_files_lose_nothing(profile: Profile) -> None:
    """Any profile reads back from JSON as it was written."""
    assert decode(encode(profile, "json"), "profile.json") == profile


def test_a_file_says_what_it_is_and_writes_each_frame_once() -> None:
    """Later readers know the file by its format and version, and a frame that many stacks share takes one place."""
    file = json.loads(encode(of_ledger(), "json"))
    assert (file["format"], file["version"]) == ("hasten-profile", 1)
    assert len(file["frames"]) == len({tuple(frame) for frame in file["frames"]}) == 6


def test_fields_of_a_later_hasten_are_passed_over_and_a_later_version_is_refused() -> None:
    """What was added can be left out; what has another meaning must not be guessed at."""
    file = json.loads(encode(of_ledger(), "json"))
    assert decode(json.dumps(file | {"added_later": 1}).encode(), "profile.json") == of_ledger()
    with pytest.raises(ConfigurationError, match=r"profile\.json: is a profile of version 2; read it with a later"):
        decode(json.dumps(file | {"version": 2}).encode(), "profile.json")


def test_names_that_are_not_text_are_written_with_marks() -> None:
    """A file's name that is not UTF-8 keeps no profile from being written."""
    profile = Profile(engine="ledger", clock="wall", stacks=(Stack((Frame("f", "/srv/caf\udce9.py", 1),), 1.0),))
    for form in FORMATS:
        assert b"caf?.py" in encode(profile, form)


# ---- folded


def _comparable(profile: Profile) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for one in profile.stacks:
        key = one.frames, one.endpoint, one.kind
        found[key] = found.get(key, 0.0) + one.seconds
    return {key: pytest.approx(seconds, abs=1e-6) for key, seconds in found.items()}


@pytest.mark.parametrize("form", ["folded", "speedscope"])
def test_formats_of_others_keep_frames_endpoints_and_kinds(form: str) -> None:
    """A ledger's profile reads back from folded and speedscope with all of its stacks and seconds."""
    read = decode(encode(of_ledger(), form), "profile")
    assert (read.engine, read.clock) == ("ledger", "wall")
    assert _comparable(read) == _comparable(of_ledger())


def test_folded_stacks_are_as_other_tools_read_them() -> None:
    """A line has the endpoint, the frames from the outermost on, the kind, and a whole number."""
    line = encode(of_ledger(), "folded").decode().splitlines()[0]
    assert line.startswith("GET /search;Router.app (")
    assert line.endswith(";digest (/srv/orders/checks.py:17);[computing] 400000")


def test_folded_stacks_of_samples_count_samples() -> None:
    """What was sampled is told in samples, as py-spy does, and reads back with a word about their length."""
    data = encode(of_py_spy(), "folded")
    assert [line.rsplit(" ")[-1] for line in data.decode().splitlines()] == ["60", "10", "30"]
    read = decode(data, "profile.folded")
    assert [stack.count for stack in read.stacks] == [60, 10, 30]
    assert read.spent == pytest.approx(1.0)
    assert "10 ms" in read.notes[0]


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: not name.startswith("[") and "(" not in name and name.strip() and not name.isupper()
)


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_any_name_survives_folding(names: list[str]) -> None:
    """Semicolons, line ends, percent signs and spaces in names part no stack."""
    frames = tuple(Frame(name) for name in ["first", *names])
    profile = Profile(engine="ledger", clock="wall", stacks=(Stack(frames, 2.0, 1, "", "waiting"),))
    (stack,) = decode(encode(profile, "folded"), "profile.folded").stacks
    assert (stack.frames, stack.kind, stack.seconds) == (frames, "waiting", 2.0)


def test_py_spys_raw_file_is_read() -> None:
    """Frames of `py-spy record --format raw` get their file and line; <module> is no page."""
    raw = b"<module> (hot.py:7);b (hot.py:6);spin (hot.py:4) 63\n<module> (hot.py:7);a (hot.py:5) 37\n"
    first, second = decode(raw, "raw").stacks
    assert first.frames == (Frame("<module>", "hot.py", 7), Frame("b", "hot.py", 6), Frame("spin", "hot.py", 4))
    assert (first.count, second.count) == (63, 37)


# ---- speedscope


def test_speedscope_files_have_all_and_each_endpoint() -> None:
    """The file follows the schema: shared frames, sampled profiles in seconds, one of all and one of each endpoint."""
    file = json.loads(encode(of_ledger(), "speedscope"))
    assert file["$schema"] == SCHEMA
    assert file["exporter"].startswith("hasten@")
    assert [one["name"] for one in file["profiles"]] == ["ledger wall", "GET /search", "POST /orders"]
    for one in file["profiles"]:
        assert (one["type"], one["unit"], one["startValue"]) == ("sampled", "seconds", 0.0)
        assert len(one["samples"]) == len(one["weights"])
        assert one["endValue"] == pytest.approx(sum(one["weights"]))
        assert max(max(sample) for sample in one["samples"]) < len(file["shared"]["frames"])
    assert {"name": "digest", "file": DIGEST.file, "line": DIGEST.line} in file["shared"]["frames"]


def _speedscope(*profiles: dict[str, Any], frames: int = 3, exporter: str = "py-spy@0.4.1") -> bytes:
    shared = {
        "frames": [{"name": f"f{number}", "file": "hot.py", "line": number, "col": None} for number in range(frames)]
    }
    return json.dumps({"$schema": SCHEMA, "shared": shared, "profiles": profiles, "exporter": exporter}).encode()


def _sampled(samples: list[list[int]], weights: list[float], unit: str = "seconds") -> dict[str, Any]:
    return {
        "type": "sampled",
        "name": "Thread 1",
        "unit": unit,
        "startValue": 0.0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }


def test_py_spys_speedscope_file_is_read() -> None:
    """Samples are added up over threads, their interval is known, and the file's tool too."""
    data = _speedscope(_sampled([[0, 1], [0, 1], [0]], [0.01] * 3), _sampled([[0, 1]], [0.01]))
    profile = decode(data, "profile.json")
    assert (profile.engine, profile.interval) == ("py-spy", 0.01)
    assert {len(stack.frames): stack.count for stack in profile.stacks} == {2: 3, 1: 1}
    assert profile.notes == ("The 2 threads of the file are added up.",)


@pytest.mark.parametrize(("unit", "seconds"), [("milliseconds", 0.002), ("nanoseconds", 2e-9), ("none", 0.02)])
def test_units_become_seconds(unit: str, seconds: float) -> None:
    """Weights are of the unit that the file says; without one they are samples."""
    assert decode(_speedscope(_sampled([[0]], [2], unit)), "profile.json").spent == pytest.approx(seconds)


def test_evented_profiles_are_read() -> None:
    """What other profilers tell by opening and closing frames becomes stacks, too."""
    events = [("O", 0, 0), ("O", 1, 1), ("C", 3, 1), ("C", 4, 0)]
    told = [{"type": kind, "at": at, "frame": frame} for kind, at, frame in events]
    one = {"type": "evented", "name": "main", "unit": "seconds", "startValue": 0, "endValue": 4, "events": told}
    profile = decode(_speedscope(one, exporter="other"), "profile.json")
    assert {tuple(f.function for f in stack.frames): stack.seconds for stack in profile.stacks} == {
        ("f0",): 2.0,
        ("f0", "f1"): 2.0,
    }


# ---- what goes wrong


def test_a_profile_without_stacks_is_refused_where_stacks_are_needed() -> None:
    """Yappi's tables become JSON and a page; folded and speedscope say why not."""
    assert decode(encode(of_yappi(), "json"), "profile.json") == of_yappi()
    assert b"<html" in encode(of_yappi(), "html")
    for form in ("folded", "speedscope"):
        with pytest.raises(ConfigurationError, match=rf"{form}: yappi knows functions and no stacks; take json"):
            encode(of_yappi(), form)
    with pytest.raises(ConfigurationError, match="'svg' is none; there is json, html"):
        encode(of_ledger(), "svg")


OURS: dict[str, Any] = json.loads(encode(of_ledger(), "json"))
BROKEN = {
    "empty": (b" \n", "is empty"),
    "binary": (b"\x00\xff\xfe\x80", "is no profile: 'utf-8' codec"),
    "other JSON": (b'{"a": 1}', "is JSON, but no profile"),
    "a list": (b"[]", "Expected `object`"),
    "cut off": (encode(of_ledger(), "json")[:-20], "damaged"),
    "deep": (b'{"a":' * 100_000, "nested too deeply"),
    "a page": (encode(of_ledger(), "html"), "is a page to look at; give the JSON"),
    "text": (b"hello world\n", "f:1: 'hello world' is no stack with a weight"),
    "a frame that is not there": (json.dumps(OURS | {"frames": []}).encode(), "frame 0 is not in it"),
    "negative frame": (json.dumps(OURS | {"stacks": [[[-1], 1.0]]}).encode(), "frame -1 is not in it"),
    "negative time": (json.dumps(OURS | {"stacks": [[[0], -1.0]]}).encode(), "Expected `float` >= 0"),
    "no time": (b'{"format":"hasten-profile","version":1,"engine":"e","clock":"wall","seconds":1e999}', "out of range"),
    "no stacks": (_speedscope(), "has no stacks"),
    "weights": (_speedscope(_sampled([[0], [1]], [0.1])), "2 samples have 1 weights"),
    "index": (_speedscope(_sampled([[7]], [0.1])), "a frame is not in it"),
    "memory": (_speedscope(_sampled([[0]], [0.1], "bytes")), "counts bytes and not time"),
    "endless": (_speedscope(_sampled([[0]], [1e300])), "is not possible"),
}


@pytest.mark.parametrize(("data", "said"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_one_line(data: bytes, said: str) -> None:
    """Whatever is wrong with a file is said in one line that names it."""
    with pytest.raises(ConfigurationError) as caught:
        decode(data, "f")
    assert said in str(caught.value)
    assert str(caught.value).startswith("f")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Hostile bytes are read or refused."""
    try:
        decode(data, "f")
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most bytes are refused, some are folded stacks


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=8), one, max_size=4),
    max_leaves=8,
)


PARTS = ("samples", "weights", "unit", "type", "events", "endValue")


@given(st.sampled_from(sorted(OURS)), JSON)
def test_no_json_of_ours_raises_anything_else(name: str, value: Any) -> None:
    """A file of ours in which any part is replaced is read or refused."""
    try:
        decode(json.dumps(OURS | {name: value}).encode(), "f")
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - parts that stay valid are read


@given(st.dictionaries(st.sampled_from(["shared", "profiles", "exporter"]), JSON), st.sampled_from(PARTS), JSON)
def test_no_json_of_speedscope_raises_anything_else(top: dict[str, Any], name: str, value: Any) -> None:
    """A file of speedscope's in which any part is replaced is read or refused."""
    file: dict[str, Any] = json.loads(encode(of_ledger(), "speedscope"))
    file["profiles"][0][name] = value
    try:
        decode(json.dumps(file | top).encode(), "f")
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - as above


# ---- files


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.html", "html"),
        ("a.speedscope.json", "speedscope"),
        ("a.folded", "folded"),
        ("a.TXT", "folded"),
        ("a.json", "json"),
        ("a", "json"),
    ],
)
def test_a_files_name_says_its_format(name: str, form: str) -> None:
    """The suffix decides what is written."""
    assert format_of(Path(name)) == form


def test_files_are_written_whole_and_read_back(tmp_path: Path) -> None:
    """What is written reads back; nothing but the file is left."""
    file = tmp_path / "profile.json"
    write_profile(of_ledger(), file)
    write_profile(of_py_spy(), file)
    assert read_profile(file) == of_py_spy()
    assert list(tmp_path.iterdir()) == [file]
    write_profile(of_ledger(), file, "html")
    assert file.read_bytes().startswith(b"<!doctype html>")


def test_files_that_cannot_be_read_or_written_are_one_line(tmp_path: Path) -> None:
    """A missing file, a folder and a missing folder say so, and leave nothing behind."""
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_profile(tmp_path / "none.json")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_profile(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        write_profile(of_ledger(), tmp_path / "none" / "a.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written: Is a directory"):
        write_profile(of_ledger(), tmp_path / "folder")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """No more than the limit is taken into memory."""
    file = tmp_path / "large.json"
    with file.open("wb") as sparse:
        sparse.truncate(LARGEST + 10)
    with pytest.raises(ConfigurationError, match="larger than 256 MiB"):
        read_profile(file)


@pytest.mark.parametrize("data", [b"a;b 1\n" * 2_000_001, b"{" + b"[" * 4_000_001], ids=["folded", "JSON"])
def test_more_stacks_than_memory_is_for_are_not_read(data: bytes) -> None:
    """A file that is small enough may say too many stacks; it is refused before any is read."""
    with pytest.raises(ConfigurationError, match="f: has too many stacks or frames; profile for a shorter time"):
        decode(data, "f")


def test_an_endpoint_is_known_in_folded_stacks_only_by_its_form() -> None:
    """A first frame that is a method and a path is an endpoint; one that is not stays a frame."""
    data = b"GET /search;search;[waiting] 10\n/orders.Orders/Place;place;[held] 5\nworker;run;[held] 5\n"
    first, second, third = decode(data, "f").stacks
    assert (first.endpoint, second.endpoint, third.endpoint) == (SEARCHED, "/orders.Orders/Place", "")
    assert third.frames == (Frame("worker"), Frame("run"))
