"""The drills, each in a file of its own."""

from hasten.drill._drill import Drill
from hasten.drill.drills._blocked import BLOCKED
from hasten.drill.drills._disconnects import DISCONNECTS
from hasten.drill.drills._overload import OVERLOAD
from hasten.drill.drills._restart import RESTART
from hasten.drill.drills._spike import SPIKE

__all__ = ("ALL",)

ALL: tuple[Drill, ...] = (OVERLOAD, SPIKE, DISCONNECTS, BLOCKED, RESTART)
"""In the order in which they are run."""
