"""RFC 9111 and RFC 5861 for a private cache as a table: what is asked twice, and what becomes of the second request.

FRESH and STALE: it is answered by what is kept, and the service not asked; HOLDS: the service is asked whether that
holds, says so (304), and the answer is the kept one; NEW: the answer is the service's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from tests.http.case import date

Fields = Sequence[tuple[str, str]]
FRESH, STALE, HOLDS, NEW = "fresh", "stale", "holds", "new"


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
      section: Of RFC 9111, or of RFC 5861 where it begins with 5861.
      reply, status: What the service answers first; `then`, `then_status` later. It answers 304 where its own ETag is
        asked for, or its Last-Modified, with the fields `not_modified`.
      first, second: Request fields; between them so many seconds `passed`.
      fields: That the second answer has.
      absent: Fields that it has not.
    """

    name: str
    section: str
    expected: str = FRESH
    _: KW_ONLY
    reply: Fields = (("cache-control", "max-age=60"),)
    status: int = 200
    then: Fields | None = None
    then_status: int | None = None
    not_modified: Fields = ()
    method: str = "GET"
    first: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, str] = field(default_factory=dict)
    second_target: str = "/page"
    passed: float = 0.0
    fields: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


def says(control: str, **more: str) -> Fields:
    """Return fields with Cache-Control."""
    return (("cache-control", control), *((name.replace("_", "-"), value) for name, value in more.items()))


TAG = {"etag": '"v1"'}
BASIC, COOKIE = {"authorization": "Basic x"}, {"cookie": "sid=alice"}

STORING = (
    Case("a fresh response is used again", "3"),
    Case("nothing says how long", "3", NEW, reply=()),
    Case("no guess from Last-Modified", "4.2.2", HOLDS, reply=(("last-modified", date(-9999)),)),
    Case("404 with a time of its own", "3", status=404),
    Case("302 with a time of its own", "3", status=302),
    Case("404 without a time", "3", NEW, reply=(("etag", '"v1"'),), status=404),
    Case("a status nobody knows", "3", status=299),
    Case("no-store", "3", NEW, reply=says("no-store, max-age=60")),
    Case("no-store, in the same field's second line", "3", NEW, reply=(*says("max-age=60"), *says("no-store"))),
    Case("must-understand, understood", "5.2.2.3", reply=says("must-understand, no-store, max-age=60")),
    Case("must-understand, not understood", "5.2.2.3", NEW, reply=says("must-understand, max-age=60"), status=299),
    Case("private is for a private cache", "5.2.2.7", reply=says("private, max-age=60")),
    Case("public says nothing of how long", "3", NEW, reply=says("public")),
    Case("a cookie is set", "3", NEW, reply=says("max-age=60", set_cookie="sid=alice")),
    Case(
        "a cookie that is not to be kept",
        "5.2.2.4",
        reply=says('max-age=60, no-cache="set-cookie"', set_cookie="sid=alice"),
        absent=("set-cookie",),
    ),
    Case("partial content", "3.3", NEW, status=206),
    Case("a stream of events", "3", NEW, reply=says("max-age=60", content_type="text/event-stream")),
    Case("Cache-Control that cannot be read", "4.2.1", NEW, reply=says('max-age=60, x="')),
    Case("no-store of the request", "5.2.1.5", NEW, first={"cache-control": "no-store"}),
    Case("no-store of the second request", "5.2.1.5", NEW, second={"cache-control": "no-store"}),
    Case("a request for a part", "3.3", NEW, second={"range": "bytes=0-1"}),
    Case("a condition of the caller's own", "4.3.1", NEW, second={"if-none-match": '"v0"'}),
    Case(
        "fields of one hop are not kept",
        "3.1",
        reply=says("max-age=60", connection="x-hop", x_hop="1", keep_alive="timeout=5", x_end="2"),
        fields={"x-end": "2"},
        absent=("connection", "x-hop", "keep-alive"),
    ),
)

KEYS = (
    Case("another query", "2", NEW, second_target="/page?a=1"),
    Case("another path", "2", NEW, second_target="/Page"),
    Case("a slash that is data", "2", NEW, second_target="/%70age"),
    Case("HEAD is not kept", "2", NEW, method="HEAD"),
)

CREDENTIALS = tuple(
    Case(f"{name}, {control}", "3.5", expected, reply=says(control), first=first, second=second)
    for name, first, second, control, expected in (
        ("Authorization", BASIC, BASIC, "max-age=60", NEW),
        ("Authorization", BASIC, BASIC, "private, max-age=60", NEW),
        ("Authorization", BASIC, BASIC, "private, must-revalidate, max-age=60", NEW),
        ("Authorization", BASIC, BASIC, "public, max-age=60", FRESH),
        ("Authorization", BASIC, BASIC, "must-revalidate, max-age=60", FRESH),
        ("Authorization", BASIC, BASIC, "s-maxage=1, max-age=60", FRESH),
        ("what Authorization got, for nobody else", BASIC, {}, "max-age=60", NEW),
        ("what Authorization got, for all", BASIC, {}, "public, max-age=60", FRESH),
        ("what nobody got, for Authorization", {}, BASIC, "max-age=60", NEW),
        ("what nobody got, for all", {}, BASIC, "public, max-age=60", FRESH),
        ("Cookie", COOKIE, COOKIE, "max-age=60", NEW),
        ("Cookie", COOKIE, COOKIE, "public, max-age=60", FRESH),
        ("what nobody got, for a Cookie", {}, COOKIE, "max-age=60", NEW),
    )
)

VARY = tuple(
    Case(name, "4.1", expected, reply=says("max-age=60", vary=vary), first=first, second=second)
    for name, vary, first, second, expected in (
        ("the same value", "accept-language", {"accept-language": "de"}, {"accept-language": "de"}, FRESH),
        ("another value", "accept-language", {"accept-language": "de"}, {"accept-language": "en"}, NEW),
        ("no value", "accept-language", {"accept-language": "de"}, {}, NEW),
        ("no value either time", "accept-language", {}, {}, FRESH),
        ("other letters", "Accept-LANGUAGE", {"accept-language": "de"}, {"Accept-Language": "de"}, FRESH),
        ("space in a list", "accept-language", {"accept-language": "de, en"}, {"accept-language": "de,en"}, FRESH),
        ("one of two fields differs", "x-a, x-b", {"x-a": "1", "x-b": "1"}, {"x-a": "1", "x-b": "2"}, NEW),
        ("both fields are the same", "x-a, x-b", {"x-a": "1", "x-b": "1"}, {"x-b": "1", "x-a": "1"}, FRESH),
        ("another field", "x-a", {"x-a": "1", "x-c": "1"}, {"x-a": "1", "x-c": "2"}, FRESH),
        ("the client's own field", "user-agent", {}, {}, FRESH),
        ("in the place of the client's own field", "user-agent", {}, {"user-agent": "me"}, NEW),
        ("what each call has of its own", "X-Request-Timeout-Ms", {}, {}, NEW),
        ("everything", "*", {}, {}, NEW),
        ("everything among others", "x-a, *", {}, {}, NEW),
    )
)

LIFETIME = tuple(
    Case(name, "4.2", expected, reply=reply, passed=passed)
    for name, reply, passed, expected in (
        ("max-age, within", says("max-age=60"), 59, FRESH),
        ("max-age, over", says("max-age=60"), 60, NEW),
        ("s-maxage is not for a private cache, longer", says("max-age=1, s-maxage=60"), 30, NEW),
        ("s-maxage is not for a private cache, shorter", says("s-maxage=1, max-age=60"), 30, FRESH),
        ("s-maxage alone", says("s-maxage=60"), 0, NEW),
        ("max-age before Expires", says("max-age=60", expires=date(-10), date=date(0)), 30, FRESH),
        ("Expires, within", (("expires", date(60)), ("date", date(0))), 59, FRESH),
        ("Expires, over", (("expires", date(60)), ("date", date(0))), 61, NEW),
        ("Expires counts from Date", (("expires", date(60)), ("date", date(-30))), 50, FRESH),
        ("Expires without Date", (("expires", date(60)),), 59, FRESH),
        ("Expires: 0", (("expires", "0"), ("date", date(0))), 0, NEW),
        ("two different max-age", says("max-age=60, max-age=90"), 0, NEW),
        ("max-age in quotes", says('max-age="60"'), 59, FRESH),
        ("a negative max-age", says("max-age=-60"), 0, NEW),
        ("max-age without a value", says("max-age"), 0, NEW),
        ("more than fits", says("max-age=99999999999999999999"), 1e9, FRESH),
        ("Age, within", says("max-age=60", age="30"), 29, FRESH),
        ("Age, over", says("max-age=60", age="30"), 30, NEW),
        ("Age is no number", says("max-age=60", age="old"), 59, FRESH),
        ("an old Date", says("max-age=60", date=date(-40)), 30, NEW),
        ("a Date that is to come", says("max-age=60", date=date(40)), 59, FRESH),
        ("immutable", says("max-age=60, immutable"), 59, FRESH),
    )
)

AGE = Case("Age is told", "5.1", reply=says("max-age=60", age="10"), passed=20, fields={"age": "30"})

REQUEST = tuple(
    Case(
        f"{asked} of {control} after {passed} s",
        "5.2.1",
        expected,
        reply=says(control, **TAG),
        passed=passed,
        second={"cache-control": asked},
    )
    for control, asked, passed, expected in (
        ("max-age=60", "no-cache", 1, HOLDS),
        ("max-age=60", "max-age=10", 10, FRESH),
        ("max-age=60", "max-age=10", 11, HOLDS),
        ("max-age=60", "max-age=0", 1, HOLDS),
        ("max-age=60", "min-fresh=10", 50, FRESH),
        ("max-age=60", "min-fresh=10", 51, HOLDS),
        ("max-age=60", "max-stale", 999, STALE),
        ("max-age=60", "max-stale=10", 70, STALE),
        ("max-age=60", "max-stale=10", 71, HOLDS),
        ("max-age=60, must-revalidate", "max-stale", 61, HOLDS),
        ("max-age=60, proxy-revalidate", "max-stale", 61, STALE),
        ("max-age=60, no-cache", "max-stale", 1, HOLDS),
        ("max-age=60", "only-if-cached", 59, FRESH),
        ("max-age=60", "x-unknown=1", 59, FRESH),
        ("max-age=60", 'max-age="', 1, NEW),
    )
)

PRAGMA = (
    Case("Pragma", "5.4", HOLDS, reply=says("max-age=60", **TAG), second={"pragma": "no-cache"}),
    Case(
        "Pragma beside Cache-Control",
        "5.4",
        reply=says("max-age=60", **TAG),
        second={"pragma": "no-cache", "cache-control": "max-age=60"},
    ),
)

VALIDATION = (
    Case("no-cache with a tag", "5.2.2.4", HOLDS, reply=says("no-cache", **TAG)),
    Case("no-cache without a validator", "5.2.2.4", NEW, reply=says("no-cache, max-age=60")),
    Case("a tag alone", "3", HOLDS, reply=(("etag", '"v1"'),)),
    Case("stale, with a tag", "4.3.1", HOLDS, reply=says("max-age=60", **TAG), passed=60),
    Case("stale, with a weak tag", "4.3.1", HOLDS, reply=says("max-age=60", etag='W/"v1"'), passed=60),
    Case("stale, with a date", "4.3.1", HOLDS, reply=says("max-age=60", last_modified=date(-9)), passed=60),
    Case("stale, with what is no tag", "4.3.1", NEW, reply=says("max-age=60", etag="v1"), passed=60),
    Case("stale, with two tags", "4.3.1", NEW, reply=(*says("max-age=60", **TAG), ("etag", '"v2"')), passed=60),
    Case("stale, with a broken date", "4.3.1", NEW, reply=says("max-age=60", last_modified="today"), passed=60),
    Case(
        "it has changed", "4.3.3", NEW, reply=says("max-age=60", **TAG), then=says("max-age=60", etag='"v2"'), passed=60
    ),
    Case(
        "a 304 brings new fields",
        "3.2",
        HOLDS,
        reply=says("max-age=60", etag='"v1"', x_a="1", x_b="1", date=date(0)),
        passed=60,
        not_modified=says("max-age=9", x_b="2", content_length="7", date=date(60)),
        fields={
            "x-a": "1",
            "x-b": "2",
            "content-length": "4",
            "date": date(60),
            "age": "0",
            "cache-control": "max-age=9",
        },
    ),
    Case(
        "a 304 of another tag",
        "4.3.4",
        NEW,
        reply=says("max-age=60", **TAG),
        passed=60,
        not_modified=(("etag", '"v2"'),),
    ),
    Case(
        "a 304 of the tag made strong",
        "4.3.4",
        HOLDS,
        reply=says("max-age=60", etag='W/"v1"'),
        passed=60,
        not_modified=(("etag", '"v1"'),),
        fields={"etag": 'W/"v1"'},
    ),
)

STALE_ONES = tuple(
    Case(name, section, expected, reply=says(f"max-age=60, {control}"), then=(), then_status=then, passed=passed)
    for name, section, control, then, passed, expected in (
        ("while it is renewed", "5861 3", "stale-while-revalidate=30", 200, 89, STALE),
        ("no longer", "5861 3", "stale-while-revalidate=30", 200, 90, NEW),
        ("must-revalidate forbids it", "4.2.4", "stale-while-revalidate=30, must-revalidate", 200, 61, NEW),
        ("no-cache forbids it", "4.2.4", "stale-while-revalidate=30, no-cache", 200, 61, NEW),
        ("a number that is none", "5861 3", "stale-while-revalidate=x", 200, 61, NEW),
        ("nothing allows it", "4.2.4", "x", 503, 61, NEW),
        ("a failure", "5861 4", "stale-if-error=30", 503, 89, STALE),
        ("404 is no failure", "5861 4", "stale-if-error=30", 404, 61, NEW),
        ("501 is no failure", "5861 4", "stale-if-error=30", 501, 61, NEW),
        ("a failure, too late", "5861 4", "stale-if-error=30", 503, 90, NEW),
        ("a failure, must-revalidate", "5861 4", "stale-if-error=30, must-revalidate", 503, 61, NEW),
    )
)

CASES = (
    *STORING,
    *KEYS,
    *CREDENTIALS,
    *VARY,
    *LIFETIME,
    AGE,
    *REQUEST,
    *PRAGMA,
    *VALIDATION,
    *STALE_ONES,
)
