"""The check of loads finds the one that is too many, and takes none for it that had a reason."""

import pytest

from hasten.cache import Policy
from tests.cache.history.loads import LINGERS, Loads, Verdict
from tests.cache.history.records import Dropped, Dropping, Loaded, Loading, Record, Unwritten

POLICY = Policy(ttl=10.0, jitter=0.0, lease=60.0)  # a value may be renewed when it is 5 s old
TAG_OF = [0, 0, 1]


def load(
    began: float, ended: float | None = None, *, number: int = 1, leased: tuple[float, float] | None = None
) -> list[Record]:
    """Return what a process writes down of a load of key 1; its lease is asked for a second before it begins."""
    lease = leased or (began - 1.0, began - 0.5)
    begun: list[Record] = [Loading(began, 1, number, began - 2.0, lease, "")]
    return begun if ended is None else [*begun, Loaded(ended, number)]


def drop(earliest: float, latest: float | None = None, **names: int) -> list[Record]:
    """Return what a process writes down of an invalidation of a `key` or a `tag`; one without an end has no answer."""
    keys, tags = (tuple(number for name, number in names.items() if name == kind) for kind in ("key", "tag"))
    begun: list[Record] = [Dropping(earliest, 7, keys, tags)]
    return begun if latest is None else [*begun, Dropped(latest, 7)]


def verdict(**records: list[Record]) -> Verdict:
    """Judge what the processes of these names have written down."""
    together = [(process, record) for process, its in records.items() for record in its]
    return Loads(together, POLICY, TAG_OF).verdict()


def test_one_too_many() -> None:
    """A load that follows another within half of its value's life, or runs beside it, is one too many."""
    for began in (100.5, 101.5, 105.9):
        found = verdict(a=load(100.0, 101.0), b=load(began, began + 1.0))
        assert found.reasons == {"first": 1}
        assert len(found.too_many) == 1


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ({"b": load(106.0)}, "expired"),
        ({"b": load(102.0), "c": drop(101.2, 101.3, key=1)}, "invalidated"),
        # Perhaps just after the first one's lease, or just before the second one's begin:
        ({"b": load(102.0), "c": drop(98.0, 99.0, key=1)}, "invalidated"),
        ({"b": load(102.0), "c": drop(102.0, 103.0, key=1)}, "invalidated"),
        ({"b": load(102.0), "c": drop(101.2, 101.3, tag=0)}, "invalidated"),
        ({"b": load(102.0), "c": drop(101.2 - LINGERS, key=1)}, "invalidated"),  # nobody knows when
        ({"a": [*load(100.0, 101.0), Unwritten(101.1, 1)], "b": load(102.0)}, "unwritten"),
        ({"a": load(100.0), "b": load(159.0)}, "killed"),
        ({"a": load(100.0, 161.0), "b": load(159.5)}, "stood still"),
        ({"b": load(102.0, leased=(41.0, 100.0))}, "stood still"),
    ],
)
def test_reasons(records: dict[str, list[Record]], reason: str) -> None:
    """Each reason counts."""
    found = verdict(**{"a": load(100.0, 101.0), **records})
    assert found.too_many == []
    assert found.reasons == {"first": 1, reason: 1}


@pytest.mark.parametrize(
    "records",
    [
        {"b": load(102.0), "c": drop(97.0, 98.0, key=1)},  # before the first one's lease
        {"b": load(102.0), "c": drop(102.5, 103.0, key=1)},  # after the second one had begun
        {"b": load(102.0), "c": drop(101.2, 101.3, key=0)},
        {"b": load(102.0), "c": drop(101.2, 101.3, tag=1)},
        {"b": load(102.0), "c": drop(98.0 - LINGERS, key=1)},
        {"b": [*load(102.0), Unwritten(101.1, 1)]},  # another load than the one before
        {"a": [*load(100.0, 101.0), Unwritten(101.1, 2)], "b": load(102.0)},
        {"a": load(100.0), "b": load(106.0)},  # it was killed, and its lease is not over
    ],
)
def test_no_reasons(records: dict[str, list[Record]]) -> None:
    """What comes too early or too late, or concerns others, is no reason."""
    found = verdict(**{"a": load(100.0, 101.0), **records})
    assert found.reasons == {"first": 1}
    assert len(found.too_many) == 1


def test_an_invalidation_is_the_reason_once() -> None:
    """Of two loads after one invalidation the second is one too many."""
    found = verdict(a=load(100.0, 101.0), b=load(102.5, 102.6), c=load(104.5, 104.6), d=drop(101.1, 101.2, key=1))
    assert found.reasons == {"first": 1, "invalidated": 1}
    assert len(found.too_many) == 1


def test_leases_that_may_have_been_given_in_the_other_order() -> None:
    """An invalidation between two loads counts, whichever of them was the first."""
    early, late = load(102.0, 102.1, leased=(100.0, 101.9)), load(101.0, 101.1, leased=(100.5, 100.6))
    assert verdict(a=early, b=late, c=drop(101.5, 101.6, key=1)).too_many == []


@pytest.mark.parametrize(
    ("why", "asked", "right"),
    [("open", 99.0, True), ("pending", 99.0, True), ("waited", 40.0, True), ("waited", 99.0, False)],
)
def test_loads_without_a_lease(why: str, asked: float, *, right: bool) -> None:
    """They are right while the second tier is ill, or when the lease was waited for; they excuse no other load."""
    alone: list[Record] = [Loading(100.0, 1, 1, asked, None, why), Loaded(100.1, 1)]
    found = verdict(a=load(100.0, 101.0), b=alone)
    assert found.reasons == ({"first": 1, "without": 1} if right else {"first": 1})
    assert len(found.too_many) == (not right)
    assert len(verdict(a=load(100.0, 101.0), b=alone, c=load(102.0)).too_many) == 1 + (not right)
