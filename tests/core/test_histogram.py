"""The histogram against the sorted list of what it was given."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.histogram import Histogram

DURATIONS = st.lists(st.floats(min_value=1e-9, max_value=8000.0), min_size=1, max_size=300)
SHARES = (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0)
LARGEST = ((1 << 43) - 1) / 1e9


def histogram_of(durations: list[float]) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    return histogram


def exact(durations: list[float], share: float) -> float:
    """Return the smallest of `durations` that at least `share` of them do not exceed."""
    return sorted(durations)[max(1, math.ceil(share * len(durations))) - 1]


@given(DURATIONS)
def test_quantiles_against_the_sorted_list(durations: list[float]) -> None:
    """Every quantile lies within 0.8 % of the exact one, whole nanoseconds being the finest step."""
    found = histogram_of(durations).quantiles(SHARES)
    for share, quantile in zip(SHARES, found, strict=True):
        assert quantile == pytest.approx(exact(durations, share), rel=0.008, abs=1.1e-9)


@given(DURATIONS)
def test_mean_and_largest_are_exact(durations: list[float]) -> None:
    """Mean and largest are those of the list, to the nanosecond, and no quantile exceeds the largest."""
    histogram = histogram_of(durations)
    assert histogram.count == len(durations)
    assert histogram.mean == pytest.approx(math.fsum(durations) / len(durations), abs=1.1e-9)
    assert histogram.largest == pytest.approx(max(durations), abs=1.1e-9)
    assert histogram.quantile(1.0) <= histogram.largest


@given(DURATIONS, DURATIONS)
def test_merge_equals_recording_all(first: list[float], second: list[float]) -> None:
    """Two merged histograms say what one that recorded everything says."""
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    together = histogram_of(first + second)
    assert merged.quantiles(SHARES) == together.quantiles(SHARES)
    assert (merged.count, merged.mean, merged.largest) == (together.count, together.mean, together.largest)


def test_quantiles_while_another_thread_records() -> None:
    """What is recorded while somebody reads is left for the next reading."""
    histogram = histogram_of([1.0])

    def shares() -> Iterator[float]:
        yield 0.5
        histogram.record(1.0)
        yield 0.99

    assert histogram.quantiles(shares()) == histogram.quantiles((0.5, 0.99))


def test_merge_leaves_the_other_alone() -> None:
    """Merging reads the other histogram and does not tie the two together."""
    first, second = histogram_of([1.0]), histogram_of([2.0])
    first.merge(second)
    first.record(2.0)
    assert (second.count, second.largest) == (1, 2.0)


def test_empty() -> None:
    """Without records everything is 0."""
    empty = Histogram()
    assert (empty.count, empty.mean, empty.largest, empty.quantile(0.99)) == (0, 0.0, 0.0, 0.0)
    assert empty.quantiles(SHARES) == [0.0] * len(SHARES)


@pytest.mark.parametrize(
    ("duration", "counted"),
    [(-1.0, 0.0), (0.0, 0.0), (math.inf, LARGEST), (1e9, LARGEST), (-math.inf, 0.0), (math.nan, LARGEST)],
)
def test_values_out_of_bounds(duration: float, counted: float) -> None:
    """Negative values count as 0, and what is too long, or no number, as the largest: nothing raises."""
    histogram = histogram_of([duration])
    assert (histogram.count, histogram.largest) == (1, counted)
    assert histogram.quantile(0.5) == pytest.approx(counted, rel=0.008)


def test_memory_is_bounded() -> None:
    """However many durations are recorded, no more than 4,736 buckets are held."""
    histogram = Histogram()
    duration = 1e-9
    while duration < 10_000:
        histogram.record(duration)
        duration *= 1.001
    assert len(histogram._counts) <= 4736


@given(st.lists(st.floats(1e-9, 8000.0), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_a_coarse_histogram_errs_by_three_percent_at_most(durations: list[float], share: float) -> None:
    """With 4 bits of precision a quantile lies within 3.2 % (or 1 ns) of the sorted list's."""
    histogram = Histogram(4)
    for duration in durations:
        histogram.record(duration)

    rank = max(1, math.ceil(share * len(durations)))
    exact = sorted(durations)[rank - 1]
    assert abs(histogram.quantile(share) - exact) <= max(0.032 * exact, 1.1e-9)


def test_histograms_of_different_precision_are_not_mixed() -> None:
    """Adding up buckets of other sizes would be wrong, so it is refused."""
    with pytest.raises(ValueError, match="precision"):
        Histogram(7).merge(Histogram(4))
