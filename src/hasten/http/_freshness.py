"""Which responses may be kept, and for how long they live.

The response cache of an app is a shared one, and has rules; the client's is a private one, which has none.

Source: RFC 9111 sections 3, 4.2 and 5.2.2; RFC 5861 for what is stale.
"""

from dataclasses import dataclass

from hasten.http._cache_control import Directives, parse_cache_control
from hasten.http._fields import Headers, http_date, members, values, whole_seconds
from hasten.http._rules import Rule

_UNDERSTOOD = frozenset(
    (200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 421, 451, 500, 501, 502, 503, 504)
)
"""Statuses whose rules for caching are known here: those of RFC 9110 without partial content (section 3.3)."""
FAILED = frozenset((500, 502, 503, 504))
"""Statuses in whose place something stale may be served (RFC 5861 section 4)."""
_ENDLESS = (b"text/event-stream", b"multipart/x-mixed-replace")
"""Media types of responses that never are whole: who waited for one would wait for ever."""
# RFC 9111 section 3.1, and what is made anew for each answer.
_NOT_KEPT = frozenset(
    b"age connection keep-alive proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection te "
    b"trailer transfer-encoding upgrade".split()
)
_SHARED_LIFETIME, _PRIVATE_LIFETIME = ("s-maxage", "max-age"), ("max-age",)
_PROHIBIT_STALE = ("must-revalidate", "proxy-revalidate", "s-maxage")
_SHARED_THOUGH_AUTHORIZED = ("public", "must-revalidate", "s-maxage")


class Head:
    """The status and fields of a response, names in lower case.

    Attributes:
      directives: What its Cache-Control says.
      vary: The request fields that it depends on; `*` among them: on more than the request's fields.
    """

    __slots__ = ("directives", "headers", "status", "vary")

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = [(bytes(name).lower(), bytes(value)) for name, value in headers]
        self.directives: Directives = parse_cache_control(values(self.headers, b"cache-control"))
        self.vary = frozenset(members(values(self.headers, b"vary")))


@dataclass(frozen=True, slots=True)
class Life:
    """How long a response lives; seconds.

    Attributes:
      lifetime: Fresh until its age is that much.
      stale, stale_if_error: Served for so long after, while it is renewed; if the app fails.
      explicit: The response said so itself.
    """

    lifetime: float
    stale: float
    stale_if_error: float
    explicit: bool


def life_of(head: Head, rule: Rule, now: float) -> Life | None:
    """Return how long a response lives (section 4.2.1); None if neither it nor the rule says so.

    Args:
      now: When it came, by `time.time()`.
    """
    by_rule = rule.ttl if head.status in rule.statuses else None
    if rule.override and by_rule is not None:
        return Life(by_rule, rule.stale, rule.stale_if_error, explicit=False)
    lifetime = _explicit_lifetime(head, now, _SHARED_LIFETIME)
    if lifetime is None and by_rule is None:
        return None
    directives, stale, on_error = head.directives, rule.stale, rule.stale_if_error
    if any(name in directives for name in _PROHIBIT_STALE):  # section 4.2.4
        stale = on_error = 0.0
    else:
        stale = _given(directives.seconds("stale-while-revalidate"), stale)
        on_error = _given(directives.seconds("stale-if-error"), on_error)
    if lifetime is None:
        return Life(_given(by_rule, 0.0), stale, on_error, explicit=False)
    return Life(lifetime, stale, on_error, explicit=True)


def may_keep(head: Head, life: Life | None, rule: Rule, *, authorized: bool, cookies: bool) -> bool:
    """Whether a shared cache may keep a response to GET (section 3).

    Args:
      authorized, cookies: The request had Authorization; a Cookie that is no part of the key.
    """
    directives = head.directives
    if life is None or not _is_storable(head):
        return False
    if directives.bare("private") or (directives.bare("no-cache") and not rule.override):
        return False
    return (not authorized or for_authorized(head)) and (not cookies or for_cookies(head, life, rule))


def private_life(head: Head, now: float) -> Life:
    """Return how long a response lives in a private cache, for which `s-maxage` and `proxy-revalidate` are not meant.

    One that does not say, or is not to be used without validation, is stale at once.
    """
    directives = head.directives
    lifetime = _explicit_lifetime(head, now, _PRIVATE_LIFETIME)
    fresh = 0.0 if lifetime is None or directives.bare("no-cache") else lifetime
    if needs_validation(head):
        return Life(fresh, 0.0, 0.0, explicit=lifetime is not None)
    stale, on_error = directives.seconds("stale-while-revalidate"), directives.seconds("stale-if-error")
    return Life(fresh, _given(stale, 0.0), _given(on_error, 0.0), explicit=lifetime is not None)


def needs_validation(head: Head) -> bool:
    """Whether a private cache must not use a response that is stale, whoever allows it (section 4.2.4)."""
    return head.directives.bare("no-cache") or "must-revalidate" in head.directives


def may_keep_privately(head: Head, life: Life, *, credentials: bool) -> bool:
    """Whether a private cache, whose owner calls for many users, may keep a response to GET.

    Args:
      credentials: The request had Authorization or a Cookie: the response is somebody's, if it does not say that it is
        for all, as to a shared cache (section 3.5).
    """
    if not _is_storable(head) or not (life.explicit or head.status == 200):
        return False
    return not credentials or for_credentials(head)


def for_credentials(head: Head) -> bool:
    """Whether a response that a private cache keeps is for requests with Authorization or a Cookie, too."""
    return for_authorized(head) and not head.directives.bare("private")


def _is_storable(head: Head) -> bool:
    """Whether any cache may keep a response to GET, as far as the response alone says."""
    directives = head.directives
    if head.status < 200 or head.status in {206, 304} or b"*" in head.vary:
        return False
    understood = head.status in _UNDERSTOOD
    if "must-understand" in directives and not understood:
        return False
    if "no-store" in directives and not ("must-understand" in directives and understood):  # section 5.2.2.3
        return False
    if any(kind.strip().lower().startswith(_ENDLESS) for kind in values(head.headers, b"content-type")):
        return False
    return not values(head.headers, b"set-cookie") or b"set-cookie" in private_fields(directives)


def is_whole(head: Head, size: int) -> bool:
    """Whether a body of so many bytes is what Content-Length announced (RFC 9111 section 3.3)."""
    lengths = set(values(head.headers, b"content-length"))
    return not lengths or lengths == {b"%d" % size}


def for_authorized(head: Head) -> bool:
    """Whether a response is for requests with Authorization, too (section 3.5)."""
    return any(name in head.directives for name in _SHARED_THOUGH_AUTHORIZED)


def for_cookies(head: Head, life: Life, rule: Rule) -> bool:
    """Whether a response is for requests with a Cookie, too: the rule says so, or the response itself."""
    return rule.cookies or life.explicit or "public" in head.directives


def private_fields(directives: Directives) -> frozenset[bytes]:
    """Return the fields that are not for everybody, or not without validation (sections 5.2.2.4 and 5.2.2.7)."""
    return directives.fields("private") | directives.fields("no-cache")


def kept_fields(head: Head, hidden: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the fields that are kept: without those of one hop, and `hidden` (section 3.1)."""
    dropped = _NOT_KEPT | hidden | frozenset(members(values(head.headers, b"connection")))
    return [pair for pair in head.headers if pair[0] not in dropped]


def birth(head: Head, began: float, now: float) -> float:
    """Return when a response's age was 0 (section 4.2.3), by `time.time()`.

    Args:
      began, now: When the request was made, and when the response came.
    """
    age = next((whole_seconds(line.split(b",")[0]) for line in values(head.headers, b"age")), None)
    born = began - (age or 0)
    date = _date(head)
    return born if date is None or date > int(now) else min(born, date + now % 1.0)  # dates are whole seconds


def _explicit_lifetime(head: Head, now: float, names: tuple[str, ...]) -> float | None:
    for name in names:
        seconds = head.directives.seconds(name)
        if seconds is not None:
            return float(seconds)
    expires = set(values(head.headers, b"expires"))
    if not expires:
        return None
    end = http_date(expires.pop()) if len(expires) == 1 else None
    if end is None:  # section 5.3: it has expired
        return 0.0
    date = _date(head)
    return max(end - (int(now) if date is None else date), 0.0)


def _date(head: Head) -> float | None:
    return next((http_date(line) for line in values(head.headers, b"date")), None)


def _given(choice: float | None, otherwise: float) -> float:
    return otherwise if choice is None else float(choice)
