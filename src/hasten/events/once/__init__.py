"""Where a group remembers what it has handled: memory, Redis (`hasten.events.once.redis`), a table of its database."""

from hasten.events.once.memory import MemoryOnce
from hasten.events.once.sql import SqlOnce

__all__ = ("MemoryOnce", "SqlOnce")
