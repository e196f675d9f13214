"""Folded stacks: one line each, `outermost;...;innermost weight`, as flamegraph.pl, speedscope and py-spy know them.

Ours have the endpoint in front where it is known (`GET /orders`) and the kind of time at the end (`[waiting]`); frames
are written as py-spy writes them, `Basket.load (shop/basket.py:12)`. A `;` or a line's end within a name is `%3B`,
`%0A`, `%0D`. Weights are microseconds where stacks have a kind, as the ledger's have, and samples where an engine
samples only.

Source: https://www.brendangregg.com/FlameGraphs/cpuflamegraphs.html, Brendan Gregg; `py-spy record --format raw`.
"""

import re
from collections.abc import Iterable, Sequence

from hasten._core.errors import ConfigurationError
from hasten.ledger import Kind
from hasten.profiling._functions import is_sampled
from hasten.profiling._profile import Frame, Profile, Stack

SAMPLE = 0.01
"""Seconds that a sample counts where a file does not say it: py-spy takes 100 a second."""
UNSAID = "The file does not say how long a sample lasts: each is taken as 10 ms."
_MICROSECOND = 1e-6
_LARGEST = 10**15
_LINE = re.compile(r"(.+) ([0-9]{1,16})(?:\.[0-9]*)?[ \t]*")
_FRAME = re.compile(r"(.+) \(([^()]+?)(?::([0-9]{1,9}))?\)")
_ENDPOINT = re.compile(r"[A-Z]{3,10} (?:/.*|\*)|/[\w.]+/\w+")
_KINDS = {f"[{kind}]": str(kind) for kind in Kind}
_ESCAPED = {"%3B": ";", "%0A": "\n", "%0D": "\r", "%25": "%"}
_TO_ESCAPE = re.compile(r"[;\n\r]|%(?=3B|0A|0D|25)")
_TO_RESTORE = re.compile("|".join(_ESCAPED))
_ESCAPES = {plain: escape for escape, plain in _ESCAPED.items()}


def encode_folded(profile: Profile) -> bytes:
    """Return a profile's stacks, those of least weight left out where they round to nothing."""
    samples = is_sampled(profile)
    lines = []
    for stack in profile.stacks:
        weight = stack.count if samples else round(stack.seconds / _MICROSECOND)
        if weight > 0:
            lines.append(f"{';'.join(_escape(name) for name in names(stack)) or '(no frame)'} {weight}\n")
    return "".join(lines).encode()


def names(stack: Stack, *, endpoint: bool = True) -> Iterable[str]:
    """Return what stands for a stack in formats that know frames alone."""
    if endpoint and stack.endpoint:
        yield stack.endpoint
    yield from map(frame_name, stack.frames)
    if stack.kind:
        yield f"[{stack.kind}]"


def frame_name(frame: Frame) -> str:
    """Return `function (file:line)`, of which the file and the line are left out where they are not known."""
    if not frame.file:
        return frame.function
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.line else f"{frame.function} ({frame.file})"


def named_frame(name: str) -> Frame:
    """Return the frame of such a name."""
    parts = _FRAME.fullmatch(name)
    return Frame(parts[1], parts[2], int(parts[3] or 0)) if parts else Frame(name)


def stack_of(frames: Sequence[Frame], seconds: float, count: int) -> Stack:
    """Return a stack of which the first frame may be an endpoint, and the last a kind of time."""
    kind = _KINDS.get(frames[-1].function, "") if frames and not frames[-1].file else ""
    endpoint = frames[0].function if frames and not frames[0].file and _ENDPOINT.fullmatch(frames[0].function) else ""
    inner = frames[1 if endpoint else 0 : len(frames) - 1 if kind else len(frames)]
    return Stack(tuple(inner), seconds, count, endpoint, kind)


def decode_folded(data: bytes, where: str) -> Profile:
    """Return the profile in folded stacks of ours or another tool's.

    Raises:
      ConfigurationError: a line is no stack with a weight.
      UnicodeDecodeError: it is not text.
    """
    weights: dict[str, int] = {}
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("# "):
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ConfigurationError(f"{where}:{number}", f"{line[:60]!r} is no stack with a weight behind it")
        weights[parts[1]] = min(weights.get(parts[1], 0) + int(parts[2]), _LARGEST)
    if not weights:
        raise ConfigurationError(where, "has no stacks")
    return _profile(weights)


def _profile(weights: dict[str, int]) -> Profile:
    known: dict[str, Frame] = {}

    def frame(name: str) -> Frame:
        if name not in known:
            known[name] = named_frame(_restore(name))
        return known[name]

    stacks = [stack_of([frame(name) for name in line.split(";")], 0.0, weight) for line, weight in weights.items()]
    ours = any(stack.kind for stack in stacks)
    unit = _MICROSECOND if ours else SAMPLE
    timed = tuple(
        Stack(one.frames, one.count * unit, 1 if ours else one.count, one.endpoint, one.kind) for one in stacks
    )
    if ours:
        return Profile(engine="ledger", clock="wall", stacks=timed)
    return Profile(engine="folded", clock="wall", stacks=timed, interval=SAMPLE, notes=(UNSAID,))


def _escape(name: str) -> str:
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], name) or "(no name)"


def _restore(name: str) -> str:
    return _TO_RESTORE.sub(lambda found: _ESCAPED[found[0]], name)
