"""The drills, each in a file of its own."""

from hasten.drill._drill import Drill
from hasten.drill.drills._black_hole import BLACK_HOLE
from hasten.drill.drills._blocked import BLOCKED
from hasten.drill.drills._broker_restart import BROKER_RESTART
from hasten.drill.drills._deadline import DEADLINE
from hasten.drill.drills._disconnects import DISCONNECTS
from hasten.drill.drills._frozen_cache import FROZEN_CACHE
from hasten.drill.drills._hedging import HEDGING
from hasten.drill.drills._hot_key import HOT_KEY
from hasten.drill.drills._overload import OVERLOAD
from hasten.drill.drills._restart import RESTART
from hasten.drill.drills._retries import RETRIES
from hasten.drill.drills._slow_replica import SLOW_REPLICA
from hasten.drill.drills._spike import SPIKE

__all__ = ("ALL",)

ALL: tuple[Drill, ...] = (
    OVERLOAD,
    SPIKE,
    RETRIES,
    HEDGING,
    DEADLINE,
    BLACK_HOLE,
    SLOW_REPLICA,
    HOT_KEY,
    FROZEN_CACHE,
    DISCONNECTS,
    BLOCKED,
    BROKER_RESTART,
    RESTART,
)
"""In the order in which they are run."""
