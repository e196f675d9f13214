"""A histogram of durations in bounded memory, exact to 0.4 %, cheap enough for every request.

Buckets are log-linear: each power of two of nanoseconds is cut into equal parts (HdrHistogram's layout, Gil Tene 2012),
128 unless told; only buckets in use are held, 4,736 at most. Pure data: no clock, no lock; one writer at a time.
"""

import math
from collections.abc import Iterable

_LARGEST_NS = (1 << 43) - 1  # 2 h 26 min; longer values count as this


class Histogram:
    """Counts durations in seconds, from 1 ns to 2.4 h; `record` takes about 0.5 µs.

    Args:
      precision: Bits of each value that are kept: 7 errs by 0.4 % at most and holds 4,736 buckets at most, 4 errs by
        3 % and holds 640.
    """

    __slots__ = ("_counts", "_largest_ns", "_precision", "_total_ns", "count")

    def __init__(self, precision: int = 7) -> None:
        self._precision = precision
        self._counts: dict[int, int] = {}
        self._total_ns = 0
        self._largest_ns = 0
        self.count = 0

    def record(self, seconds: float) -> None:
        """Count one duration; negative values count as 0, `inf` and values over 2.4 h as the largest."""
        ns = int(seconds * 1e9) if 0.0 < seconds < 8796.0 else _clamped_ns(seconds)
        precision = self._precision
        shift = ns.bit_length() - precision - 1
        bucket = (shift << precision) + (ns >> shift) if shift > 0 else ns
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        self._total_ns += ns
        if ns > self._largest_ns:
            self._largest_ns = ns

    def merge(self, other: "Histogram") -> None:
        """Add all that `other`, of the same precision, counted."""
        counts, total, largest = other._counts, other._total_ns, other._largest_ns  # noqa: SLF001 - same class
        if other._precision != self._precision:  # noqa: SLF001
            raise ValueError("histograms of different precision cannot be added up")
        for bucket, count in counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self._total_ns += total
        self._largest_ns = max(self._largest_ns, largest)

    @property
    def mean(self) -> float:
        """Arithmetic mean in seconds, exact; 0.0 when empty."""
        return self._total_ns / self.count / 1e9 if self.count else 0.0

    @property
    def largest(self) -> float:
        """Largest recorded duration in seconds, exact; 0.0 when empty."""
        return self._largest_ns / 1e9

    def quantile(self, share: float) -> float:
        """Return the seconds that `share` (0 to 1) of the records do not exceed; 0.0 when empty."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """Return the durations for ascending `shares` in one pass over the buckets; in any thread."""
        recorded = self.count  # before the buckets: `record` counts there first, so they have no fewer
        if not recorded:
            return [0.0 for _ in shares]
        result: list[float] = []
        buckets = iter(sorted(self._counts.items()))
        bucket, seen = 0, 0
        for share in shares:
            rank = max(1, math.ceil(share * recorded))
            while seen < rank:
                bucket, count = next(buckets)
                seen += count
            result.append(min(_middle_ns(bucket, self._precision), self._largest_ns) / 1e9)
        return result


def _clamped_ns(seconds: float) -> int:
    """Return what a duration counts as that no bucket is for; NaN counts as the largest, to be seen."""
    return 0 if seconds <= 0.0 else _LARGEST_NS


def _middle_ns(index: int, precision: int) -> float:
    """Return the middle of bucket `index` in nanoseconds."""
    if index < 2 << precision:
        return float(index)
    shift = (index >> precision) - 1
    low = (index - (shift << precision)) << shift
    return low + (1 << shift) / 2
