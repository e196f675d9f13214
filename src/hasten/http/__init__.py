"""The HTTP edge: a response cache in front of an ASGI app, and the server's protocol that answers from it at once."""

from hasten.http._protocol import HttpProtocol
from hasten.http._response_cache import ResponseCache
from hasten.http._rules import Rule

__all__ = ("HttpProtocol", "ResponseCache", "Rule")
