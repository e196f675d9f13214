"""The HTTP edge: a response cache in front of an ASGI app."""

from hasten.http._response_cache import ResponseCache
from hasten.http._rules import Rule

__all__ = ("ResponseCache", "Rule")
