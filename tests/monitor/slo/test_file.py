"""slo.toml: what it says, and that everything wrong in it is told in one line with its place."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.monitor.deploy._yaml import to_yaml
from hasten.monitor.slo import (
    Objective,
    Service,
    SloFile,
    Timing,
    bounds_of,
    cause_groups,
    objective_groups,
    parse_slo,
    read_objectives,
    read_slo,
)

WHOLE = """
[[objective]]
service = "storefront"
name = "product-page-fast"
target = "99.5%"
latency = "50ms"
route = "/products/{product_id}"
method = "GET"
window = "7d"
severities = ["ticket", "ticket"]
min_bad = 20

[[objective]]
service = "storefront"
name = "up"
target = 0.999

[[objective]]
service = "orders"
name = "paid"
target = 0.99
topic = "orders.paid"
group = "billing"

[services]
storefront = ["storefront:9464", "[::1]:9465"]
catalog = { targets = ["catalog:9464"], token_file = "/run/secrets/admin-token" }

[containers.storefront]
command = ["hasten", "run", "shop:app"]
ports = [8000]

[alerts]
page = "https://alerts.example/page?team=shop"
runbooks = "https://docs.example/alerts.html"

[prometheus]
alertmanagers = ["am-1:9093", "am-2:9093"]
scrape_interval = "5s"
"""


def parsed(text: str) -> SloFile:
    return parse_slo(text.encode(), "slo.toml")


def objective(**changes: str) -> str:
    """Return a file with one objective, with these lines instead or in addition; an empty one is left out."""
    lines = {"service": '"shop"', "name": '"fast"', "target": "0.99", **changes}
    return "[[objective]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value)


def test_a_file_says_what_is_promised_and_where_everything_is() -> None:
    """Objectives, services, receivers and Prometheus' settings are read as they are written."""
    read = parsed(WHOLE)
    assert read.objectives[0] == Objective(
        service="storefront",
        name="product-page-fast",
        kind="latency",
        target=0.995,
        threshold=0.05,
        route="/products/{product_id}",
        method="GET",
        window="7d",
        severities=("ticket",),
        min_bad=20,
    )
    assert [(one.name, one.kind, one.words) for one in read.objectives[1:]] == [
        ("up", "availability", "all requests"),
        ("paid", "availability", "orders.paid (billing)"),
    ]
    assert read.services == (
        Service(name="storefront", targets=("storefront:9464", "[::1]:9465")),
        Service(name="catalog", targets=("catalog:9464",), token_file="/run/secrets/admin-token"),
        Service(name="orders", targets=("orders:9464",)),
    )
    assert (read.delivery.page, read.delivery.ticket) == (
        "https://alerts.example/page?team=shop",
        "http://localhost:5001/ticket",
    )
    assert (read.delivery.runbooks, read.delivery.scrape_interval) == ("https://docs.example/alerts.html", 5.0)
    assert read.delivery.alertmanagers == ("am-1:9093", "am-2:9093")
    assert (read.containers["storefront"].command, read.containers["storefront"].ports) == (
        ("hasten", "run", "shop:app"),
        (8000,),
    )


def test_a_file_may_be_about_nothing() -> None:
    """An empty file promises nothing and is no error."""
    assert (parsed("").objectives, parsed("").services) == ((), ())


def test_objectives_are_read_from_a_path(tmp_path: Path) -> None:
    """`read_objectives` and `read_slo` take the path of the same file."""
    (tmp_path / "slo.toml").write_text(WHOLE)
    assert read_objectives(tmp_path / "slo.toml") == read_slo(str(tmp_path / "slo.toml")).objectives
    with pytest.raises(ConfigurationError, match="No such file"):
        read_objectives(tmp_path / "no.toml")
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_objectives(tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("72ms", 0.072), ("1s", 1.0), ("0.5ms", 0.0005), ("1m", 60.0), ("110ms", 0.11)]
)
def test_a_threshold_is_the_number_that_was_written(text: str, seconds: float) -> None:
    """`72ms` is the bound 0.072, so that the bucket has that name and not 0.07200000000000001."""
    read = parsed(objective(latency=f'"{text}"'))
    assert bounds_of(read.objectives) == {"http_server_request_duration_seconds": (seconds,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "slo.toml: Invalid value (at end of document); see docs/reference/slo.md"),
        ("\udcff", "slo.toml: "),
        ("objectives = []", "slo.toml: Object contains unknown field `objectives`; see docs/reference/slo.md"),
        (objective(latncy='"5ms"'), "slo.toml: objective 1: Object contains unknown field `latncy`"),
        (objective() + objective(name="5"), "slo.toml: objective 2.name: Expected `str`, got `int`"),
        (objective(service=""), "slo.toml: objective 1: Object missing required field `service`"),
        (objective(service='"a b"'), "slo.toml: objective 1.service: 'a b' is no name; write letters, digits"),
        (objective(service='""'), "slo.toml: objective 1.service: '' is no name"),
        (objective(name='"x/y"'), "slo.toml: objective 1.name: 'x/y' is no name"),
        (objective(name='"a\\nb"'), "slo.toml: objective 1.name: 'a\\nb' is no name"),
        (objective() + objective(), "slo.toml: objective 2.name: shop has 'fast' already; give it another"),
        (objective(target="1"), "slo.toml: objective 1 (fast).target: 1.0 is no share of events; write one like 0.99"),
        (objective(target="99.9"), "slo.toml: objective 1 (fast).target: 99.9 is no share of events"),
        (objective(target="nan"), "slo.toml: objective 1 (fast).target: nan is no share of events"),
        (objective(target='"100%"'), "slo.toml: objective 1 (fast).target: '100%' is no share of events"),
        (objective(target='"99"'), "slo.toml: objective 1 (fast).target: '99' is no share of events"),
        (objective(latency='"fast"'), "slo.toml: objective 1 (fast).latency: 'fast' is no duration; write it like"),
        (objective(latency='"0ms"'), "slo.toml: objective 1 (fast).latency: '0ms' is no threshold; write one above"),
        (objective(latency='"2h"'), "slo.toml: objective 1 (fast).latency: '2h' is no threshold"),
        (objective(window='"1d"'), "slo.toml: objective 1.window: Invalid enum value '1d'"),
        (objective(severities="[]"), "slo.toml: objective 1 (fast).severities: is empty"),
        (objective(severities='["sms"]'), "slo.toml: objective 1.severities 1: Invalid enum value 'sms'"),
        (objective(min_bad="0"), "slo.toml: objective 1 (fast).min_bad: 0 is no number of events; write 1 or more"),
        (
            objective(route='"/a"', topic='"b"'),
            "slo.toml: objective 1 (fast): has route and topic; an objective is about one of route, rpc, topic",
        ),
        (objective(route='"a"'), "slo.toml: objective 1 (fast).route: 'a' is no route; it begins with /"),
        (objective(method='"get"'), "slo.toml: objective 1 (fast).method: 'get' is no method; write it like GET"),
        (
            objective(method='"GET"', rpc='"/a.B/C"'),
            "slo.toml: objective 1 (fast).method: is for routes, and this is about rpc; leave it out",
        ),
        (objective(group='"a"'), "slo.toml: objective 1 (fast).group: is for topics, and there is no topic"),
        (objective(rpc='"a.B/C"'), "slo.toml: objective 1 (fast).rpc: 'a.B/C' is no method; write it like /shop"),
        (objective(route=f'"/{"x" * 128}"'), "slo.toml: objective 1 (fast).route: has 129 characters, and a label has"),
        (objective(topic='"a\\u0000b"'), "slo.toml: objective 1 (fast).topic: 'a\\x00b' has a character that cannot"),
        ("[services]\na = []", 'slo.toml: services.a: has no target; write its admin ports: ["a:9464"]'),
        (
            "[services]\na = ['http://a:1']",
            "slo.toml: services.a: 'http://a:1' is no address; write host:port, without",
        ),
        ("[services]\na = ['a:70000']", "slo.toml: services.a: 'a:70000' is no address"),
        ("[services]\n'a b' = ['a:1']", "slo.toml: services.a b: 'a b' is no name"),
        ("[services.a]\ntarget = ['a:1']", "slo.toml: services[...]: Object contains unknown field `target`"),
        ("[alerts]\npage = 'pager'", "slo.toml: alerts.page: 'pager' is no URL; it begins with https://"),
        ("[prometheus]\nalertmanagers = ['x']", "slo.toml: prometheus.alertmanagers: 'x' is no address"),
        ("[prometheus]\nscrape_interval = '10m'", "slo.toml: prometheus.scrape_interval: '10m' is too short or too"),
        ("[containers.a]\nports = [0]", "slo.toml: containers[...].ports 1: Expected `int` >= 1"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_its_place(text: str, message: str) -> None:
    """An error names the file, the objective and the key, what is wrong there, and what to write."""
    with pytest.raises(ConfigurationError) as caught:
        parse_slo(text.encode("utf-8", "surrogateescape"), "slo.toml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


# ---- hostile files

_KEYS = (
    "service",
    "name",
    "target",
    "latency",
    "route",
    "method",
    "rpc",
    "topic",
    "group",
    "window",
    "severities",
    "min_bad",
)
_VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["GET", "/orders", "/a.B/C", "50ms", "99%", "7d", "shop", "1" * 400 + "ms", "٣ms"]),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.lists(st.sampled_from(["page", "ticket", "x"]), max_size=3),
)


def toml(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(f"\\U{ord(one):08X}" if not 0xD800 <= ord(one) < 0xE000 else "?" for one in value)
        return f'"{escaped}"'
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else repr(value)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_file_or_an_error(text: bytes) -> None:
    """Whatever a file has in it, it is read, or refused in one line."""
    _is_read_or_refused(text)


@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES), st.dictionaries(st.text(max_size=12), _VALUES, max_size=2))
def test_any_values_are_objectives_or_an_error(values: dict[str, object], services: dict[str, object]) -> None:
    """Keys that are known with any values are objectives that rules can be made of, or are refused in one line."""
    given_values = {"service": "shop", "name": "fast", "target": 0.9, **values}
    lines = [f"{key} = {toml(value)}" for key, value in given_values.items()]
    more = [f"{toml(name)} = [{toml(target)}]" for name, target in services.items()]
    _is_read_or_refused("\n".join(["[[objective]]", *lines, "[services]", *more]).encode())


def _is_read_or_refused(text: bytes) -> None:
    try:
        read = parse_slo(text, "slo.toml")
    except ConfigurationError as caught:
        said = str(caught)
    else:
        said = ""
        groups = objective_groups(read.objectives, Timing(), read.delivery.runbooks)
        groups += cause_groups([service.name for service in read.services], Timing(), read.delivery.runbooks)
        assert yaml.safe_load(to_yaml(groups)) == groups
    assert len(said.splitlines()) <= 1
