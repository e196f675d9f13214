"""Profiles of processes that have an admin port: asked for, waited for, fetched.

    POST /profile ── 202, where it will be ──▶ GET /profiles/ID until it is there ──▶ Profile

With the standard library alone. Blocks: it is for commands and threads without an event loop.
"""

import http.client
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.profiling._files import LARGEST, decode
from hasten.profiling._options import LONGEST, CaptureOptions
from hasten.profiling._profile import Profile
from hasten.profiling._store import Entry

Announce = Callable[[str], None]
_TIMEOUT = 10.0  # seconds for one answer: the app may hold the interpreter, or py-spy the whole process
_PATIENCE = 60.0  # seconds that a profile may come later than it was said: the ledger's stacks take some to be made
_POLL = 0.25  # seconds
_ALWAYS = ("engine", "seconds", "clock")
_NO_PORT = ("no admin port of hasten that makes profiles answers there", "its address is in the service's log")


class _Begun(msgspec.Struct):
    """What POST /profile says."""

    id: str
    at: str
    ready_in: float = 0.0


class _Said(msgspec.Struct):
    """What an answer that is not the profile may say."""

    error: str = ""
    at: str = ""
    ready_in: float = 0.0
    retry_after: float = 0.0


class _Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def said(self) -> _Said:
        """What it says as JSON, or as a line of text."""
        try:
            return msgspec.json.decode(self.body, type=_Said)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _Said(error=" ".join(self.body[:500].decode(errors="replace").split()))


def fetch_profile(
    url: str,
    options: CaptureOptions,
    *,
    token: str = "",
    announce: Announce = lambda _: None,
    over: Callable[[], None] = lambda: None,
) -> Profile:
    """Have a process make a profile of itself, wait for it, and return it.

    Args:
      url: Of its admin port, `http://127.0.0.1:9464`.
      announce: Told what is going on, in a few words, several times a second; what it raises ends the waiting.
      over: Called when nothing is captured any more: then the profile is made of it.
    Raises:
      ConfigurationError: the process does not take the options.
      TargetUnreachable: nothing answers there, or no admin port; it makes another profile now, has just made one, or
        cannot make this one: with its reason.
    """
    begun = _begin(url, options, token)
    ready = time.monotonic() + min(begun.ready_in, LONGEST)
    while (left := ready - time.monotonic()) > 0:
        announce(f"{options.engine} looks on, {left:.0f} s left")
        time.sleep(min(_POLL, left))
    over()
    while time.monotonic() < ready + _PATIENCE:
        if (profile := _get(url, begun.at, token)) is not None:
            return profile
        announce("waiting for the profile")
        time.sleep(_POLL)
    raise TargetUnreachable(url, f"the profile is not there {_PATIENCE:g} s after it should have been")


def list_profiles(url: str, *, token: str = "") -> list[Entry]:
    """Return what profiles a process has, as it says.

    Raises:
      TargetUnreachable: nothing answers there, or no admin port.
    """
    answer = _ask(url, "GET", "/profiles", token)
    if answer.status != http.client.OK:
        raise TargetUnreachable(url, *_refused(answer))
    try:
        return msgspec.json.decode(answer.body, type=list[Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise TargetUnreachable(url, *_NO_PORT) from None


def get_profile(url: str, id: str, *, token: str = "") -> Profile:  # noqa: A002 - what everybody calls it
    """Return a profile that a process has.

    Raises:
      ConfigurationError: there is none of this id, or it is not finished.
      TargetUnreachable: nothing answers there, or no admin port; or making the profile has failed.
    """
    profile = _get(url, f"/profiles/{quote(id, safe='')}", token)
    if profile is None:
        raise ConfigurationError(id, "is not finished", "ask again in a moment")
    return profile


def _begin(url: str, options: CaptureOptions, token: str) -> _Begun:
    answer = _ask(url, "POST", f"/profile?{_query(options)}", token)
    if answer.status == http.client.BAD_REQUEST:
        raise ConfigurationError(url, answer.said.error)
    try:
        if answer.status == http.client.ACCEPTED:
            return msgspec.json.decode(answer.body, type=_Begun)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise TargetUnreachable(url, *_NO_PORT) from None
    raise TargetUnreachable(url, *_refused(answer))


def _get(url: str, path: str, token: str) -> Profile | None:
    """Return a profile; None while it is made."""
    answer = _ask(url, "GET", path, token)
    if answer.status == http.client.ACCEPTED:
        return None
    if answer.status == http.client.NOT_FOUND:
        raise ConfigurationError(path.rpartition("/")[2], f"no such profile at {url}")
    if answer.status == http.client.INTERNAL_SERVER_ERROR:
        raise TargetUnreachable(url, answer.said.error or "it could not make the profile")
    if answer.status != http.client.OK:
        raise TargetUnreachable(url, *_refused(answer))
    return decode(answer.body, f"{url}{path}")


def _query(options: CaptureOptions) -> str:
    usual = CaptureOptions()
    names = [name for name in options.__struct_fields__ if getattr(options, name) != getattr(usual, name)]
    values = msgspec.to_builtins(options)
    return urlencode({name: values[name] for name in dict.fromkeys((*_ALWAYS, *names))})


def _refused(answer: _Answer) -> tuple[str, str]:
    said = answer.said
    if answer.status == http.client.UNAUTHORIZED:
        return "it wants a token", "give --token, or set HASTEN_ADMIN_TOKEN"
    if answer.status == http.client.CONFLICT:
        return "it makes another profile now", f"try again in {said.retry_after:.0f} s" if said.retry_after else ""
    if answer.status == http.client.TOO_MANY_REQUESTS:
        return "it has just made a profile", f"try again in {max(said.retry_after, 1.0):.0f} s"
    if answer.status in (http.client.NOT_FOUND, http.client.METHOD_NOT_ALLOWED, http.client.OK):
        return _NO_PORT
    return f"it answers {answer.status}", ""


def _ask(url: str, method: str, path: str, token: str) -> _Answer:
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request(method, f"{parts.path.rstrip('/')}{path}", headers=headers)
        answer = connection.getresponse()
        return _Answer(answer.status, answer.read(LARGEST + 1))  # what is longer, decode refuses
    except TimeoutError:
        raise TargetUnreachable(url, f"no answer for {_TIMEOUT:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise TargetUnreachable(url, reason, "is a service with hasten.install running there?") from error
    finally:
        connection.close()
