"""What changed between two profiles: per request, or per second where requests are not known. Pure.

diff_profiles ── refuse what cannot be compared
              ── _common_names: a file that moved, and lines that shifted, stay the same function
              ── _scales: seconds become those of one request of the same mix of endpoints
              ── changes of functions and waits, and of stacks
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.ledger import Kind
from hasten.profiling._functions import answered, callers, functions, seconds_of_sample
from hasten.profiling._profile import Frame, Function, Profile, Stack

_OURS = {"ledger", "py-spy", "yappi"}
_MIX_APART = 0.05  # of a side's requests, from which on a change of their mix is worth a word
_SHORTEST = 1e-9  # seconds that a profile, or what it found, may have taken: one that took less says nothing
_SURE = 2.0  # standard errors
_SAMPLED = {"", Kind.COMPUTING, Kind.BLOCKING}  # kinds of which samples say where they were spent; others are measured
_FileKey = tuple[str, str]
_Scale = Mapping[str, float]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one function took before and after, itself, of one kind of time.

    Attributes:
      frame: As it is after, or was before if it is gone.
      kind: Of time; empty where the engine does not know.
      before, after: Seconds of its own per request, or per second.
      total_before, total_after: With what it called, of all kinds.
      sure: False where an engine that samples saw too little to tell the change from chance.
      caller: Of a library's function, the user's code that most of it is due to; None where there is none.
    """

    frame: Frame
    kind: str
    before: float
    after: float
    total_before: float
    total_after: float
    sure: bool = True
    caller: Frame | None = None

    @property
    def change(self) -> float:
        """Seconds per request, or per second, by which its own grew."""
        return self.after - self.before

    @property
    def ratio(self) -> float | None:
        """What was added to its own as a share of it; None of what is new."""
        return self.change / self.before if self.before else None


class StackChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was spent in one stack before and after: seconds per request, or per second."""

    frames: tuple[Frame, ...]
    endpoint: str
    kind: str
    before: float
    after: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two profiles.

    Attributes:
      started: Unix seconds; 0.0 where it is not known.
      seconds: How long it took; 0.0 where it is not known.
      requests: That it is of; 0 where they are not known.
      spent: All of its seconds per request, or per second.
    """

    started: float
    seconds: float
    requests: int
    spent: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed between two profiles.

    Attributes:
      per: What all seconds are of.
      endpoint: That it is of; empty for all.
      mix: Share of each endpoint in the requests that figures are of; empty per second.
      changes: Those that changed most first, whichever way.
      stacks: Of engines that know them.
      notes: What a reader must know, whole sentences.
    """

    engine: str
    clock: str
    service: str
    per: Literal["request", "second"]
    endpoint: str
    mix: dict[str, float]
    before: Side
    after: Side
    changes: tuple[Change, ...]
    stacks: tuple[StackChange, ...] = ()
    notes: tuple[str, ...] = ()


def diff_profiles(before: Profile, after: Profile, *, endpoint: str = "") -> Difference:
    """Return what changed from one profile to the other.

    Args:
      endpoint: Of requests of this one alone; empty for everything.
    Raises:
      ConfigurationError: they are of different clocks or engines, or know nothing of the endpoint.
    """
    notes = list(_comparable(before, after))
    if endpoint:
        before, after = (_of_endpoint(one, endpoint, after.endpoints()) for one in (before, after))
    mix = _mix(before, after, notes) if before.answered and after.answered else {}
    scales = _scales(before, after, mix, notes)
    samples = seconds_of_sample(before) * scales[0][""], seconds_of_sample(after) * scales[1][""]
    same = _common_names(_frames(before), _frames(after))
    before, after = _scaled(before, scales[0], {}), _scaled(after, scales[1], same)
    return Difference(
        engine=after.engine,
        clock=after.clock,
        service=after.service or before.service,
        per="request" if mix else "second",
        endpoint=endpoint,
        mix=mix,
        before=_side(before),
        after=_side(after),
        changes=tuple(sorted(changes(before, after, samples), key=_most_first)),
        stacks=tuple(_stack_changes(before.stacks, after.stacks)),
        notes=(*notes, *_notes_of_sides(before, after)),
    )


def _notes_of_sides(before: Profile, after: Profile) -> Iterator[str]:
    yield from (note for note in before.notes if note in after.notes)
    yield from (f"Before: {note}" for note in before.notes if note not in after.notes)
    yield from (f"After: {note}" for note in after.notes if note not in before.notes)


def _most_first(one: Change) -> tuple[float, float, str, str, str]:
    return (-abs(one.change), -one.after, one.frame.function, one.frame.file, one.kind)


def _side(profile: Profile) -> Side:
    return Side(started=profile.started, seconds=profile.seconds, requests=profile.answered, spent=profile.spent)


# ---- what can be compared


def _comparable(before: Profile, after: Profile) -> Iterator[str]:
    if before.clock != after.clock:
        raise ConfigurationError("before and after", f"one is of {before.clock} time, the other of {after.clock} time")
    engines = {before.engine, after.engine}
    if len(engines) > 1:
        if engines <= _OURS:
            problem = f"one was made by {before.engine}, the other by {after.engine}, which see different stacks"
            raise ConfigurationError("before and after", problem, "make both by the same engine")
        yield f"Before is of {before.engine}, after of {after.engine}: their stacks may differ for that alone."
    if bool(before.stacks) != bool(after.stacks) and before.functions + after.functions:
        raise ConfigurationError("before and after", "one knows stacks, the other functions alone")
    if before.service and after.service and before.service != after.service:
        yield f"Before is of the service {before.service}, after of {after.service}."


def _of_endpoint(profile: Profile, endpoint: str, known: tuple[str, ...]) -> Profile:
    part = profile.of_endpoint(endpoint)
    if not (part.stacks or part.functions):
        remedy = f"there is {', '.join(known[:10])}" if known else ""
        raise ConfigurationError("endpoint", f"{endpoint!r} is not in both profiles", remedy)
    return part


# ---- of one request


def _scales(before: Profile, after: Profile, mix: Mapping[str, float], notes: list[str]) -> tuple[_Scale, _Scale]:
    """Return what the seconds of each endpoint are multiplied by; of code outside of all requests under ""."""
    if mix:
        return _per_request(before, mix), _per_request(after, mix)
    if before.answered or after.answered:
        notes.append("The requests of one side are not known: figures are per second.")
    if min(before.seconds, after.seconds) < _SHORTEST:
        notes.append("How long the profiles took is not known of both: the sum of the stacks was taken for it.")
    return _per_second(before), _per_second(after)


def _mix(before: Profile, after: Profile, notes: list[str]) -> dict[str, float]:
    """Return the shares of the endpoints that both know, in the middle between those of either."""
    old, new = (
        {one.endpoint: one.count / side.answered for one in side.requests if one.count} for side in (before, after)
    )
    both = sorted(old.keys() & new.keys())
    if not both:
        raise ConfigurationError("before and after", "they have no endpoint in common")
    _tell_mix(old, new, notes)
    whole = sum(old[name] + new[name] for name in both)
    return {name: (old[name] + new[name]) / whole for name in both}


def _per_request(profile: Profile, mix: Mapping[str, float]) -> dict[str, float]:
    scale = {name: share / answered(profile, endpoint=name) for name, share in mix.items() if name}
    return scale | {"": 1.0 / profile.answered}


def _tell_mix(before: Mapping[str, float], after: Mapping[str, float], notes: list[str]) -> None:
    for side, mix, other in (("before", before, after), ("after", after, before)):
        alone = sorted(mix.keys() - other.keys())
        if alone:
            listed = ", ".join(alone[:3]) + (f" and {len(alone) - 3} more" if len(alone) > 3 else "")
            notes.append(f"Asked only {side}, and left out: {listed}.")
    moved = max(abs(before[name] - after[name]) for name in before.keys() & after.keys())
    if moved > _MIX_APART:
        notes.append("Endpoints were asked in another mix after than before: each is weighed alike on both sides.")


def _per_second(profile: Profile) -> dict[str, float]:
    seconds = profile.seconds if profile.seconds >= _SHORTEST else profile.spent
    return dict.fromkeys({"", *profile.endpoints()}, 1.0 / seconds if seconds >= _SHORTEST else 0.0)


def _scaled(profile: Profile, scale: _Scale, same: Mapping[_FileKey, str]) -> Profile:
    """Return a profile of one request, with the other's name for each file.

    Stacks of an endpoint of which no request has ended on both sides cannot be divided, and are left out.
    """
    renamed: dict[Frame, Frame] = {}

    def frame(one: Frame) -> Frame:
        found = renamed.get(one)
        if found is None:
            found = renamed[one] = Frame(one.function, same.get((one.function, one.file), one.file), one.line)
        return found

    stacks = [
        Stack(tuple(map(frame, one.frames)), one.seconds * scale[one.endpoint], one.count, one.endpoint, one.kind)
        for one in profile.stacks
        if one.endpoint in scale
    ]
    told = [
        Function(
            frame(one.frame),
            one.own * scale[one.endpoint],
            one.total * scale[one.endpoint],
            one.count,
            one.endpoint,
            one.kind,
        )
        for one in profile.functions
        if one.endpoint in scale
    ]
    return msgspec.structs.replace(profile, stacks=tuple(stacks), functions=tuple(told))


# ---- the same function


def _frames(profile: Profile) -> Iterator[Frame]:
    for stack in profile.stacks:
        yield from stack.frames
    yield from (one.frame for one in profile.functions)


def _common_names(before: Iterable[Frame], after: Iterable[Frame]) -> dict[_FileKey, str]:
    """Return by function and file of `after` what that file was called before.

    Of files of the same name that hold a function of the same name, those belong together of which the most folders
    are alike from the end on: a checkout may lie elsewhere, and a virtual environment too.
    """
    old = _files_by_function(before)
    same: dict[_FileKey, str] = {}
    for function, files in _files_by_function(after).items():
        known = old.get(function, set())
        free = known - files
        for file in sorted(files - known):
            alike, found = max(((_alike(file, other), other) for other in free), default=(0, ""))
            if alike:
                same[function, file] = found
                free.discard(found)
    return same


def _files_by_function(frames: Iterable[Frame]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for function, file in {(frame.function, frame.file) for frame in frames}:
        found.setdefault(function, set()).add(file)
    return found


def _alike(one: str, other: str) -> int:
    """Return how many parts of two paths are the same, from the end on."""
    number = 0
    for left, right in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if left != right:
            break
        number += 1
    return number


# ---- changes


def changes(before: Profile, after: Profile, samples: tuple[float, float] = (0.0, 0.0)) -> Iterator[Change]:
    """Yield what each function took, of each kind of time, in two profiles whose seconds are of the same.

    Args:
      samples: Seconds that a sample counts in each, of the same; 0.0 where nothing was sampled.
    """
    old = {_key(one): one for one in functions(before)}
    new = {_key(one): one for one in functions(after)}
    due = callers(before) | callers(after)
    totals = [{key[:2]: one.total for key, one in side.items()} for side in (old, new)]
    for key in old.keys() | new.keys():
        was, now = old.get(key), new.get(key)
        there = now or was
        if there is None:  # never: one of them has the key
            continue
        yield Change(
            frame=there.frame,
            kind=there.kind,
            before=was.own if was else 0.0,
            after=now.own if now else 0.0,
            total_before=totals[0].get(key[:2], 0.0),
            total_after=totals[1].get(key[:2], 0.0),
            sure=_is_sure(was, now, samples),
            caller=due.get(key),
        )


def _key(one: Function) -> tuple[str, str, str]:
    return one.frame.function, one.frame.file, one.kind


def _is_sure(was: Function | None, now: Function | None, samples: tuple[float, float]) -> bool:
    """Tell whether a change is beyond what the chance of sampling makes: counts vary as their square roots do.

    Args:
      samples: What a sample counts before and after, scaled as the functions are.
    """
    old, new = (one.own if one else 0.0 for one in (was, now))
    kind = (now or was or Function(Frame(""), 0.0, 0.0, 0)).kind
    if kind not in _SAMPLED:
        return True
    variance = old * samples[0] + new * samples[1]
    return abs(new - old) > _SURE * math.sqrt(variance)


def _stack_changes(before: Iterable[Stack], after: Iterable[Stack]) -> Iterator[StackChange]:
    """Return each stack with both of its times; frames are the same whichever line they stand at."""
    lines: dict[_FileKey, int] = {}
    sides: list[Counter[tuple[tuple[_FileKey, ...], str, str]]] = [Counter(), Counter()]
    for side, stacks in zip(sides, (before, after), strict=True):
        for stack in stacks:
            lines.update(((frame.function, frame.file), frame.line) for frame in stack.frames)
            frames = tuple((frame.function, frame.file) for frame in stack.frames)
            side[frames, stack.endpoint, stack.kind] += stack.seconds  # type: ignore[assignment]  # a Counter of floats
    known = {key: Frame(*key, line) for key, line in lines.items()}
    for key in {**sides[0], **sides[1]}:
        frames, endpoint, kind = key
        yield StackChange(tuple(known[one] for one in frames), endpoint, kind, sides[0][key], sides[1][key])
