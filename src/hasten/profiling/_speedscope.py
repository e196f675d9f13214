"""Profiles for and of speedscope: https://www.speedscope.app/file-format-schema.json.

Ours are of the sampled form: frames are shared, the first profile has everything with the endpoint as the outermost
frame and the kind of time as the innermost, each further one has an endpoint alone. Others' may be of several threads,
which are added up, and of the evented form.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten._core.version import __version__
from hasten.profiling._folded import SAMPLE, UNSAID, stack_of
from hasten.profiling._profile import Frame, Profile, Stack

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_UNITS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9, "none": SAMPLE}
_LONGEST = 1e9
_MOST_FRAMES = 20_000_000  # in all stacks of an evented profile, which says them in far fewer bytes
_Key = tuple[int, ...]


class _Frame(msgspec.Struct, omit_defaults=True):
    name: str
    file: str | None = None
    line: float | None = None


class _Shared(msgspec.Struct):
    frames: list[_Frame]


class _Event(msgspec.Struct):
    type: str
    at: float
    frame: int


class _Profile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    type: str
    name: str
    unit: str
    start_value: float
    end_value: float
    samples: list[tuple[int, ...]] = []
    weights: list[float] = []
    events: list[_Event] = []


class _File(msgspec.Struct, kw_only=True, omit_defaults=True, rename={"schema": "$schema"}):
    schema: str
    shared: _Shared
    profiles: list[_Profile]
    name: str | None = None
    exporter: str | None = None


def encode_speedscope(profile: Profile) -> bytes:
    """Return all stacks, and those of each endpoint, as a file that speedscope opens."""
    numbers: dict[Frame, int] = {}
    whole = f"{profile.engine} {profile.clock}"
    profiles = [_sampled(whole, profile.stacks, numbers, endpoint=True)]
    for endpoint in profile.endpoints():
        part = [stack for stack in profile.stacks if stack.endpoint == endpoint]
        if part:
            profiles.append(_sampled(endpoint, part, numbers, endpoint=False))
    file = _File(
        schema=_SCHEMA,
        shared=_Shared([_Frame(one.function, one.file or None, one.line or None) for one in numbers]),
        profiles=profiles,
        name=f"{profile.service} {whole}".strip(),
        exporter=f"hasten@{__version__}",
    )
    return msgspec.json.encode(file) + b"\n"


def _sampled(name: str, stacks: Iterable[Stack], numbers: dict[Frame, int], *, endpoint: bool) -> _Profile:
    samples, weights = [], []
    for stack in stacks:
        first = (Frame(stack.endpoint),) if endpoint and stack.endpoint else ()
        last = (Frame(f"[{stack.kind}]"),) if stack.kind else ()
        frames = (*first, *stack.frames, *last)
        samples.append(tuple(numbers.setdefault(frame, len(numbers)) for frame in frames))
        weights.append(stack.seconds)
    return _Profile(
        type="sampled",
        name=name,
        unit="seconds",
        start_value=0.0,
        end_value=sum(weights),
        samples=samples,
        weights=weights,
    )


def decode_speedscope(data: bytes, where: str) -> Profile:
    """Return the profile in a file of speedscope's format, of whichever tool.

    Raises:
      ConfigurationError: its parts do not fit together, or it counts something else than time.
      msgspec.DecodeError: it is not of the format.
    """
    file = msgspec.json.decode(data, type=_File)
    frames = [Frame(one.name, one.file or "", _line(one.line)) for one in file.shared.frames]
    exporter = file.exporter or ""
    ours = exporter.startswith("hasten@")
    spent: dict[_Key, list[Any]] = {}
    for profile in file.profiles[:1] if ours else file.profiles:
        _add_up(profile, spent, len(frames), where)
    stacks = tuple(
        stack_of([frames[number] for number in key], seconds, count) for key, (seconds, count) in spent.items()
    )
    if not stacks:
        raise ConfigurationError(where, "has no stacks")
    engine, clock = _made_by(exporter, file.profiles[0].name if ours else "")
    longest = max(_length(profile) for profile in file.profiles)
    return Profile(
        engine=engine,
        clock=clock,
        seconds=0.0 if ours else longest,
        stacks=stacks,
        interval=_interval(file.profiles),
        notes=() if ours else tuple(_notes(file)),
    )


def _made_by(exporter: str, name: str) -> tuple[str, str]:
    """Return the engine, and the clock if it is said: `ledger wall` of ours, `py-spy@0.4.1` of others."""
    engine, _, clock = name.rpartition(" ") if name else ("", "", "")
    return engine or exporter.partition("@")[0][:40] or "speedscope", clock if clock in {"wall", "cpu"} else "wall"


def _notes(file: _File) -> Iterator[str]:
    if len(file.profiles) > 1:
        yield f"The {len(file.profiles)} threads of the file are added up."
    if any(profile.unit == "none" for profile in file.profiles):
        yield UNSAID


def _interval(profiles: Sequence[_Profile]) -> float:
    """Return the seconds between samples if all of others' are alike: ours are added up and say it no more."""
    first = profiles[0]
    weights = {weight for profile in profiles for weight in profile.weights}
    if len(weights) != 1 or first.type != "sampled":
        return 0.0
    return min(weights.pop() * _UNITS.get(first.unit, 0.0), _LONGEST)


def _length(profile: _Profile) -> float:
    return max(0.0, min(_LONGEST, (profile.end_value - profile.start_value) * _UNITS.get(profile.unit, 0.0)))


def _line(line: float | None) -> int:
    return int(line) if line is not None and 0 < line < 1e9 else 0


# ---- adding up


def _add_up(profile: _Profile, spent: dict[_Key, list[Any]], frames: int, where: str) -> None:
    unit = _UNITS.get(profile.unit)
    if unit is None:
        raise ConfigurationError(where, f"counts {profile.unit[:20]} and not time")
    pairs = _sampled_pairs(profile, where) if profile.type == "sampled" else _evented_pairs(profile, where)
    for key, weight in pairs:
        if not 0.0 <= weight * unit <= _LONGEST:
            raise ConfigurationError(where, f"a stack of {weight:g} {profile.unit} is not possible")
        if key and (min(key) < 0 or max(key) >= frames):
            raise ConfigurationError(where, "a frame is not in it", "the file is damaged")
        one = spent.setdefault(key, [0.0, 0])
        one[0] = min(one[0] + weight * unit, _LONGEST)
        one[1] += 1


def _sampled_pairs(profile: _Profile, where: str) -> Iterator[tuple[_Key, float]]:
    if len(profile.samples) != len(profile.weights):
        raise ConfigurationError(where, f"{len(profile.samples)} samples have {len(profile.weights)} weights")
    return zip(profile.samples, profile.weights, strict=True)


def _evented_pairs(profile: _Profile, where: str) -> Iterator[tuple[_Key, float]]:
    open_frames: list[int] = []
    last = profile.start_value
    told = 0
    for event in profile.events:
        if event.at > last and open_frames:
            yield tuple(open_frames), event.at - last
            told += len(open_frames)
            if told > _MOST_FRAMES:
                raise ConfigurationError(where, "has too many stacks, and too deep ones")
        last = max(last, event.at)
        if event.type == "O":
            open_frames.append(event.frame)
        elif not open_frames or open_frames.pop() != event.frame:
            raise ConfigurationError(where, "a frame ends that was not the innermost", "the file is damaged")
