"""The last profiles of a service in a folder: two files for each, whose names sort by time.

    20261126T203209123-4f2a1c.json           the profile, as any other that is written to a file
    20261126T203209123-4f2a1c.entry.json     what it is, an `Entry`: written last, removed first

Both are written beside their place and renamed, so nobody reads half of one, and there is no index that processes which
share the folder would have to agree upon. Whatever else lies there, damaged or foreign, is neither read nor removed.
"""

import logging
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from hasten.profiling._profile import Profile

State = Literal["running", "done", "failed"]
Trigger = Literal["asked", "alert", "hold", "p99"]
KEPT = 20
MOST_BYTES = 64 * 1024 * 1024
"""Of all profiles in a folder."""
LARGEST = 16 * 1024 * 1024
"""Bytes of one."""
MOST_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of all that are kept in memory, where the folder cannot be written."""
_LARGEST_ENTRY = 64 * 1024
_ID = r"\d{8}T\d{9}-[0-9a-f]{6}"
_IS_ID = re.compile(_ID)
_OF_ENTRY = re.compile(rf"({_ID})\.entry\.json")
_QUANTILE = re.compile(r"p[\d.]+")
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe's name in the folder would hang a reader
_PATIENCE = 8
_logger = logging.getLogger("hasten.profiling")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a capture without its profile.

    Attributes:
      id: Sorts by the time of its start.
      engine, clock: As of `Profile`.
      seconds: How long it takes, or took.
      started: Unix seconds.
      state: `running`, `done` or `failed`.
      reason: Why it failed; empty otherwise.
      trigger: `asked` for by somebody; by an `alert`, a `hold` of the loop, or a `p99` over its objective.
      labels: Of the alert, or the figures of what was seen.
      size_bytes: Of the profile as JSON; 0 while there is none.
      service, worker: Whose it is.
    """

    id: str
    engine: str
    clock: str = "wall"
    seconds: float = 0.0
    started: float = 0.0
    state: State = "done"
    reason: str = ""
    trigger: Trigger = "asked"
    labels: dict[str, str] = {}
    size_bytes: int = 0
    service: str = ""
    worker: str = "0"

    @property
    def about(self) -> str:
        """Why it was made, or has failed, in a few words; parts of it may be of others."""
        if self.state == "failed":
            return self.reason
        said = self.labels.get
        if self.trigger == "alert":
            return f"{said('alertname', 'alert')}: {said('summary', '')}".removesuffix(": ")
        if self.trigger == "hold":
            return f"loop held for {said('held', 'long')} by {said('site', 'what was not seen')}"
        if self.trigger == "p99":
            quantile = next(
                (f"{name} {self.labels[name]}" for name in self.labels if _QUANTILE.fullmatch(name)), "late"
            )
            return f"{said('of', '')}: {quantile}, promised {said('objective', '')}"
        return "asked for"


def new_id(at: float) -> str:
    """Return the id of a capture that starts at a Unix time: two of one millisecond differ, too."""
    milliseconds = int(at * 1000)
    whole = time.strftime("%Y%m%dT%H%M%S", time.gmtime(milliseconds // 1000))
    return f"{whole}{milliseconds % 1000:03d}-{secrets.token_hex(3)}"


def is_id(text: str) -> bool:
    """Whether a text is an id, and so no path to anywhere."""
    return _IS_ID.fullmatch(text) is not None


def state_folder() -> Path | None:
    """Return the folder of all services: $XDG_STATE_HOME/hasten/profiles, by default in ~/.local/state.

    None where there is no home.

    Source: XDG Base Directory Specification 0.8; a relative $XDG_STATE_HOME is to be ignored.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        state = given if given.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return state / "hasten" / "profiles"


def default_folder(service: str) -> Path | None:
    """Return the folder of a service; None where there is no home."""
    state = state_folder()
    name = re.sub(r"[^A-Za-z0-9._-]", "_", service)[:64].lstrip(".") or "app"
    return None if state is None else state / name


class ProfileStore:
    """Keeps the last profiles; where the folder cannot be written, in memory, with one warning.

    Blocks, and may be called by several threads, one after the other.

    Args:
      folder: It is made when something is kept; None keeps in memory.
      keep: At most so many.
      most_bytes: Of all of them.
      largest: Bytes of one: what is larger loses its smallest stacks, and says so in its notes.
    """

    def __init__(
        self, folder: Path | None, *, keep: int = KEPT, most_bytes: int = MOST_BYTES, largest: int = LARGEST
    ) -> None:
        self.folder = folder
        self._keep = keep
        self._most_bytes = most_bytes
        self._largest = largest
        self._in_memory: dict[str, tuple[Entry, bytes]] = {}
        self._warned = False

    def entries(self) -> tuple[Entry, ...]:
        """Return what there is, the newest first."""
        found = {entry.id: entry for entry, _ in self._in_memory.values()}
        found |= {entry.id: entry for entry, _ in self._on_disk()}
        return tuple([found[each] for each in sorted(found, reverse=True)])

    def read(self, id: str) -> bytes | None:  # noqa: A002 - what everybody calls it
        """Return a profile as JSON; None where there is none."""
        if not is_id(id):
            return None
        if id in self._in_memory:
            return self._in_memory[id][1]
        if self.folder is None:
            return None
        with suppress(OSError):
            return _read(self.folder / f"{id}.json", max(self._largest, LARGEST))
        return None

    def save(self, entry: Entry, profile: Profile) -> Entry:
        """Keep a profile, and no older ones than there may be; return its entry with its size.

        Raises:
          ValueError: it is too large even without any stack.
        """
        data = _encoded(profile, self._largest)
        done = msgspec.structs.replace(entry, state="done", size_bytes=len(data))
        try:
            if self.folder is None:
                raise FileNotFoundError(0, "there is no home")
            self._write(self.folder, done, data)
        except OSError as error:
            self._warn(error)
            self._in_memory[done.id] = done, data
            self._forget_in_memory()
        return done

    # ---- the folder

    def _write(self, folder: Path, entry: Entry, data: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(folder / f"{entry.id}.json", data)
        _replace(folder / f"{entry.id}.entry.json", msgspec.json.encode(entry))
        self._remove_old(folder, entry.id)

    def _on_disk(self) -> list[tuple[Entry, int]]:
        """Return the entries that have a profile, and the bytes of their files."""
        found: list[tuple[Entry, int]] = []
        if self.folder is not None:
            with suppress(OSError):
                for place in self.folder.iterdir():
                    if matched := _OF_ENTRY.fullmatch(place.name):
                        found += _entry_of(self.folder, matched[1])
        return found

    def _remove_old(self, folder: Path, spared: str) -> None:
        """Remove the oldest until number and bytes are within their bounds; another process may do so, too."""
        found = sorted(self._on_disk(), key=lambda one: one[0].id)
        size_bytes = sum(size for _, size in found)
        count = len(found)
        for entry, size in found:
            if count <= self._keep and size_bytes <= self._most_bytes:
                return
            if entry.id != spared:
                (folder / f"{entry.id}.entry.json").unlink(missing_ok=True)
                (folder / f"{entry.id}.json").unlink(missing_ok=True)
                count -= 1
                size_bytes -= size

    # ---- memory

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            where = self.folder or "the folder of profiles"
            reason = error.strerror or str(error)
            _logger.warning("%s cannot be written (%s); profiles are kept in memory", where, reason)
        self._warned = True

    def _forget_in_memory(self) -> None:
        kept = self._in_memory
        most_bytes = min(self._most_bytes, MOST_IN_MEMORY)
        while len(kept) > 1 and (len(kept) > self._keep or sum(len(data) for _, data in kept.values()) > most_bytes):
            del kept[next(iter(kept))]


# ---- files


def _entry_of(folder: Path, id: str) -> list[tuple[Entry, int]]:  # noqa: A002
    """Return the entry of an id with the bytes of its files; none where one is damaged, or not there."""
    try:
        data = _read(folder / f"{id}.entry.json", _LARGEST_ENTRY)
        entry = msgspec.json.decode(data, type=Entry)
        profile = (folder / f"{id}.json").lstat()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    if entry.id != id or entry.state != "done" or not stat.S_ISREG(profile.st_mode):
        return []
    return [(entry, len(data) + profile.st_size)]


def _read(place: Path, most_bytes: int) -> bytes:
    """Return what is in a file.

    Raises:
      OSError: it cannot be read, is no plain file, or is larger.
    """
    with os.fdopen(os.open(place, os.O_RDONLY | _SAFELY), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "is no file")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(0, f"has more than {most_bytes} bytes")
    return data


def _replace(place: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    half = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _SAFELY, 0o600), "wb") as file:
            file.write(data)
        half.replace(place)
    except OSError:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


# ---- size


def _encoded(profile: Profile, largest: int) -> bytes:
    """Return a profile as JSON that is not too large: with its largest stacks, or functions, alone.

    Raises:
      ValueError: it is too large without any.
    """
    from hasten.profiling._files import encode  # all formats, for who has a profile

    data = encode(profile, "json")
    share = 1.0
    for _ in range(_PATIENCE):
        if len(data) <= largest:
            return data
        share *= 0.9 * largest / len(data)
        data = encode(_largest_of(profile, share), "json")
    data = encode(_largest_of(profile, 0.0), "json")
    if len(data) > largest:
        raise ValueError(f"the profile has {len(data)} bytes without any stack")
    return data


def _largest_of(profile: Profile, share: float) -> Profile:
    """Return a profile with this share of its stacks and functions: those with the most seconds."""
    stacks = sorted(profile.stacks, key=lambda one: -one.seconds)[: int(share * len(profile.stacks))]
    functions = sorted(profile.functions, key=lambda one: -one.own)[: int(share * len(profile.functions))]
    lost = len(profile.stacks) - len(stacks) + len(profile.functions) - len(functions)
    kept = msgspec.structs.replace(profile, stacks=tuple(stacks), functions=tuple(functions))
    seconds = profile.spent - kept.spent
    what = "stacks" if profile.stacks else "functions"
    note = f"The profile was too large: its {lost} smallest {what} were left out, {seconds:.3g} s together."
    return msgspec.structs.replace(kept, notes=(*profile.notes, note))
