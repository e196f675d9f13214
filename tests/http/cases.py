"""RFC 9111 and RFC 5861 as a table: what is asked twice, and whether the app is asked the second time."""

from hasten.http import Rule
from tests.http.case import HIT, MINUTE, NEW, STALE, STALE_RULE, Case, asks, date, says
from tests.http.site import Ask, Reply

TAGGED = says("max-age=60", etag='"v1"', last_modified=date(-1000))
SECRET = asks(authorization="Bearer alice")
CLOSED = Reply(status=503)
TWO_TAGS = [("if-none-match", '"v0"'), ("if-none-match", '"v1"')]

STORING = (
    Case("a fresh response is used again", "3"),
    Case("nothing says how long: not kept", "3", reply=Reply(), expected=NEW),
    Case("404 with a time of its own", "3", reply=Reply({"cache-control": "max-age=60"}, status=404), status=404),
    Case("302 with a time of its own", "3", reply=Reply({"cache-control": "max-age=60"}, status=302), status=302),
    Case("a status nobody knows", "3", reply=Reply({"cache-control": "max-age=60"}, status=299), status=299),
    Case("no-store", "3", reply=says("no-store, max-age=60"), expected=NEW),
    Case("private", "3", reply=says("private, max-age=60"), expected=NEW),
    Case("public says nothing of how long", "3", reply=says("public"), expected=NEW),
    Case("a cookie is set", "3", reply=says("max-age=60", set_cookie="sid=alice"), expected=NEW),
    Case("partial content", "3.3", reply=Reply({"cache-control": "max-age=60"}, status=206), status=206, expected=NEW),
    Case("a body shorter than announced", "3.3", reply=says("max-age=60", content_length="9"), expected=NEW),
    Case("a request for a part", "3.3", second=asks(range="bytes=0-1"), expected=NEW),
    Case(
        "fields of one hop are not kept",
        "3.1",
        reply=says("max-age=60", connection="x-hop", x_hop="1", keep_alive="timeout=5", x_end="2"),
        fields={"x-end": "2"},
        absent=("connection", "x-hop", "keep-alive"),
    ),
    Case("Authorization", "3.5", first=SECRET, second=SECRET, expected=NEW),
    Case("Authorization, public", "3.5", reply=says("public, max-age=60"), first=SECRET, second=SECRET),
    Case("Authorization, s-maxage", "3.5", reply=says("s-maxage=60"), first=SECRET, second=SECRET),
    Case(
        "Authorization, must-revalidate", "3.5", reply=says("must-revalidate, max-age=60"), first=SECRET, second=SECRET
    ),
    Case("Authorization does not get what is not for it", "3.5", second=SECRET, expected=NEW),
    Case("what Authorization got is for nobody else", "3.5", first=SECRET, expected=NEW),
)

KEYS = (
    Case("another query", "4", second=Ask(query="a=1"), expected=NEW),
    Case("another path", "4", second=Ask(path="/Page"), expected=NEW),
    Case("another host", "4", second=Ask(host="other.example"), expected=NEW),
    Case("another scheme", "4", second=Ask(scheme="https"), expected=NEW),
    Case("a slash that is data", "4", first=Ask(path="/a/b"), second=Ask(path="/a%2Fb"), expected=NEW),
    Case("HEAD from GET", "4", second=asks("HEAD"), fields={"content-length": "4"}),
    Case("GET is not answered from HEAD", "4", first=asks("HEAD"), expected=NEW),
    Case("POST is not answered from GET", "4", second=asks("POST"), expected=NEW),
    Case("a request with a body", "4", second=asks(content_length="3"), expected=NEW),
)

VARY = tuple(
    Case(
        name,
        "4.1",
        reply=says("max-age=60", vary=vary),
        first=asks(**first),
        between=asks(**first),  # the first response says which fields count, the second one is kept
        second=asks(**second),
        expected=expected,
    )
    for name, vary, first, second, expected in (
        ("the same value", "accept-language", {"accept_language": "de"}, {"accept_language": "de"}, HIT),
        ("another value", "accept-language", {"accept_language": "de"}, {"accept_language": "en"}, NEW),
        ("no value", "accept-language", {"accept_language": "de"}, {}, NEW),
        ("no value either time", "accept-language", {}, {}, HIT),
        ("the name in other letters", "Accept-LANGUAGE", {"accept_language": "de"}, {"accept_language": "en"}, NEW),
        ("space in a list", "accept-language", {"accept_language": "de, en"}, {"accept_language": "de,en"}, HIT),
        ("one of two fields differs", "x-a, x-b", {"x_a": "1", "x_b": "1"}, {"x_a": "1", "x_b": "2"}, NEW),
        ("both fields are the same", "x-a, x-b", {"x_a": "1", "x_b": "1"}, {"x_a": "1", "x_b": "1"}, HIT),
        ("another field", "x-a", {"x_a": "1", "x_c": "1"}, {"x_a": "1", "x_c": "2"}, HIT),
        ("letters of another field count", "x-a", {"x_a": "b"}, {"x_a": "B"}, NEW),
        ("everything", "*", {}, {}, NEW),
        ("everything among others", "x-a, *", {}, {}, NEW),
    )
)

LINES = Case(
    "the lines of a field count together",
    "4.1",
    reply=says("max-age=60", vary="x-a"),
    rule=Rule("/page", vary=("x-a",)),
    first=asks(x_a="2"),
    second=Ask([("x-a", "1"), ("x-a", "2")]),
    expected=NEW,
)

LIFETIME = tuple(
    Case(name, "4.2.1", reply=Reply(fields), passed=passed, expected=expected)
    for name, fields, passed, expected in (
        ("max-age, within", {"cache-control": "max-age=60"}, 59, HIT),
        ("max-age, over", {"cache-control": "max-age=60"}, 60, NEW),
        ("s-maxage before max-age, longer", {"cache-control": "max-age=1, s-maxage=60"}, 30, HIT),
        ("s-maxage before max-age, shorter", {"cache-control": "s-maxage=1, max-age=60"}, 30, NEW),
        ("s-maxage=0", {"cache-control": "s-maxage=0, max-age=60"}, 0, NEW),
        ("max-age before Expires", {"cache-control": "max-age=60", "expires": date(-10), "date": date(0)}, 30, HIT),
        ("Expires, within", {"expires": date(60), "date": date(0)}, 59, HIT),
        ("Expires, over", {"expires": date(60), "date": date(0)}, 61, NEW),
        ("Expires counts from Date", {"expires": date(60), "date": date(-30)}, 50, HIT),
        ("Expires without Date", {"expires": date(60)}, 59, HIT),
        ("Expires in the past", {"expires": date(-60), "date": date(0)}, 0, NEW),
        ("Expires: 0", {"expires": "0", "date": date(0)}, 0, NEW),
        ("two different Expires", [("expires", date(60)), ("expires", date(90)), ("date", date(0))], 0, NEW),
        ("two different max-age", {"cache-control": "max-age=60, max-age=90"}, 0, NEW),
        ("max-age in two lines", [("cache-control", "max-age=60"), ("cache-control", "max-age=60")], 59, HIT),
        ("max-age in quotes", {"cache-control": 'max-age="60"'}, 59, HIT),
        ("a negative max-age", {"cache-control": "max-age=-60"}, 0, NEW),
        ("a fraction", {"cache-control": "max-age=60.5"}, 0, NEW),
        ("max-age without a value", {"cache-control": "max-age"}, 0, NEW),
        ("more than fits", {"cache-control": "max-age=99999999999999999999"}, 1e9, HIT),
        ("max-age=0", {"cache-control": "max-age=0"}, 0, NEW),
        ("other letters", {"cache-control": "MAX-AGE=60"}, 59, HIT),
    )
)

RULES = (
    Case("no guess from Last-Modified", "4.2.2", reply=Reply({"last-modified": date(-9999)}), expected=NEW),
    Case("a rule's ttl", "4.2.2", reply=Reply(), passed=9, rule=Rule("/page", ttl=10)),
    Case("a rule's ttl is over", "4.2.2", reply=Reply(), passed=10, rule=Rule("/page", ttl=10), expected=NEW),
    Case(
        "a rule's ttl is not for a 404",
        "4.2.2",
        reply=Reply(status=404),
        status=404,
        rule=Rule("/page", ttl=10),
        expected=NEW,
    ),
    Case(
        "the response's own time wins",
        "4.2.2",
        reply=says("max-age=5"),
        passed=7,
        rule=Rule("/page", ttl=10),
        expected=NEW,
    ),
    Case("override", "4.2.2", reply=says("max-age=5"), passed=7, rule=Rule("/page", ttl=10, override=True)),
    Case("override, no-cache", "4.2.2", reply=says("no-cache"), passed=7, rule=Rule("/page", ttl=10, override=True)),
    Case(
        "override is not for what is private",
        "4.2.2",
        reply=says("private"),
        rule=Rule("/page", ttl=10, override=True),
        expected=NEW,
    ),
    Case(
        "override is not for no-store",
        "4.2.2",
        reply=says("no-store"),
        rule=Rule("/page", ttl=10, override=True),
        expected=NEW,
    ),
)

AGE = (
    Case("the time it has been here", "4.2.3", passed=7, fields={"age": "7"}),
    Case("the age that it came with", "4.2.3", reply=says("max-age=60", age="50"), passed=5, fields={"age": "55"}),
    Case(
        "too old with the age that it came with", "4.2.3", reply=says("max-age=60", age="50"), passed=10, expected=NEW
    ),
    Case("the first of a list of ages", "4.2.3", reply=says("max-age=60", age="30, 50"), fields={"age": "30"}),
    Case("an age that is none", "4.2.3", reply=says("max-age=60", age="old"), passed=5, fields={"age": "5"}),
    Case("an older Date", "4.2.3", reply=says("max-age=60", date=date(-20)), passed=5, fields={"age": "25"}),
    Case("a Date in the future", "4.2.3", reply=says("max-age=60", date=date(20)), passed=5, fields={"age": "5"}),
    Case(
        "the older of Date and Age",
        "4.2.3",
        reply=says("max-age=60", date=date(-20), age="30"),
        passed=5,
        fields={"age": "35"},
    ),
)

STALENESS = (
    Case("nothing stale without permission", "4.2.4", passed=61, expected=NEW),
    Case("stale by a rule", "4.2.4", passed=61, rule=STALE_RULE, expected=STALE),
    Case(
        "must-revalidate", "4.2.4", reply=says("max-age=60, must-revalidate"), passed=61, rule=STALE_RULE, expected=NEW
    ),
    Case(
        "proxy-revalidate",
        "4.2.4",
        reply=says("max-age=60, proxy-revalidate"),
        passed=61,
        rule=STALE_RULE,
        expected=NEW,
    ),
    Case("s-maxage", "4.2.4", reply=says("s-maxage=60"), passed=61, rule=STALE_RULE, expected=NEW),
    Case("no-cache", "4.2.4", reply=says("no-cache, max-age=60"), rule=STALE_RULE, expected=NEW),
)

CONDITIONS = tuple(
    Case(name, "4.3.2", reply=TAGGED, second=asks(**fields), status=status, expected=expected)
    for name, fields, status, expected in (
        ("the tag", {"if_none_match": '"v1"'}, 304, HIT),
        ("the tag, weak", {"if_none_match": 'W/"v1"'}, 304, HIT),
        ("the tag in a list", {"if_none_match": '"v0", W/"v1", "v2"'}, 304, HIT),
        ("the tag in a list without spaces", {"if_none_match": '"v0","v1"'}, 304, HIT),
        ("any tag", {"if_none_match": "*"}, 304, HIT),
        ("another tag", {"if_none_match": '"v2"'}, 200, HIT),
        ("the tag without quotes", {"if_none_match": "v1"}, 200, HIT),
        ("a part of the tag", {"if_none_match": '"v"'}, 200, HIT),
        ("not modified since", {"if_modified_since": date(-1000)}, 304, HIT),
        ("modified since", {"if_modified_since": date(-1001)}, 200, HIT),
        ("a date that is none", {"if_modified_since": "yesterday"}, 200, HIT),
        ("the tag counts, not the date", {"if_none_match": '"v2"', "if_modified_since": date(0)}, 200, HIT),
        ("If-Match is the app's", {"if_match": '"v1"'}, 200, NEW),
        ("If-Unmodified-Since is the app's", {"if_unmodified_since": date(0)}, 200, NEW),
        ("If-Range is the app's", {"range": "bytes=0-1", "if_range": '"v1"'}, 200, NEW),
    )
)

VALIDATION = (
    *CONDITIONS,
    Case("the tag in another line", "4.3.2", reply=TAGGED, second=Ask(TWO_TAGS), status=304),
    Case("HEAD with the tag", "4.3.2", reply=TAGGED, second=asks("HEAD", if_none_match='"v1"'), status=304),
    Case("a weak tag", "4.3.2", reply=says("max-age=60", etag='W/"v"'), second=asks(if_none_match='"v"'), status=304),
    Case(
        "what a 304 has",
        "4.3.2",
        reply=says("max-age=60", etag='"v1"', vary="", content_type="text/plain", content_location="/p", x_own="1"),
        second=asks(if_none_match='"v1"'),
        status=304,
        fields={"cache-control": "max-age=60", "etag": '"v1"', "content-location": "/p", "age": "0"},
        absent=("content-type", "content-length", "x-own"),
    ),
    Case(
        "a condition is not for an error",
        "4.3.2",
        reply=Reply({"cache-control": "max-age=60", "etag": '"v1"'}, status=404),
        second=asks(if_none_match='"v1"'),
        status=404,
    ),
    Case(
        "a condition before there is anything", "4.3.1", reply=TAGGED, first=asks(if_none_match='"v0"'), second=asks()
    ),
)

INVALIDATION = tuple(
    Case(name, "4.4", then=then, last=MINUTE, between=between, expected=expected)
    for name, between, then, expected in (
        ("PUT", asks("PUT"), Reply(), NEW),
        ("POST", asks("POST"), Reply(status=201), NEW),
        ("DELETE", asks("DELETE"), Reply(status=204), NEW),
        ("PATCH", asks("PATCH"), Reply(), NEW),
        ("a method nobody knows", asks("BREW"), Reply(), NEW),
        ("a redirect", asks("POST"), Reply({"location": "/other"}, status=303), NEW),
        ("a failed change", asks("PUT"), Reply(status=409), HIT),
        ("a change that broke", asks("PUT"), Reply(status=500), HIT),
        ("OPTIONS changes nothing", asks("OPTIONS"), Reply(), HIT),
        ("a change of something else", asks("PUT", "/other"), Reply(), HIT),
        ("Location", asks("POST", "/other"), Reply({"location": "/page"}, status=201), NEW),
        ("Location, whole", asks("POST", "/other"), Reply({"location": "http://site.example/page"}, status=201), NEW),
        (
            "Location, with the port",
            asks("POST", "/o"),
            Reply({"location": "http://site.example:80/page"}, status=201),
            NEW,
        ),
        ("Location, relative", asks("POST", "/other"), Reply({"location": "page"}, status=201), NEW),
        ("Content-Location", asks("PUT", "/other"), Reply({"content-location": "/page"}), NEW),
        ("Content-Location elsewhere", asks("PUT", "/o"), Reply({"content-location": "//other.example/page"}), HIT),
        ("Location elsewhere", asks("POST", "/o"), Reply({"location": "http://other.example/page"}, status=201), HIT),
        ("Location of another scheme", asks("POST", "/o"), Reply({"location": "https://site.example/page"}), HIT),
        ("a Location that is none", asks("POST", "/other"), Reply({"location": "http://[/page"}, status=201), HIT),
        ("Location of a failed change", asks("POST", "/other"), Reply({"location": "/page"}, status=400), HIT),
    )
)

DIRECTIVES = tuple(
    Case(name, section, passed=passed, second=asks(cache_control=control), rule=STALE_RULE, expected=expected)
    for section, name, control, passed, expected in (
        ("5.2.1.1", "max-age, younger", "max-age=10", 10, HIT),
        ("5.2.1.1", "max-age, older", "max-age=10", 11, NEW),
        ("5.2.1.1", "max-age wants nothing stale", "max-age=90", 70, NEW),
        ("5.2.1.2", "max-stale, enough", "max-stale=10", 70, STALE),
        ("5.2.1.2", "max-stale, not enough", "max-stale=10", 71, NEW),
        ("5.2.1.2", "max-stale, any", "max-stale", 150, STALE),
        ("5.2.1.3", "min-fresh, enough", "min-fresh=20", 40, HIT),
        ("5.2.1.3", "min-fresh, not enough", "min-fresh=20", 41, NEW),
        ("5.2.1.4", "no-cache", "no-cache", 0, NEW),
        ("5.2.1.5", "no-store", "no-store", 0, NEW),
        ("5.2.1.6", "no-transform", "no-transform", 0, HIT),
        ("5.2.1.7", "only-if-cached, here", "only-if-cached", 0, HIT),
    )
)

REQUESTS = (
    *DIRECTIVES,
    Case(
        "no-cache renews for the others",
        "5.2.1.4",
        reply=says("max-age=60", x="1"),
        then=says("max-age=60", x="2"),
        between=asks(cache_control="no-cache"),
        fields={"x": "2"},
    ),
    Case("no-store keeps nothing", "5.2.1.5", first=asks(cache_control="no-store"), expected=NEW),
    Case("only-if-cached, gone", "5.2.1.7", passed=61, second=asks(cache_control="only-if-cached"), status=504),
    Case("Pragma", "5.4", second=asks(pragma="no-cache"), expected=NEW),
    Case("Pragma beside Cache-Control", "5.4", second=asks(pragma="no-cache", cache_control="max-age=60")),
)

RESPONSES = (
    Case("no-cache", "5.2.2.4", reply=says("no-cache, max-age=60"), expected=NEW),
    Case(
        "no-cache for a field",
        "5.2.2.4",
        reply=says('max-age=60, no-cache="Set-Cookie"', set_cookie="a=1"),
        absent=("set-cookie",),
    ),
    Case("must-understand, understood", "5.2.2.3", reply=says("must-understand, no-store, max-age=60")),
    Case(
        "must-understand, not understood",
        "5.2.2.3",
        reply=Reply({"cache-control": "must-understand, max-age=60"}, status=299),
        status=299,
        expected=NEW,
    ),
    Case(
        "private for a field",
        "5.2.2.7",
        reply=says('max-age=60, private="x-user"', x_user="alice", x="1"),
        absent=("x-user",),
        fields={"x": "1"},
    ),
    Case("private for no field", "5.2.2.7", reply=says('max-age=60, private=""'), expected=NEW),
    Case("private, whole and for a field", "5.2.2.7", reply=says('private, private="x", max-age=60'), expected=NEW),
    Case("an extension is ignored", "5.2.3", reply=says("max-age=60, community=UCI")),
    Case("words in an extension's quotes", "5.2.3", reply=says('max-age=60, x="no-store, private"')),
    Case("an open quote keeps nothing", "5.2", reply=says('x="a, max-age=60'), expected=NEW),
    Case("empty members", "5.2", reply=says(", max-age=60,,")),
    Case(
        "no-store in another line",
        "5.2",
        reply=Reply([("cache-control", "max-age=60"), ("cache-control", "no-store")]),
        expected=NEW,
    ),
)

_SWR, _SIE = says("max-age=60, stale-while-revalidate=30"), says("max-age=60, stale-if-error=30")
STALE_RFC5861 = (
    Case("within stale-while-revalidate", "5861 3", reply=_SWR, passed=89, expected=STALE, fields={"age": "89"}),
    Case("after stale-while-revalidate", "5861 3", reply=_SWR, passed=90, expected=NEW),
    Case("fresh, with stale-while-revalidate", "5861 3", reply=_SWR, passed=59, expected=HIT),
    Case("the response's time wins over the rule's", "5861 3", reply=_SWR, passed=91, rule=STALE_RULE, expected=NEW),
    Case(
        "must-revalidate forbids it",
        "5861 3",
        reply=says("max-age=60, must-revalidate, stale-while-revalidate=30"),
        passed=61,
        expected=NEW,
    ),
    Case("503 within stale-if-error", "5861 4", reply=_SIE, then=CLOSED, passed=89, expected=STALE),
    Case("500 within stale-if-error", "5861 4", reply=_SIE, then=Reply(status=500), passed=89, expected=STALE),
    Case(
        "the app raises within stale-if-error",
        "5861 4",
        reply=_SIE,
        then=Reply(error=ValueError()),
        passed=89,
        expected=STALE,
    ),
    Case("503 after stale-if-error", "5861 4", reply=_SIE, then=CLOSED, passed=90, status=503, expected=NEW),
    Case("404 is no error", "5861 4", reply=_SIE, then=Reply(status=404), passed=61, status=404, expected=NEW),
    Case(
        "no error, no stale response",
        "5861 4",
        reply=_SIE,
        then=says("max-age=60", x="2"),
        passed=61,
        fields={"x": "2"},
        expected=NEW,
    ),
    Case("501 is no such error", "5861 4", reply=_SIE, then=Reply(status=501), passed=61, status=501, expected=NEW),
    Case(
        "must-revalidate forbids it, too",
        "5861 4",
        reply=says("max-age=60, must-revalidate, stale-if-error=30"),
        then=CLOSED,
        passed=61,
        status=503,
        expected=NEW,
    ),
    Case("a rule's stale_if_error", "5861 4", then=CLOSED, passed=250, rule=STALE_RULE, expected=STALE),
    Case("no permission at all", "5861 4", then=CLOSED, passed=61, status=503, expected=NEW),
)

CASES = (
    *STORING,
    *KEYS,
    *VARY,
    LINES,
    *LIFETIME,
    *RULES,
    *AGE,
    *STALENESS,
    *VALIDATION,
    *INVALIDATION,
    *REQUESTS,
    *RESPONSES,
    *STALE_RFC5861,
)
