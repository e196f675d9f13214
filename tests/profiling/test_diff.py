"""What changed between two profiles: normalised, matched over moved files and lines, and honest about what it is."""

import msgspec
import pytest
from hypothesis import given, settings

from hasten._core.errors import ConfigurationError
from hasten.profiling import Frame, Profile, Requests, Stack
from hasten.profiling._diff import Change, Difference, diff_profiles
from tests.profiling.profiles import (
    APP,
    DIGEST,
    PLACE_ORDER,
    PROFILES,
    SEARCH,
    SEARCHED,
    of_ledger,
    of_py_spy,
    of_yappi,
)


def _change(difference: Difference, function: str, kind: str = "") -> Change:
    return next(one for one in difference.changes if one.frame.function == function and one.kind == kind)


def test_a_planted_change_is_first_and_told_per_request() -> None:
    """Twice the requests with the same cost each are no change; what costs more is, and comes first."""
    before = of_ledger()
    after = _twice_the_load(of_ledger(digest=0.8))
    difference = diff_profiles(before, after)
    assert difference.per == "request"
    first = difference.changes[0]
    assert (first.frame, first.kind) == (DIGEST, "computing")
    assert first.before == pytest.approx(0.4 / 200)
    assert first.change == pytest.approx(0.4 / 200)
    assert first.ratio == pytest.approx(1.0)
    assert all(abs(one.change) < 1e-12 for one in difference.changes[1:])
    assert difference.after.spent - difference.before.spent == pytest.approx(first.change)


def _twice_the_load(profile: Profile) -> Profile:
    return msgspec.structs.replace(
        profile,
        requests=tuple(Requests(one.endpoint, 2 * one.count) for one in profile.requests),
        stacks=tuple(Stack(one.frames, 2 * one.seconds, one.count, one.endpoint, one.kind) for one in profile.stacks),
    )


def test_another_mix_of_endpoints_is_no_change() -> None:
    """Endpoints are weighed alike on both sides, and the reader is told."""
    before, after = of_ledger(), of_ledger()
    many = tuple(
        Stack(one.frames, one.seconds * (9 if one.endpoint == SEARCHED else 1), one.count, one.endpoint, one.kind)
        for one in after.stacks
        if one.endpoint
    )
    requests = (Requests(SEARCHED, 900), Requests(PLACE_ORDER, 100))
    before = msgspec.structs.replace(before, stacks=tuple(one for one in before.stacks if one.endpoint))
    difference = diff_profiles(before, msgspec.structs.replace(after, stacks=many, requests=requests))
    assert all(abs(one.change) < 1e-12 for one in difference.changes)
    assert difference.mix == {SEARCHED: pytest.approx(0.7), PLACE_ORDER: pytest.approx(0.3)}
    assert any("another mix" in note for note in difference.notes)


def test_an_endpoint_of_one_side_is_left_out_and_named() -> None:
    """What was only asked on one side cannot be compared; the rest is."""
    after = msgspec.structs.replace(of_ledger(), requests=(Requests(SEARCHED, 100), Requests("GET /new", 5)))
    difference = diff_profiles(of_ledger(), after)
    assert {stack.endpoint for stack in difference.stacks} == {SEARCHED, ""}
    assert f"Asked only before, and left out: {PLACE_ORDER}." in difference.notes
    assert "Asked only after, and left out: GET /new." in difference.notes
    only = msgspec.structs.replace(after, requests=(Requests("GET /new", 5),))
    with pytest.raises(ConfigurationError, match="no endpoint in common"):
        diff_profiles(of_ledger(), only)


def test_lines_that_shifted_and_files_that_moved_stay_the_same_function() -> None:
    """A function matches by its name and its file's last parts, wherever the checkout lies and whatever its line."""
    moved = {
        frame: Frame(frame.function, frame.file.replace("/srv/", "/tmp/fix/"), frame.line + 4)
        for frame in (DIGEST, SEARCH)
    }
    stacks = tuple(
        Stack(tuple(moved.get(frame, frame) for frame in one.frames), one.seconds, 1, one.endpoint, one.kind)
        for one in of_ledger().stacks
    )
    difference = diff_profiles(of_ledger(), msgspec.structs.replace(of_ledger(), stacks=stacks))
    assert all(abs(one.change) < 1e-12 for one in difference.changes)
    assert _change(difference, "digest", "computing").frame == Frame("digest", DIGEST.file, DIGEST.line + 4)
    assert len(difference.stacks) == len(stacks)


def test_functions_of_the_same_name_in_different_files_stay_apart() -> None:
    """Each of two `main` functions finds its own counterpart."""

    def profile(root: str, fast: float, slow: float) -> Profile:
        frames = (Frame("main", f"{root}/a/run.py", 1), Frame("main", f"{root}/b/run.py", 1))
        stacks = tuple(Stack((frame,), seconds) for frame, seconds in zip(frames, (fast, slow), strict=True))
        return Profile(engine="ledger", clock="wall", seconds=1.0, stacks=stacks)

    difference = diff_profiles(profile("/one", 0.1, 0.2), profile("/two", 0.1, 0.5))
    changes = {one.frame.file: one.change for one in difference.changes}
    assert changes == {"/one/a/run.py": 0.0, "/one/b/run.py": pytest.approx(0.3)}


def test_new_and_gone_functions_are_told() -> None:
    """What was not there before has no ratio, what is gone has lost all of itself."""
    before = of_ledger()
    other = Frame("blake", APP + "checks.py", 30)
    stacks = tuple(
        Stack(
            tuple(other if frame == DIGEST else frame for frame in one.frames), one.seconds, 1, one.endpoint, one.kind
        )
        for one in before.stacks
    )
    difference = diff_profiles(before, msgspec.structs.replace(before, stacks=stacks))
    new, gone = _change(difference, "blake", "computing"), _change(difference, "digest", "computing")
    assert (new.before, new.ratio) == (0.0, None)
    assert (gone.after, gone.ratio) == (0.0, -1.0)


def test_without_requests_figures_are_per_second() -> None:
    """Profiles of different lengths compare by the second where requests are not known."""
    after = of_py_spy(digest=120)
    longer = msgspec.structs.replace(
        after, seconds=2.0, stacks=tuple(Stack(one.frames, 2 * one.seconds, 2 * one.count) for one in after.stacks)
    )
    difference = diff_profiles(of_py_spy(), longer)
    assert difference.per == "second"
    assert _change(difference, "digest").change == pytest.approx(0.6)
    assert _change(difference, "search").change == pytest.approx(0.0)


def test_a_change_that_sampling_may_make_is_not_sure() -> None:
    """Ten samples more of sixty may be chance, sixty more are not; what is not sampled is what it is."""
    assert not _change(diff_profiles(of_py_spy(), of_py_spy(digest=70)), "digest").sure
    assert _change(diff_profiles(of_py_spy(), of_py_spy(digest=120)), "digest").sure
    assert _change(diff_profiles(of_ledger(), of_ledger(digest=0.41)), "digest", "computing").sure


def test_notes_say_which_side_they_are_of() -> None:
    """What is true of both profiles is told once, the rest with its side."""
    before = msgspec.structs.replace(of_ledger(), notes=("Both.", "Old."))
    after = msgspec.structs.replace(of_ledger(), notes=("New.", "Both."))
    assert diff_profiles(before, after).notes == ("Both.", "Before: Old.", "After: New.")


def test_an_endpoint_alone_is_compared() -> None:
    """With an endpoint only its own stacks and requests count; one that is not there is refused with those that are."""
    difference = diff_profiles(of_ledger(), of_ledger(digest=0.8), endpoint=SEARCHED)
    assert _change(difference, "digest", "computing").change == pytest.approx(0.4 / 100)
    assert {stack.endpoint for stack in difference.stacks} == {SEARCHED}
    with pytest.raises(ConfigurationError, match=r"endpoint: 'GET /x' is not in both profiles; there is GET /search"):
        diff_profiles(of_ledger(), of_ledger(), endpoint="GET /x")


def test_functions_without_stacks_are_compared() -> None:
    """Yappi's tables have changes and no graph."""
    slower = msgspec.structs.replace(of_yappi(), functions=of_yappi().functions[1:])
    difference = diff_profiles(of_yappi(), slower)
    assert difference.stacks == ()
    assert difference.changes[0].frame == DIGEST


def test_what_cannot_be_compared_is_refused() -> None:
    """Wall against CPU time, and engines that see different stacks, give one line; other tools' files a note."""
    cpu = msgspec.structs.replace(of_py_spy(), clock="cpu")
    with pytest.raises(ConfigurationError, match="one is of wall time, the other of cpu time"):
        diff_profiles(of_py_spy(), cpu)
    with pytest.raises(ConfigurationError, match=r"one was made by ledger, the other by py-spy.*make both by the same"):
        diff_profiles(of_ledger(), of_py_spy())
    foreign = msgspec.structs.replace(of_py_spy(), engine="folded", service="other")
    notes = diff_profiles(of_py_spy(), foreign).notes
    assert "Before is of py-spy, after of folded: their stacks may differ for that alone." in notes
    assert "Before is of the service orders, after of other." in notes


@settings(max_examples=60)
@given(PROFILES)
def test_a_profile_has_not_changed_from_itself(profile: Profile) -> None:
    """Compared with itself every profile shows no change."""
    if profile.answered and not any(one.count for one in profile.requests):
        return
    difference = diff_profiles(profile, profile)
    assert all(one.change == 0.0 for one in difference.changes)
    assert all(one.before == one.after for one in difference.stacks)
