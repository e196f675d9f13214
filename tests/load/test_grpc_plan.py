"""Plans of gRPC methods: a good file is read as it stands, a wrong one is refused with the file and the key."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.load import Plan, Range, RequestKind, Values
from hasten.load._parameters import json_escaped
from hasten.load._rpc_kind import metadata_of
from hasten.load._status_names import status_code, status_name
from hasten.load._template_text import fill

GOOD = """
target = "grpc://127.0.0.1:50051"
rate = 10
duration = "25s"
proto = ["protos/stock.proto", "/srv/other.proto"]
proto_path = ["protos"]

[[request]]
method = "shop.Stock/Get"
data = { product_id = "{id}", lines = [{ quantity = 2 }], at = 2026-01-01T00:00:00Z }
expect = "NOT_FOUND"
headers = { x-tenant = "a" }
[request.parameters]
id = { range = [1, 20000] }

[[request]]
name = "watch"
method = "shop.Stock/Watch"
data = '{"who": "{who}"}'
expect = ["OK", "CANCELLED"]
[request.parameters]
who = { values = ["a", 2] }

[[request]]
name = "empty"
method = "shop.Stock/Get"
"""


def read(tmp_path: Path, text: str) -> Plan:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    return Plan.from_file(file)


def test_good_plan(tmp_path: Path) -> None:
    """Every key arrives in the plan; data is JSON, written as a table or as text; files lie beside the plan."""
    plan = read(tmp_path, GOOD)
    get, watch, empty = plan.requests
    assert (plan.target, plan.grpc) == ("grpc://127.0.0.1:50051", True)
    assert plan.proto == (str(tmp_path / "protos/stock.proto"), "/srv/other.proto")
    assert plan.proto_path == (str(tmp_path / "protos"),)
    assert (get.name, get.method, get.expect, get.headers) == ("shop.Stock/Get", get.name, (5,), (("x-tenant", "a"),))
    data = {"product_id": "{id}", "lines": [{"quantity": 2}], "at": "2026-01-01T00:00:00+00:00"}
    assert json.loads(get.data) == data
    assert get.parameters == {"id": Range(1, 20000)}
    assert (watch.name, watch.data, watch.expect) == ("watch", '{"who": "{who}"}', (0, 1))
    assert watch.parameters == {"who": Values(("a", "2"))}
    assert (empty.data, empty.expect) == ("", ())


@pytest.mark.parametrize(
    ("replace", "by", "message"),
    [
        ("grpc://127.0.0.1:50051", "grpc://127.0.0.1", "target: 'grpc://127.0.0.1' has no port; "),
        ("grpc://127.0.0.1:50051", "grpc://127.0.0.1:1/a.B/C", "target: it has a path; gRPC methods stand in "),
        (
            '"empty"\nmethod = "shop.Stock/Get"',
            '"a"\npath = "/a"',
            "request[2].method: HTTP and gRPC do not go together",
        ),
        ("shop.Stock/Get", "shop.Stock/Get/7", "request[0].method: 'shop.Stock/Get/7' is no gRPC method; write "),
        ("shop.Stock/Get", "/Get", "request[0].method: '/Get' is no gRPC method; write package.Service/Method"),
        ("shop.Stock/Get", "shop..Stock/Get", "request[0].method: 'shop..Stock/Get' is no gRPC method"),
        ('"NOT_FOUND"', '"NOT_FOUNT"', "request[0].expect: 'NOT_FOUNT' is no gRPC status; did you mean NOT_FOUND?"),
        ('"NOT_FOUND"', '"ok"', "request[0].expect: 'ok' is no gRPC status; did you mean OK?"),
        ('["OK", "CANCELLED"]', '["OK", "x"]', "request[1].expect[1]: 'x' is no gRPC status; one of OK, CANCELLED, "),
        ('"NOT_FOUND"', "[5]", "request[0].expect[0]: expected a gRPC status by its name; for example NOT_FOUND"),
        ('"NOT_FOUND"', "5", "request[0].expect: expected a string or a list, got an integer"),
        ("x-tenant", "grpc-timeout", "request[0].headers.grpc-timeout: hasten sets this header itself"),
        ("x-tenant", '"a b"', "request[0].headers.a b: no metadata key"),
        ("x-tenant", "x-bin", "request[0].headers.x-bin: 'a' is no base64; a key that ends in -bin holds bytes"),
        ('x-tenant = "a"', 'x-tenant = "ü"', "request[0].headers.x-tenant: the value 'ü' holds a character that no"),
        ('\'{"who": "{who}"}\'', "'{\"who\": {who}}'", "request[1].data: not valid JSON: Expecting value"),
        ('\'{"who": "{who}"}\'', "'{'", "request[1].data: not valid JSON: "),
        ('\'{"who": "{who}"}\'', "3", "request[1].data: expected a string or a table, got an integer"),
        ("{who}", "{whom}", "request[1].parameters.who: unused; write {who} into data, or remove it"),
        ("[1, 20000]", "[2, 1]", "request[0].parameters.id.range: low 2 exceeds high 1"),
        ('name = "empty"', 'name = "watch"', "request[2].name: 'watch' is taken by another request"),
        ('name = "empty"', 'name = "empty"\nbody = "x"', "request[2].body: belongs to HTTP; write a gRPC method's "),
        ('name = "empty"', 'name = "empty"\npath = "/x"', "request[2].path: belongs to HTTP; a gRPC method has none"),
        ('proto_path = ["protos"]', 'proto_path = "protos"', "proto_path: expected a list, got a string"),
    ],
)
def test_wrong_plan(tmp_path: Path, replace: str, by: str, message: str) -> None:
    """A wrong plan is refused in one line that names the file, the key and what is wrong there."""
    assert replace in GOOD
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, GOOD.replace(replace, by, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'plan.toml'}: {message}")
    assert "\n" not in str(caught.value)


def test_http_requests_do_not_go_to_grpc() -> None:
    """A gRPC target is no place for HTTP requests, nor data for one of them; an http URL may be a gRPC server's."""
    with pytest.raises(
        ConfigurationError, match=r"^target: 'grpc://127\.0\.0\.1:1' speaks gRPC and the requests are H"
    ):
        Plan.for_url("grpc://127.0.0.1:1/", rate=1)
    http = Plan.for_url("http://127.0.0.1:1/", rate=1)
    with pytest.raises(ConfigurationError, match=r"^target: 'grpc://127\.0\.0\.1:1' speaks gRPC"):
        http.with_target("grpc://127.0.0.1:1")
    kind = RequestKind(name="k", data="{}")
    with pytest.raises(ConfigurationError, match=r"^request\[0\]\.data: belongs to a gRPC method; write an HTTP req"):
        Plan(target="http://127.0.0.1:1", requests=(kind,), rate=1).checked()
    plan = Plan.for_method("grpcs://stock.example/a.B/C", rate=1)
    assert plan.target == "grpcs://stock.example:443"
    assert plan.with_target("https://127.0.0.1:1").target == "https://127.0.0.1:1"


def test_url_plan() -> None:
    """A URL with a method makes a plan of one kind of call; one without is refused."""
    plan = Plan.for_method("grpc://[::1]:5/a.b.C/D", rate=5, data="{}", expect=("NOT_FOUND",))
    assert plan.target == "grpc://[::1]:5"
    assert [(kind.name, kind.method, kind.expect) for kind in plan.requests] == [("a.b.C/D", "a.b.C/D", (5,))]
    for url in ("grpc://127.0.0.1:5", "grpc://127.0.0.1:5/a.b.C"):
        with pytest.raises(ConfigurationError, match=r" names no method; write grpc://host:port/package\.Service/Meth"):
            Plan.for_method(url, rate=5)
    with pytest.raises(ConfigurationError, match=r"^request\[0\]\.expect\[0\]: 17 is no gRPC status \(0 to 16\)"):
        Plan(target="grpc://[::1]:5", requests=(RequestKind(name="k", method="a.B/C", expect=(17,)),), rate=1).checked()


def test_connections_by_protocol() -> None:
    """Without a number of its own a plan has up to 1000 connections over HTTP, and one over gRPC."""
    http, rpc = Plan.for_url("http://127.0.0.1/", rate=1), Plan.for_method("grpc://127.0.0.1:1/a.B/C", rate=1)
    assert (http.connection_limit, rpc.connection_limit) == (1000, 1)
    assert rpc.with_settings(connections=7).connection_limit == 7
    with pytest.raises(ConfigurationError, match=r"^connections: 0 is not from 1 to 60000"):
        rpc.with_settings(connections=0)


def test_statuses_by_name() -> None:
    """Each of gRPC's seventeen statuses is known by its number and by its name."""
    assert [status_code(status_name(code), "here") for code in range(17)] == list(range(17))
    assert status_name(17) == "CODE 17"


def test_metadata() -> None:
    """Metadata has keys in lower case; `-bin` values are bytes, from base64 with or without padding."""
    headers = (("X-A", "b:c"), ("t-bin", "AP8="), ("u-bin", "AP8"))
    kind = RequestKind(name="k", method="a.B/C", headers=headers)
    assert metadata_of(kind) == (("x-a", "b:c"), ("t-bin", b"\x00\xff"), ("u-bin", b"\x00\xff"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_value_fits_a_json_text(value: str) -> None:
    """A value, whatever it holds, is the same text when the filled-in JSON is read."""
    text = fill('{"a": "{v}", "{w}": {}}', {"v": json_escaped(value)})
    assert json.loads(text) == {"a": value, "{w}": {}}
