"""Rules: paths, tags, queries, and what a wrong rule says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.http import Rule
from hasten.http._rules import ActiveRule, RuleTable, path_tag


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("/products", "/products", {}),
        ("/products/{id}", "/products/7", {"id": "7"}),
        ("/products/{id}", "/products/", None),
        ("/products/{id}", "/products/7/x", None),
        ("/products/{id}", "/products/7\n", {"id": "7\n"}),
        ("/products/{id:int}", "/products/7", {"id": "7"}),
        ("/products/{id:int}", "/products/x", None),
        ("/prices/{price:float}", "/prices/1.5", {"price": "1.5"}),
        ("/{id:uuid}", "/12345678-1234-1234-1234-123456789abc", {"id": "12345678-1234-1234-1234-123456789abc"}),
        ("/files/{name:path}", "/files/a/b.txt", {"name": "a/b.txt"}),
        ("/{a}/{b}", "/x/y", {"a": "x", "b": "y"}),
        ("/a.b", "/axb", None),
        ("/", "/", {}),
    ],
)
def test_paths(template: str, path: str, parameters: dict[str, str] | None) -> None:
    """A template matches whole paths, as Starlette's routes do."""
    found = Rule(template).pattern.fullmatch(path)
    assert (None if found is None else found.groupdict()) == parameters


def test_the_first_rule_counts() -> None:
    """Of several rules for a path the first one counts, the first time and later."""
    first, second = Rule("/products/new"), Rule("/products/{id}")
    table = RuleTable([first, second])
    for _ in range(2):
        match, other = table["/products/new"], table["/products/7"]
        assert match is not None
        assert match.active.rule is first
        assert other is not None
        assert other.active.rule is second
        assert table["/orders"] is None


def test_paths_are_forgotten_in_time() -> None:
    """Paths without end take no memory without end."""
    table = RuleTable([Rule("/{name}")], most=100)
    for number in range(1000):
        assert table[f"/{number}"] is not None
        assert table[f"/none/{number}"] is None
    assert len(table.seen) <= 100


def test_long_paths_and_queries_are_not_remembered() -> None:
    """Paths and queries that are long are found as others are, and take no memory."""
    table = RuleTable([Rule("/{name}", query=("a",))])
    match = table["/" + "x" * 2000]
    assert match is not None
    assert not table.seen
    query = b"b=1&a=" + b"x" * 2000
    assert match.active.query_of(query) == query[4:]
    assert not match.active._queries


def test_tags_from_templates() -> None:
    """A template's parameters are filled in; what is not printable ASCII, or would end a tag, is percent-encoded."""
    rule = Rule("/{shop}/{id}", tags=("all", "product:{shop}:{id}"))
    assert rule.tags_of({"shop": "a", "id": "7"}) == ("all", "product:a:7")
    assert rule.tags_of({"shop": "ä b", "id": "{shop}"}) == ("all", "product:%C3%A4%20b:%7Bshop%7D")


def test_tags_from_a_function() -> None:
    """A function gets the parameters."""
    assert Rule("/{id}", tags=lambda found: [f"p:{int(found['id']) // 10}"]).tags_of({"id": "75"}) == ("p:7",)


def test_tags_that_are_none() -> None:
    """A path whose tags cannot be tags is not kept, rather than kept without them; a change drops the others."""
    long = RuleTable([Rule("/{id}", tags=("p:{id}", "all"))])["/" + "x" * 300]
    spaced = RuleTable([Rule("/{id}", tags=lambda found: ["all", found["id"]])])["/a b"]
    for match in (long, spaced):
        assert match is not None
        assert not match.keeps
        assert match.tags[0] == "all"
        assert match.tags[1].startswith("http.path:")


def test_every_path_has_a_tag() -> None:
    """A path has a tag of its own, of a bounded number of them, the same in each process."""
    assert path_tag("/products/7") == "http.path:7113"
    assert len({path_tag(f"/{number}") for number in range(50_000)}) <= 16_384


@pytest.mark.parametrize(
    ("query", "part"),
    [
        (b"", b""),
        (b"page=2", b"page=2"),
        (b"utm=x&page=2", b"page=2"),
        (b"utm=x", b""),
        (b"size=1&page=2", b"page=2&size=1"),
        (b"page=1&page=2", b"page=1&page=2"),
        (b"page=2&page=1", b"page=2&page=1"),
        (b"page=", b"page="),
        (b"p%61ge=%32", b"page=2"),
        (b"PAGE=2", b""),
        (b"page=%C3%A4%FF", b"page=%C3%A4%EF%BF%BD"),
    ],
)
def test_part_of_a_query(query: bytes, part: bytes) -> None:
    """The named parameters count, sorted by their names; the values of one name in their order."""
    active = ActiveRule(Rule("/", query=("page", "size")))
    assert [active.query_of(query) for _ in range(2)] == [part, part]
    assert ActiveRule(Rule("/")).query_of(query) == query


@given(st.binary(max_size=60))
def test_any_query_is_read(query: bytes) -> None:
    """Any bytes are a query, and its part is its own part."""
    active = ActiveRule(Rule("/", query=("a",)))
    part = active.query_of(query)
    assert active.query_of(part) == part


def test_learning_is_bounded() -> None:
    """A rule learns request fields up to a bound, and keeps those that it has."""
    active = ActiveRule(Rule("/", vary=("Accept-Language",)))
    assert active.learn([b"x-a"])
    assert active.vary == (b"accept-language", b"x-a")
    assert not active.learn([b"x-%d" % number for number in range(10)])
    assert active.vary == (b"accept-language", b"x-a")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"path": "products"}, "begin with /"),
        ({"path": "/{id:number}"}, "{id:number}"),
        ({"path": "/{id}/{id}"}, "once"),
        ({"path": "/{id"}, "brace"),
        ({"path": "/id}"}, "brace"),
        ({"path": "/", "ttl": -1}, "ttl=-1"),
        ({"path": "/", "ttl": float("nan")}, "ttl=nan"),
        ({"path": "/", "stale": float("inf")}, "stale=inf"),
        ({"path": "/", "override": True}, "ttl="),
        ({"path": "/", "methods": ("POST",)}, "GET"),
        ({"path": "/", "methods": "GET"}, "GET"),
        ({"path": "/", "methods": ("HEAD",)}, "GET"),
        ({"path": "/", "methods": ()}, "GET"),
        ({"path": "/", "vary": "accept"}, "vary="),
        ({"path": "/", "vary": ("a b",)}, "vary="),
        ({"path": "/", "query": "page"}, "query="),
        ({"path": "/", "tag_header": "cache tag"}, "tag_header="),
        ({"path": "/", "tag_header": ""}, "tag_header="),
        ({"path": "/", "send_tags": True}, "tag_header="),
        ({"path": "/", "tags": "product"}, "tuple"),
        ({"path": "/{id}", "tags": ("p:{name}",)}, "name"),
        ({"path": "/{id}", "tags": ("p:{",)}, "p:{"),
        ({"path": "/{id}", "tags": ("a b",)}, "spaces"),
    ],
)
def test_wrong_rules(arguments: dict[str, Any], word: str) -> None:
    """A rule that cannot work is refused with its path and what to do."""
    with pytest.raises(ConfigurationError) as refusal:
        Rule(**arguments)
    assert str(refusal.value).startswith(f"Rule {arguments['path']}: ")
    assert word in str(refusal.value)
