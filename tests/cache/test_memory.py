"""The in-process tier against a plain model of SIEVE, and its bounds."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hasten._core.errors import ConfigurationError
from hasten.cache._entry import Entry
from hasten.cache._memory import Memory, estimated_size


class Holder:
    """The part of a region that the memory uses."""

    def __init__(self) -> None:
        self.entries: dict[Any, Entry[Any]] = {}
        self.by_text: dict[str, Entry[Any]] = {}


def entry_of(holder: Holder, key: object, value: object = None, text: str = "") -> Entry[Any]:
    made: Entry[Any] = Entry(holder, key, value)  # type: ignore[arg-type]
    made.text = text
    return made


class Sieve(RuleBasedStateMachine):
    """A memory of four entries and a list that is searched as the paper's figure says, under the same calls."""

    MOST = 4

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(max_entries=self.MOST)
        self.holders = [Holder(), Holder()]
        self.model: list[tuple[int, int]] = []  # oldest first
        self.visited: set[tuple[int, int]] = set()
        self.hand: tuple[int, int] | None = None

    @rule(region=st.integers(0, 1), key=st.integers(0, 6))
    def add(self, region: int, key: int) -> None:
        name = region, key
        self.forget(name)
        while len(self.model) >= self.MOST:
            self.evict()
        self.model.append(name)
        self.memory.add(entry_of(self.holders[region], key, name, f"{region}:{key}"))

    @rule(region=st.integers(0, 1), key=st.integers(0, 6))
    def read(self, region: int, key: int) -> None:
        entry = self.holders[region].entries.get(key)
        assert (entry is not None) == ((region, key) in self.model)
        if entry is not None:
            assert entry.value == (region, key)
            entry.visited = True
            self.visited.add((region, key))

    @rule(region=st.integers(0, 1), key=st.integers(0, 6))
    def remove(self, region: int, key: int) -> None:
        entry = self.holders[region].entries.get(key)
        if entry is not None:
            self.memory.remove(entry)
            self.forget((region, key))

    @rule()
    def clear(self) -> None:
        self.memory.clear()
        self.model.clear()
        self.visited.clear()
        self.hand = None

    def forget(self, name: tuple[int, int]) -> None:
        if name in self.model:
            if self.hand == name:
                self.hand = self.newer(name)
            self.model.remove(name)
            self.visited.discard(name)

    def newer(self, name: tuple[int, int]) -> tuple[int, int] | None:
        place = self.model.index(name) + 1
        return self.model[place] if place < len(self.model) else None

    def evict(self) -> None:
        name = self.hand or self.model[0]
        while name in self.visited:
            self.visited.discard(name)
            name = self.newer(name) or self.model[0]
        self.hand = name
        self.forget(name)

    @invariant()
    def same_entries(self) -> None:
        """Order, sizes and both indexes agree with the model."""
        assert [entry.value for entry in self.memory] == self.model[::-1]
        assert len(self.memory) == len(self.model)
        for number, holder in enumerate(self.holders):
            kept = {key for region, key in self.model if region == number}
            assert holder.entries.keys() == kept
            assert holder.by_text.keys() == {f"{number}:{key}" for key in kept}


TestSieve = Sieve.TestCase
TestSieve.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_what_is_read_survives_a_scan() -> None:
    """Ten keys that are read now and then stay, while a thousand that are read once pass through."""
    memory, holder = Memory(max_entries=20), Holder()
    for number in range(10):
        memory.add(entry_of(holder, f"hot {number}"))
    for number in range(1000):
        memory.add(entry_of(holder, number))
        holder.entries[f"hot {number % 10}"].visited = True
    assert {f"hot {number}" for number in range(10)} <= holder.entries.keys()
    assert len(memory) == 20
    assert memory.evicted == 990


def test_bytes_are_bounded() -> None:
    """The values together never take more than `max_bytes`, and one that alone does is not kept."""
    memory, holder = Memory(max_bytes=1000, size_of=len), Holder()
    for number in range(100):
        assert memory.add(entry_of(holder, number, bytes(90 + number)))
        assert memory.size_bytes == sum(len(entry.value) for entry in memory) <= 1000
    assert not memory.add(entry_of(holder, 99, bytes(1001)))
    assert 99 not in holder.entries
    memory.clear()
    assert memory.size_bytes == 0


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_entries": -1}])
def test_bounds_that_are_too_low(bounds: dict[str, Any]) -> None:
    """Bounds below the least are refused."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        Memory(**bounds)


def test_estimates() -> None:
    """An estimate counts what a value holds, cycles and large values take no longer than a thousand parts."""
    assert estimated_size(["x" * 1000] * 3) > 3000
    assert estimated_size({"a": {"b": bytes(5000)}}) > 5000
    cycle: list[Any] = []
    cycle.append(cycle)
    assert estimated_size(cycle) > 0
    assert estimated_size(list(range(1_000_000))) > 1_000_000
