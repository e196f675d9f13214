"""How much a request matters where there is little room."""

from enum import IntEnum


class Priority(IntEnum):
    """How much a request matters: the lower ones have a part of the limit each, so that the higher ones find room."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


SHARES = (0.7, 0.9, 1.0)
"""Of a limit, by priority."""
