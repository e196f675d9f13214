"""What a subject's process is asked, and how it answers."""

from typing import Literal

import msgspec

from benchmarks._driven import Answer, Driven

Work = Literal["publish", "consume", "latency"]


class Drive(msgspec.Struct, frozen=True):
    """Order: publish messages and have all of them handled, and measure a part of that.

    Attributes:
      work: What is measured: publishing, with 64 in flight, while nothing is handled; handling what was published; or
        both with one message at a time.
      messages: How many.
    """

    work: Work
    messages: int


WARM_UP = (Drive("latency", 5), Drive("consume", 500))
"""What a subject's process does before it is measured: it joins its group, and runs all code."""


class Moved(Answer, frozen=True):
    """What a drive gave.

    Attributes:
      driven: Of what was measured; its latencies are none when it was handling.
      whole_cpu: CPU seconds of the subject's process for all of it, publishing, fetching and handling.
    """

    driven: Driven = Driven()
    whole_cpu: float = 0.0
