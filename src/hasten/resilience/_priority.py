"""How much a request matters where there is little room."""

from enum import IntEnum


class Priority(IntEnum):
    """How much a request matters: the lower ones have a part of the limit, the highest a little more than it."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


SHARES = (0.5, 0.9, 1.25)
"""Of a limit, by priority. A spike of 12 times the capacity in low priority: with 0.7 for it and 1.0 for the high one 8
to 14 % of that were refused (`hasten drill spike`, at 0.3 of the capacity), with these 0 of 2,500.
"""
