"""Fault drills: each promise with its number, measured on a service while something is wrong with it.

A `Drill` starts what it needs on a `Stage`, breaks something, and returns `Measure`s: a promise, the number that is
asked, and the number that was measured, mostly with a peer's beside it. The drills stand in `drills/`, one file each,
and what they start in `subjects/`.
"""

from hasten.drill._drill import Drill, Impossible
from hasten.drill._result import DrillResult, Measure
from hasten.drill._run import run_drills
from hasten.drill._stage import Stage

__all__ = ("Drill", "DrillResult", "Impossible", "Measure", "Stage", "run_drills")
