"""What a metric is: its name, its labels, its bounds."""

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["", "seconds", "bytes", "ratio"]

OTHER = "_other"
"""Value of every label of the series that counts what came after a metric's `most` label sets."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric, as it is recorded, exposed, documented, and drawn.

    Attributes:
      name: As scraped; a counter's ends in `_total`, a histogram's stands before `_bucket`, `_sum` and `_count`.
      kind: What it is.
      unit: Of its values; a part of the name.
      labels: Names of its labels, in the order of their values.
      bounds: Upper bounds of a histogram's buckets, ascending, without infinity; in `unit`.
      most: Label sets that have a series of their own; all further ones are counted together under `OTHER`.
      help: One sentence without a full stop.
    """

    name: str
    kind: Kind
    unit: Unit = ""
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    most: int = 200
    help: str
