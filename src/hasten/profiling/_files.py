"""Profiles as files: ours (JSON, without loss), folded stacks, speedscope's, and a page to look at.

encode ─┬─ json         all that the profile says, each frame written once
        ├─ folded       _folded
        ├─ speedscope   _speedscope
        └─ html         flame: cannot be read back
decode  tells the first three apart by what is in them
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.profiling import _folded, _speedscope
from hasten.profiling._profile import Frame, Function, Profile, Requests, Stack

FORMATS = ("json", "html", "speedscope", "folded")
LARGEST = 256 * 1024 * 1024
"""Bytes of a file that is read."""
_MOST_OF_JSON = {b"[": 4_000_000, b",": 64_000_000}
_MOST_OF_FOLDED = {b"\n": 2_000_000, b";": 64_000_000}
"""Of what parts stacks and frames: a small file may say very many of them, each of which takes more room in memory."""
_FORMAT = "hasten-profile"
_VERSION = 1
_SUFFIXES = {".html": "html", ".htm": "html", ".speedscope.json": "speedscope", ".folded": "folded", ".txt": "folded"}

_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    function: str
    file: str = ""
    line: _Count = 0


class _Stack(msgspec.Struct, frozen=True, array_like=True, gc=False):
    frames: tuple[int, ...]
    seconds: _Seconds
    count: _Count = 1
    endpoint: str = ""
    kind: str = ""


class _Function(msgspec.Struct, frozen=True, array_like=True, gc=False):
    frame: int
    own: _Seconds
    total: _Seconds
    count: _Count
    endpoint: str = ""
    kind: str = ""


class _Requests(msgspec.Struct, frozen=True, array_like=True, gc=False):
    endpoint: str
    count: _Count


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """A profile as it is written; stacks and functions name their frames by number.

    Attributes:
      version: Grows when an older reader would take a file wrongly, not when fields are added.
    """

    format: str
    version: int
    engine: str
    clock: str
    service: str = ""
    started: float = 0.0
    seconds: _Seconds = 0.0
    requests: tuple[_Requests, ...] = ()
    interval: _Seconds = 0.0
    labels: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    frames: tuple[_Frame, ...] = ()
    stacks: tuple[_Stack, ...] = ()
    functions: tuple[_Function, ...] = ()


class _Opening(msgspec.Struct):
    """What tells one JSON file from another."""

    format: str = ""
    version: int = 0
    schema: str = msgspec.field(default="", name="$schema")


def encode(profile: Profile, format: str) -> bytes:  # noqa: A002 - the word for it
    """Return the profile as a file of one of FORMATS.

    Raises:
      ConfigurationError: the format is not known, or needs stacks, of which the profile has none.
    """
    if format not in FORMATS:
        raise ConfigurationError("format", f"{format!r} is none", f"there is {', '.join(FORMATS)}")
    if format in {"folded", "speedscope"} and profile.functions and not profile.stacks:
        remedy = "take json, html or the table; ledger and py-spy know stacks"
        raise ConfigurationError(format, f"{profile.engine} knows functions and no stacks", remedy)
    try:
        return _encoded(profile, format)
    except UnicodeEncodeError:  # a file's name that is not UTF-8
        return _encoded(_as_text(profile), format)


def _encoded(profile: Profile, format: str) -> bytes:  # noqa: A002 - as above
    if format == "json":
        return _encode_ours(profile)
    if format == "folded":
        return _folded.encode_folded(profile)
    if format == "speedscope":
        return _speedscope.encode_speedscope(profile)
    # Imported late: the page's parts are for those who look at one.
    from hasten.profiling.flame import flame_page

    return flame_page(profile).encode()


def _as_text(value: Any) -> Any:
    """Return a profile, or a part of one, in which characters that UTF-8 does not have are question marks."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, tuple):
        return tuple(map(_as_text, value))
    if isinstance(value, dict):
        return {_as_text(name): _as_text(one) for name, one in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(**{name: _as_text(getattr(value, name)) for name in value.__struct_fields__})
    return value


def decode(data: bytes, where: str) -> Profile:
    """Return the profile in a file of ours, of speedscope or of folded stacks, whichever it is.

    Args:
      where: What the file is called, for messages.
    Raises:
      ConfigurationError: it is none of them, is damaged, or was written by a later hasten.
    """
    if len(data) > LARGEST:
        raise ConfigurationError(where, f"larger than {LARGEST >> 20} MiB", "profile for a shorter time")
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise ConfigurationError(where, "is empty")
    if start[:9].lower().startswith((b"<!doctype", b"<html")):
        raise ConfigurationError(where, "is a page to look at", "give the JSON file of the same profile")
    folded = not start.startswith((b"{", b"["))
    for part, most in (_MOST_OF_FOLDED if folded else _MOST_OF_JSON).items():
        if data.count(part) > most:
            raise ConfigurationError(where, "has too many stacks or frames", "profile for a shorter time")
    with _told(where):
        if folded:
            return _folded.decode_folded(data, where)
        opening = msgspec.json.decode(data, type=_Opening)
        if opening.format == _FORMAT:
            return _decode_ours(data, where, opening.version)
        if "speedscope" in opening.schema:
            return _speedscope.decode_speedscope(data, where)
    raise ConfigurationError(where, "is JSON, but no profile of hasten or speedscope")


def read_profile(path: Path) -> Profile:
    """Return the profile in a file, at most LARGEST bytes of it.

    Raises:
      ConfigurationError: there is no such file, or no profile in it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror or error}") from None
    return decode(data, str(path))


def write_profile(profile: Profile, path: Path, format: str = "") -> None:  # noqa: A002 - the word for it
    """Write a profile, whole or not at all.

    Args:
      format: One of FORMATS; by default what the file's name ends with says it: `.html`, `.speedscope.json`, `.folded`
        and `.txt`, else JSON.
    Raises:
      ConfigurationError: the profile cannot be written so, or there.
    """
    data = encode(profile, format or format_of(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_bytes(data)
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be written: {error.strerror or error}") from None


def format_of(path: Path) -> str:
    """Return the format that a file's name asks for."""
    name = path.name.lower()
    return next((form for suffix, form in _SUFFIXES.items() if name.endswith(suffix)), "json")


# ---- ours


def _encode_ours(profile: Profile) -> bytes:
    numbers: dict[Frame, int] = {}

    def number(frame: Frame) -> int:
        return numbers.setdefault(frame, len(numbers))

    stacks = tuple(
        _Stack(tuple(map(number, one.frames)), one.seconds, one.count, one.endpoint, one.kind) for one in profile.stacks
    )
    functions = tuple(
        _Function(number(one.frame), one.own, one.total, one.count, one.endpoint, one.kind) for one in profile.functions
    )
    file = _File(
        format=_FORMAT,
        version=_VERSION,
        engine=profile.engine,
        clock=profile.clock,
        service=profile.service,
        started=profile.started,
        seconds=profile.seconds,
        requests=tuple(_Requests(one.endpoint, one.count) for one in profile.requests),
        interval=profile.interval,
        labels=profile.labels,
        notes=profile.notes,
        frames=tuple(_Frame(one.function, one.file, one.line) for one in numbers),
        stacks=stacks,
        functions=functions,
    )
    return msgspec.json.encode(file) + b"\n"


def _decode_ours(data: bytes, where: str, version: int) -> Profile:
    if not 1 <= version <= _VERSION:
        raise ConfigurationError(where, f"is a profile of version {version}", "read it with a later hasten")
    file = msgspec.json.decode(data, type=_File)
    frames = [Frame(one.function, one.file, one.line) for one in file.frames]

    def frame(number: int) -> Frame:
        if not 0 <= number < len(frames):
            raise ConfigurationError(where, f"frame {number} is not in it", "the file is damaged")
        return frames[number]

    return Profile(
        engine=file.engine,
        clock=file.clock,
        service=file.service,
        started=file.started,
        seconds=file.seconds,
        requests=tuple(Requests(one.endpoint, one.count) for one in file.requests),
        stacks=tuple(
            Stack(tuple(map(frame, one.frames)), one.seconds, one.count, one.endpoint, one.kind) for one in file.stacks
        ),
        functions=tuple(
            Function(frame(one.frame), one.own, one.total, one.count, one.endpoint, one.kind) for one in file.functions
        ),
        interval=file.interval,
        labels=file.labels,
        notes=file.notes,
    )


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Tell what is wrong with a file's data in one line."""
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:200]
        remedy = "the file is damaged or of another kind"
        raise ConfigurationError(where, f"is no profile: {problem}", remedy) from None
    except RecursionError:
        raise ConfigurationError(where, "is no profile: nested too deeply") from None
