"""When requests are due: the open model's schedule, fixed before anything is sent, the same for a seed."""

import random
from collections.abc import Iterator
from itertools import count
from typing import Literal

Arrivals = Literal["poisson", "constant"]


def arrival_times(rate: float, seconds: float, *, arrivals: Arrivals = "poisson", seed: int = 1) -> Iterator[float]:
    """Yield the intended send times, as seconds from the start, ascending and below `seconds`.

    Args:
      rate: Requests per second.
      seconds: Length of the schedule, warm-up included.
      arrivals: "poisson" for independent users (exponential gaps, mean 1/rate), "constant" for equal gaps.
      seed: The same seed gives the same times on every Python version and machine.
    """
    due = 0.0
    gap = random.Random(f"{seed}:arrivals").expovariate
    for number in count():
        due = due + gap(rate) if arrivals == "poisson" else number / rate
        if due >= seconds:
            return
        yield due
