"""RFC 9111 and RFC 5861 as a table: what is asked twice, and whether the app is asked the second time."""

from hasten.http import Rule
from tests.http.case import HIT, MINUTE, NEW, STALE, STALE_RULE, Case, asks, date, says
from tests.http.cases_of_directives import REQUESTS, RESPONSES, STALE_RFC5861
from tests.http.site import Ask, Reply

TAGGED = says("max-age=60", etag='"v1"', last_modified=date(-1000))
SECRET = asks(authorization="Bearer alice")

STORING = (
    Case(name="a fresh response is used again", section="3"),
    Case(name="nothing says how long: not kept", section="3", reply=Reply(), expected=NEW),
    Case(
        name="404 with a time of its own",
        section="3",
        reply=Reply({"cache-control": "max-age=60"}, status=404),
        status=404,
    ),
    Case(
        name="302 with a time of its own",
        section="3",
        reply=Reply({"cache-control": "max-age=60"}, status=302),
        status=302,
    ),
    Case(
        name="a status nobody knows", section="3", reply=Reply({"cache-control": "max-age=60"}, status=299), status=299
    ),
    Case(name="no-store", section="3", reply=says("no-store, max-age=60"), expected=NEW),
    Case(name="private", section="3", reply=says("private, max-age=60"), expected=NEW),
    Case(name="public says nothing of how long", section="3", reply=says("public"), expected=NEW),
    Case(name="a cookie is set", section="3", reply=says("max-age=60", set_cookie="sid=alice"), expected=NEW),
    Case(
        name="partial content",
        section="3.3",
        reply=Reply({"cache-control": "max-age=60"}, status=206),
        status=206,
        expected=NEW,
    ),
    Case(
        name="a body shorter than announced", section="3.3", reply=says("max-age=60", content_length="9"), expected=NEW
    ),
    Case(name="a request for a part", section="3.3", second=asks(range="bytes=0-1"), expected=NEW),
    Case(
        name="fields of one hop are not kept",
        section="3.1",
        reply=says("max-age=60", connection="x-hop", x_hop="1", keep_alive="timeout=5", x_end="2"),
        fields={"x-end": "2"},
        absent=("connection", "x-hop", "keep-alive"),
    ),
    Case(name="Authorization", section="3.5", first=SECRET, second=SECRET, expected=NEW),
    Case(name="Authorization, public", section="3.5", reply=says("public, max-age=60"), first=SECRET, second=SECRET),
    Case(name="Authorization, s-maxage", section="3.5", reply=says("s-maxage=60"), first=SECRET, second=SECRET),
    Case(
        name="Authorization, must-revalidate",
        section="3.5",
        reply=says("must-revalidate, max-age=60"),
        first=SECRET,
        second=SECRET,
    ),
    Case(name="Authorization does not get what is not for it", section="3.5", second=SECRET, expected=NEW),
    Case(name="what Authorization got is for nobody else", section="3.5", first=SECRET, expected=NEW),
)

KEYS = (
    Case(name="another query", section="4", second=Ask(query="a=1"), expected=NEW),
    Case(name="another path", section="4", second=Ask(path="/Page"), expected=NEW),
    Case(name="another host", section="4", second=Ask(host="other.example"), expected=NEW),
    Case(name="another scheme", section="4", second=Ask(scheme="https"), expected=NEW),
    Case(name="a slash that is data", section="4", first=Ask(path="/a/b"), second=Ask(path="/a%2Fb"), expected=NEW),
    Case(name="HEAD from GET", section="4", second=asks("HEAD"), fields={"content-length": "4"}),
    Case(name="GET is not answered from HEAD", section="4", first=asks("HEAD"), expected=NEW),
    Case(name="POST is not answered from GET", section="4", second=asks("POST"), expected=NEW),
    Case(name="a request with a body", section="4", second=asks(content_length="3"), expected=NEW),
)

VARY = tuple(
    Case(
        name=name,
        section="4.1",
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
    name="the lines of a field count together",
    section="4.1",
    reply=says("max-age=60", vary="x-a"),
    rule=Rule("/page", vary=("x-a",)),
    first=asks(x_a="2"),
    second=Ask([("x-a", "1"), ("x-a", "2")]),
    expected=NEW,
)

LIFETIME = tuple(
    Case(name=name, section="4.2.1", reply=Reply(fields), passed=passed, expected=expected)
    for name, fields, passed, expected in (
        ("max-age, within", {"cache-control": "max-age=60"}, 59, HIT),
        ("max-age, over", {"cache-control": "max-age=60"}, 60, NEW),
        ("s-maxage before max-age, longer", {"cache-control": "max-age=1, s-maxage=60"}, 30, HIT),
        ("s-maxage before max-age, shorter", {"cache-control": "s-maxage=1, max-age=60"}, 30, NEW),
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
    Case(
        name="no guess from Last-Modified", section="4.2.2", reply=Reply({"last-modified": date(-9999)}), expected=NEW
    ),
    Case(name="a rule's ttl", section="4.2.2", reply=Reply(), passed=9, rule=Rule("/page", ttl=10)),
    Case(
        name="a rule's ttl is over", section="4.2.2", reply=Reply(), passed=10, rule=Rule("/page", ttl=10), expected=NEW
    ),
    Case(
        name="a rule's ttl is not for a 404",
        section="4.2.2",
        reply=Reply(status=404),
        status=404,
        rule=Rule("/page", ttl=10),
        expected=NEW,
    ),
    Case(
        name="the response's own time wins",
        section="4.2.2",
        reply=says("max-age=5"),
        passed=7,
        rule=Rule("/page", ttl=10),
        expected=NEW,
    ),
    Case(
        name="override", section="4.2.2", reply=says("max-age=5"), passed=7, rule=Rule("/page", ttl=10, override=True)
    ),
    Case(
        name="override, no-cache",
        section="4.2.2",
        reply=says("no-cache"),
        passed=7,
        rule=Rule("/page", ttl=10, override=True),
    ),
    Case(
        name="override is not for what is private",
        section="4.2.2",
        reply=says("private"),
        rule=Rule("/page", ttl=10, override=True),
        expected=NEW,
    ),
    Case(
        name="override is not for no-store",
        section="4.2.2",
        reply=says("no-store"),
        rule=Rule("/page", ttl=10, override=True),
        expected=NEW,
    ),
)

AGE = (
    Case(name="the time it has been here", section="4.2.3", passed=7, fields={"age": "7"}),
    Case(
        name="the age that it came with",
        section="4.2.3",
        reply=says("max-age=60", age="50"),
        passed=5,
        fields={"age": "55"},
    ),
    Case(
        name="too old with the age that it came with",
        section="4.2.3",
        reply=says("max-age=60", age="50"),
        passed=10,
        expected=NEW,
    ),
    Case(
        name="an age that is none", section="4.2.3", reply=says("max-age=60", age="old"), passed=5, fields={"age": "5"}
    ),
    Case(
        name="an older Date", section="4.2.3", reply=says("max-age=60", date=date(-20)), passed=5, fields={"age": "25"}
    ),
    Case(
        name="a Date in the future",
        section="4.2.3",
        reply=says("max-age=60", date=date(20)),
        passed=5,
        fields={"age": "5"},
    ),
    Case(
        name="the older of Date and Age",
        section="4.2.3",
        reply=says("max-age=60", date=date(-20), age="30"),
        passed=5,
        fields={"age": "35"},
    ),
)

STALENESS = (
    Case(name="nothing stale without permission", section="4.2.4", passed=61, expected=NEW),
    Case(name="stale by a rule", section="4.2.4", passed=61, rule=STALE_RULE, expected=STALE),
    Case(
        name="must-revalidate",
        section="4.2.4",
        reply=says("max-age=60, must-revalidate"),
        passed=61,
        rule=STALE_RULE,
        expected=NEW,
    ),
    Case(
        name="proxy-revalidate",
        section="4.2.4",
        reply=says("max-age=60, proxy-revalidate"),
        passed=61,
        rule=STALE_RULE,
        expected=NEW,
    ),
    Case(name="s-maxage", section="4.2.4", reply=says("s-maxage=60"), passed=61, rule=STALE_RULE, expected=NEW),
    Case(name="no-cache", section="4.2.4", reply=says("no-cache, max-age=60"), rule=STALE_RULE, expected=NEW),
)

CONDITIONS = tuple(
    Case(name=name, section="4.3.2", reply=TAGGED, second=asks(**fields), status=status, expected=expected)
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
    Case(
        name="what a 304 has",
        section="4.3.2",
        reply=says("max-age=60", etag='"v1"', vary="", content_type="text/plain", content_location="/p", x_own="1"),
        second=asks(if_none_match='"v1"'),
        status=304,
        fields={"cache-control": "max-age=60", "etag": '"v1"', "content-location": "/p", "age": "0"},
        absent=("content-type", "content-length", "x-own"),
    ),
    Case(
        name="a condition is not for an error",
        section="4.3.2",
        reply=Reply({"cache-control": "max-age=60", "etag": '"v1"'}, status=404),
        second=asks(if_none_match='"v1"'),
        status=404,
    ),
    Case(
        name="a condition before there is anything",
        section="4.3.1",
        reply=TAGGED,
        first=asks(if_none_match='"v0"'),
        second=asks(),
    ),
)

INVALIDATION = tuple(
    Case(name=name, section="4.4", then=then, last=MINUTE, between=between, expected=expected)
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
        ("Location elsewhere", asks("POST", "/o"), Reply({"location": "http://other.example/page"}, status=201), HIT),
        ("Location of another scheme", asks("POST", "/o"), Reply({"location": "https://site.example/page"}), HIT),
        ("a Location that is none", asks("POST", "/other"), Reply({"location": "http://[/page"}, status=201), HIT),
        ("Location of a failed change", asks("POST", "/other"), Reply({"location": "/page"}, status=400), HIT),
    )
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
