"""Rounds that tests are made of."""

from collections.abc import Sequence

from benchmarks._statistics import Samples


def samples_of(**values: Sequence[float]) -> Samples:
    """Return samples with one metric, `case cpu`, from the values per round of each subject."""
    samples = Samples()
    for subject, per_round in values.items():
        for number, value in enumerate(per_round):
            samples.add(number, subject, "case cpu", value)
    return samples
