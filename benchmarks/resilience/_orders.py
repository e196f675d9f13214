"""What the children are asked, and how they answer beside `Driven`."""

import msgspec

from benchmarks._driven import Answer


class Calls(msgspec.Struct, frozen=True, tag=True):
    """Order: call what is guarded, and what is not, in so many stretches each."""

    case: str
    stretches: int


class Called(Answer, frozen=True):
    """CPU seconds of a call, in the cheapest stretch.

    Attributes:
      cpu: Of what is guarded.
      bare: Of the same without a guard.
    """

    cpu: float = 0.0
    bare: float = 0.0


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Order: ask the server at `host:port` as fast as answers come.

    Attributes:
      pid: Of the server.
      seconds: How long, after `warm_up` seconds that are not measured.
      refused: Each answer is to be a refusal.
    """

    address: str
    pid: int
    seconds: float
    warm_up: float = 0.0
    refused: bool = False
