"""The drills, each in a file of its own."""

from hasten.drill._drill import Drill
from hasten.drill.drills._overload import OVERLOAD
from hasten.drill.drills._spike import SPIKE

ALL: tuple[Drill, ...] = (OVERLOAD, SPIKE)
"""In the order in which they are run."""

__all__ = ("ALL",)
