"""What makes a batch: size, time, and in ordered groups one key at a time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from hasten.events import Batch, Delivery, Envelope
from hasten.events._batching import Gathering

WAIT = 5.0


def a_delivery(number: int, key: str = "", *, returned: int = 0, attempt: int = 1) -> Delivery:
    envelope = Envelope(topic="t", body=b"", content_type="", id=str(number), key=key, attempt=attempt)
    return Delivery(envelope, returned, number)


def test_nothing_is_due() -> None:
    """An empty one has no batch, and wants no timer."""
    gathering = Gathering(Batch(3, WAIT), ordered=False)
    assert gathering.take(100.0) == []
    assert gathering.due_at() == math.inf


def test_size_and_time() -> None:
    """A batch is taken when it is full, or when the first message has waited; that of the rest counts from its own."""
    gathering = Gathering(Batch(3, WAIT), ordered=False)
    for number in range(4):
        gathering.add(a_delivery(number), float(number))
    assert [each.tag for each in gathering.take(3.0)] == [0, 1, 2]
    assert gathering.take(3.0) == []
    assert gathering.due_at() == 3.0 + WAIT
    assert [each.tag for each in gathering.take(8.0)] == [3]


Step = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["", "a", "b", "c"]), st.sampled_from([0, 0, 0, 1])),
    st.tuples(st.just("take"), st.booleans(), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, WAIT]), st.just(0)),
)


@given(st.lists(Step, max_size=60), st.booleans(), st.integers(1, 4))
def test_any_history(steps: list[tuple[str, object, int]], ordered: bool, most: int) -> None:  # noqa: FBT001
    """Each message is taken once, none is left; batches are small enough, suspects alone, keys apart and in order."""
    gathering = Gathering(Batch(most, WAIT), ordered=ordered)
    now, added = 0.0, list[Delivery]()
    under_way, taken = list[list[Delivery]](), list[Delivery]()

    def take(*, waits: bool) -> bool:
        batch = gathering.take(now, waits=waits)
        assert len(batch) <= most
        assert len(batch) <= 1 or not any(each.returned for each in batch)
        if ordered:
            busy = {each.envelope.key for other in under_way for each in other} - {""}
            assert busy.isdisjoint(each.envelope.key for each in batch)
        if batch:
            under_way.append(batch)
            taken.extend(batch)
        return bool(batch)

    for what, value, returned in steps:
        if what == "add":
            added.append(a_delivery(len(added), str(value), returned=returned))
            gathering.add(added[-1], now)
        elif what == "take":
            take(waits=bool(value))
        elif what == "end" and under_way:
            gathering.ended(under_way.pop(int(str(value)) % len(under_way)))
        elif what == "wait":
            now += float(str(value))
        free = {each.envelope.key for each in added if each not in taken}
        if ordered:
            free -= {each.envelope.key for other in under_way for each in other if each.envelope.key}
        assert (gathering.due_at() < math.inf) == bool(free)
        assert gathering.due_at() <= now + WAIT or not free
    while len(taken) < len(added):
        while take(waits=False):
            pass
        for batch in under_way:
            gathering.ended(batch)
        under_way.clear()
    assert sorted(each.tag for each in taken) == list(range(len(added)))
    for key in "abc" if ordered else "":
        in_order = [each.tag for each in taken if each.envelope.key == key]
        assert in_order == sorted(in_order)
    assert gathering.due_at() == math.inf
