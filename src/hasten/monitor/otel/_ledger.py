"""Where a request's time went, as events of its span: one for each line of its account."""

from opentelemetry.sdk.trace import Event

from hasten.ledger import Account, Line

_MOST = 32
"""Lines that become events, the largest; what is less is not worth the bytes."""


def events_of(account: Account, offset: int, earliest: int) -> tuple[Event, ...]:
    """Return an account's lines as events, each at the time of its first stretch.

    Args:
      offset: Unix time less `time.monotonic()`, nanoseconds.
      earliest: When the span began, Unix time in nanoseconds: the account begins a little before it.
    """
    began = _first_stretches(account)
    events = []
    for at, line in enumerate(account.lines[:_MOST]):
        when = int(began.get(at, account.started) * 1e9) + offset
        events.append(Event(_name(line), _attributes(line), max(when, earliest)))
    return tuple(events)


def _first_stretches(account: Account) -> dict[int, float]:
    """Return when each line's first stretch began, by the line's index and `time.monotonic()`."""
    began: dict[int, float] = {}
    now = account.started
    for line, seconds in account.timeline:
        began.setdefault(line, now)
        now += seconds
    return began


def _name(line: Line) -> str:
    site = line.site
    return f"{line.kind.value} {site.function or site.library or site.leaf}".rstrip()


def _attributes(line: Line) -> dict[str, str | float | int]:
    site = line.site
    attributes: dict[str, str | float | int] = {
        "hasten.kind": line.kind.value,
        "hasten.seconds": line.seconds,
        "hasten.count": line.count,
    }
    if site.file:
        attributes["code.file.path"] = site.file
        attributes["code.line.number"] = site.line
        attributes["code.function.name"] = site.function
    if site.library or site.leaf:
        attributes["hasten.library"] = site.library or site.leaf
    return attributes
