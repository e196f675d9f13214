"""What the children are asked, and how they answer beside `Driven`."""

from typing import Literal

import msgspec

from benchmarks._driven import Answer

Kind = Literal["hit", "miss", "set"]


class Calls(msgspec.Struct, frozen=True, tag=True):
    """Order: do one kind of operation for so many seconds of CPU, over and over."""

    kind: Kind
    seconds: float


class Follow(msgspec.Struct, frozen=True, tag=True):
    """Order: fill a new cache by one of `_work.TRACES`."""

    trace: str
    seed: int


class Drive(msgspec.Struct, frozen=True, tag=True):
    """Order: read through the second tier.

    Attributes:
      in_flight: How many at once.
      seconds: How long, after `warm_up` seconds that are not measured.
    """

    in_flight: int
    seconds: float
    warm_up: float = 0.0


class Figure(Answer, frozen=True):
    """Of `Calls`: CPU seconds of one operation. Of `Follow`: the share of accesses that were hits."""

    value: float = 0.0
