"""Plans: a good file is read as it stands, a wrong one is refused with the file and the key."""

from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.load import Plan, Range, Values, Zipf

GOOD = """
target = "http://127.0.0.1:8000"
rate = 10
duration = "25s"
warmup = "4s"
arrivals = "constant"
timeout = "500ms"
connections = 20
seed = 3

[[request]]
name = "product"
path = "/products/{id}"
weight = 6
expect = [200, 404]
headers = { accept = "application/json" }
[request.parameters]
id = { range = [1, 20000] }

[[request]]
method = "POST"
path = "/orders"
body = '{"product_id": {id}, "who": "{who}"}'
[request.parameters]
id = { zipf = [1, 20000], exponent = 1.1 }
who = { values = ["a", 2] }
"""


def read(tmp_path: Path, text: str) -> Plan:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    return Plan.from_file(file)


def test_good_plan(tmp_path: Path) -> None:
    """Every key of a plan file arrives in the plan; a request without a name is called by method and path."""
    plan = read(tmp_path, GOOD)
    assert (plan.target, plan.rate, plan.duration, plan.warmup) == ("http://127.0.0.1:8000", 10.0, 25.0, 4.0)
    assert (plan.arrivals, plan.timeout, plan.connections, plan.seed) == ("constant", 0.5, 20, 3)
    product, order = plan.requests
    assert (product.name, product.method, product.weight, product.expect) == (
        "product",
        "GET",
        6.0,
        (200, 404),
    )
    assert product.headers == (("accept", "application/json"),)
    assert product.parameters == {"id": Range(1, 20000)}
    assert (order.name, order.weight) == ("POST /orders", 1.0)
    assert order.parameters == {"id": Zipf(1, 20000, 1.1), "who": Values(("a", "2"))}


@pytest.mark.parametrize(
    ("replace", "by", "message"),
    [
        ("rate = 10", "rate = 0", "rate: 0 is not above 0"),
        ("rate = 10", "rate = nan", "rate: nan is not above 0"),
        ("rate = 10", "rate = 1e9", "rate: 1e+09 is above 1e+06"),
        ("rate = 10", 'rate = "10"', "rate: expected a number, got a string"),
        ("rate = 10", "", "rate: missing"),
        ("rate = 10", "rate = 10\nspeed = 1", "speed: unknown key"),
        ("rate = 10", "rate = ", "not valid TOML: "),
        ('"25s"', '"25"', "duration: '25' is no duration; write it like 200ms, 30s or 2m"),
        ('"25s"', "25", "duration: expected a string, got an integer"),
        ('"25s"', '"0s"', "duration: 0 is not above 0"),
        ('"4s"', '"-4s"', "warmup: '-4s' is no duration"),
        ('"constant"', '"random"', "arrivals: 'random' is unknown; poisson or constant"),
        ('"500ms"', '"2h"', "timeout: 7200 is above 3600"),
        ("connections = 20", "connections = 0", "connections: 0 is not from 1 to 60000"),
        (
            'target = "http://127.0.0.1:8000"',
            "",
            "target: no target given; for example http://127.0.0.1:8000 or grpc://127.0.0.1:50051",
        ),
        (
            "http://127.0.0.1:8000",
            "127.0.0.1:8000",
            "target: '127.0.0.1:8000' is no http or https URL, nor a grpc or grpcs one",
        ),
        ("http://127.0.0.1:8000", "http://127.0.0.1:99999", "target: 'http://127.0.0.1:99999' is no URL: "),
        (
            "http://127.0.0.1:8000",
            "http://a@127.0.0.1",
            "target: 'http://a@127.0.0.1' holds a user or a fragment",
        ),
        ("http://127.0.0.1:8000", "http://127.0.0.1/?a=b", "target: it has a query"),
        ("weight = 6", "weight = 0", "request[0].weight: 0 is not above 0"),
        ("weight = 6", "weight = -1.5", "request[0].weight: -1.5 is not above 0"),
        ("weight = 6", "wait = 6", "request[0].wait: unknown key"),
        (
            'method = "POST"',
            'method = "post"',
            "request[1].method: 'post' is unknown; methods are upper case",
        ),
        ('method = "POST"', 'method = "FETCH"', "request[1].method: 'FETCH' is unknown; one of GET, HEAD, "),
        ('path = "/orders"', "", "request[1].path: missing"),
        ('path = "/orders"', 'path = "orders"', "request[1].path: 'orders' is no absolute path"),
        ('path = "/orders"', 'path = "/a b"', "request[1].path: '/a b' is no absolute path"),
        ('path = "/orders"', 'path = "/{x}"', "request[1].path: {x} is no declared parameter"),
        ('path = "/orders"', 'path = "/orders"\nname = "product"', "request[1].name: 'product' is taken"),
        (
            "expect = [200, 404]",
            "expect = [200, 99]",
            "request[0].expect[1]: 99 is no final status (200 to 599)",
        ),
        (
            "expect = [200, 404]",
            'expect = ["200"]',
            "request[0].expect[0]: expected an integer, got a string",
        ),
        ("accept =", "connection =", "request[0].headers.connection: hasten sets this header itself"),
        ("accept =", '"a b" =', "request[0].headers.a b: no header name"),
        ('"application/json"', '"a\\nb"', "request[0].headers.accept: the value 'a\\nb' holds a character"),
        ("range = [1, 20000]", "range = [5, 1]", "request[0].parameters.id.range: low 5 exceeds high 1"),
        (
            "range = [1, 20000]",
            "range = [1]",
            "request[0].parameters.id.range: needs two integers, low and high",
        ),
        ("range = [1, 20000]", "range = [1, 2.5]", "request[0].parameters.id.range[1]: expected an integer"),
        ("range = [1, 20000]", "from = 1", "request[0].parameters.id.from: unknown key"),
        ("range = [1, 20000]", "", "request[0].parameters.id: needs exactly one of range, zipf, values"),
        (
            "range = [1, 20000]",
            "range = [1, 2], values = [1]",
            "request[0].parameters.id: needs exactly one of",
        ),
        (
            "range = [1, 20000]",
            "range = [1, 2], exponent = 1",
            "request[0].parameters.id.exponent: belongs to zipf",
        ),
        ("id = { range", "ib = { range", "request[0].path: {id} is no declared parameter"),
        (
            "exponent = 1.1",
            "exponent = 0",
            "request[1].parameters.id.exponent: 0 is not above 0 and up to 20",
        ),
        ('values = ["a", 2]', "values = []", "request[1].parameters.who.values: the list is empty"),
        (
            ', "who": "{who}"',
            "",
            "request[1].parameters.who: unused; write {who} into path or body, or remove it",
        ),
    ],
)
def test_wrong_plan(tmp_path: Path, replace: str, by: str, message: str) -> None:
    """A wrong plan is refused in one line that names the file, the key and what is wrong there."""
    assert replace in GOOD
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, GOOD.replace(replace, by, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'plan.toml'}: {message}")
    assert "\n" not in str(caught.value)


def test_plan_without_requests(tmp_path: Path) -> None:
    """A plan that sends nothing is refused."""
    with pytest.raises(ConfigurationError, match=r"request: there is none"):
        read(tmp_path, 'target = "http://127.0.0.1"\nrate = 1\nduration = "1s"\nrequest = []')


def test_unreadable_plan(tmp_path: Path) -> None:
    """A plan that is missing, a folder or not text is refused by its name."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for file in (tmp_path / "absent.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(ConfigurationError) as caught:
            Plan.from_file(file)
        assert caught.value.where == str(file)


def test_target_given_by_the_caller(tmp_path: Path) -> None:
    """The caller's target goes before the file's, when reading and later, and is checked."""
    file = tmp_path / "plan.toml"
    file.write_text(GOOD.replace('target = "http://127.0.0.1:8000"', ""))
    plan = Plan.from_file(file, target="http://127.0.0.1:9000")
    assert plan.target == "http://127.0.0.1:9000"
    assert plan.with_target("https://[::1]:1").target == "https://[::1]:1"
    with pytest.raises(ConfigurationError, match="ftp"):
        plan.with_target("ftp://127.0.0.1")


def test_url_plan() -> None:
    """A URL makes a plan of one request, its query included."""
    plan = Plan.for_url("http://127.0.0.1:8000/a?b=c", rate=5, method="PUT", body="x")
    assert plan.target == "http://127.0.0.1:8000"
    assert [(kind.method, kind.path, kind.body) for kind in plan.requests] == [("PUT", "/a?b=c", "x")]
    assert Plan.for_url("http://127.0.0.1?b", rate=5).requests[0].path == "/?b"


def test_settings_are_checked() -> None:
    """A changed setting that is out of bounds is refused by its name."""
    plan = Plan.for_url("http://127.0.0.1:8000/", rate=5)
    assert plan.with_settings(rate=7, verify=False).rate == 7
    with pytest.raises(ConfigurationError, match=r"^rate: -1 is not above 0"):
        plan.with_settings(rate=-1)
