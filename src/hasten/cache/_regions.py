"""The regions of a cache by their names: what an invalidation goes through.

A region is added when all of it is made: what fails half-way leaves its name to who mends it.
"""

from itertools import count
from typing import TYPE_CHECKING, Any

from hasten._core.errors import ConfigurationError
from hasten.cache._region import Region

if TYPE_CHECKING:
    from hasten.cache._core import Core


def add_region(core: "Core", region: Region[Any], *, replaces: bool = False) -> None:
    """Make a region known under its name.

    Args:
      replaces: It takes the place of the one that has the name. That one is emptied, and goes on under another name,
        so that who still has its function gets no value that was invalidated.
    Raises:
      ConfigurationError: the name is taken.
    """
    old = core.regions.get(region.name)
    if old is not None:
        if not replaces:
            raise ConfigurationError(f"cache region {region.name}", "the name is taken", "give another name=")
        old.drop([*old.entries, *old.flights])
        core.regions[_free_name(core, region.name)] = old
    core.regions[region.name] = region


def _free_name(core: "Core", name: str) -> str:
    names = (f"{name} (replaced {number})" for number in count(1))
    return next(name for name in names if name not in core.regions)
