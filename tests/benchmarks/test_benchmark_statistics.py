import pytest

from benchmarks._statistics import Samples, Summary, summarise
from tests.benchmarks.samples import samples_of


def test_summary_is_median_and_quartiles() -> None:
    """A summary gives the median and the quartiles of all rounds."""
    assert summarise([5.0, 1.0, 4.0, 2.0, 3.0]) == Summary(median=3.0, low=2.0, high=4.0, rounds=5)


def test_summary_of_one_round_has_no_spread() -> None:
    """One round is its own median and quartiles."""
    assert summarise([7.0]) == Summary(median=7.0, low=7.0, high=7.0, rounds=1)


def test_ratio_is_taken_in_each_round() -> None:
    """The median of the ratios per round is reported, not the ratio of two medians."""
    samples = samples_of(ours=[10.0, 2.0, 3.0], peer=[10.0, 1.0, 2.0])
    ratio = samples.ratio("ours", "peer", "case cpu")
    assert ratio is not None
    assert ratio.median == 1.5  # of 1, 2, 1.5; the medians' ratio is also 1.5
    slow_round = samples_of(ours=[1.0, 40.0, 4.0], peer=[1.0, 20.0, 8.0])
    ratio = slow_round.ratio("ours", "peer", "case cpu")
    assert ratio is not None
    assert ratio.median == 1.0  # of 1, 2, 0.5; the medians' ratio is 0.5
    assert (ratio.low, ratio.high) == (0.75, 1.5)


def test_ratio_uses_rounds_that_both_have() -> None:
    """A round that one side lacks, or where the peer measured nothing, gives no ratio."""
    samples = Samples()
    for number, ours, peer in [(0, 2.0, 1.0), (1, 9.0, 0.0)]:
        samples.add(number, "ours", "case cpu", ours)
        samples.add(number, "peer", "case cpu", peer)
    samples.add(2, "ours", "case cpu", 100.0)
    assert samples.ratio("ours", "peer", "case cpu") == Summary(2.0, 2.0, 2.0, 1)


@pytest.mark.parametrize("pair", [("ours", "absent"), ("absent", "ours")])
def test_unmeasured_has_no_ratio(pair: tuple[str, str]) -> None:
    """A subject that did not run has neither summary nor ratio."""
    samples = samples_of(ours=[1.0])
    assert samples.ratio(*pair, "case cpu") is None
    assert samples.summary("absent", "case cpu") is None
