"""What waits in each of several response times stands; what does not passes."""

from itertools import repeat

from hasten.resilience._standing_queue import StandingQueue

LIMIT = 100.0  # of which 6 are few, 12 are many, and 8 are a step


def changes(*waiting: float, quiet: bool = False) -> list[float]:
    queue = StandingQueue()
    return [queue.change(each, LIMIT, quiet=quiet) for each in waiting]


def test_a_queue_that_stands() -> None:
    """It is taken away at once, but for what may wait; at least a step."""
    assert changes(50, 40, 60, 70, 80, 90) == [0, 0, 0, 0, 0, -28]
    assert changes(13, 13, 13, 13, 13, 13) == [0, 0, 0, 0, 0, -8]


def test_a_burst() -> None:
    """One response time without it, and it was none that stands."""
    assert changes(50, 50, 50, 50, 50, 11, 50, 50, 50, 50, 50) == [0] * 11


def test_a_queue_that_goes_on_standing() -> None:
    """Each six response times take more away."""
    assert [each for each in changes(*repeat(50, 18)) if each] == [-38] * 3


def test_room() -> None:
    """Few wait once in eight response times: the limit grows, but where half of it is not used."""
    assert changes(50, 50, 5, 50, 50, 50, 50, 11) == [0] * 7 + [8]
    assert changes(50, 50, 5, 50, 50, 50, 50, 11, quiet=True) == [0] * 8


def test_neither() -> None:
    """Between few and many nothing changes."""
    assert changes(*repeat(9, 100)) == [0] * 100
