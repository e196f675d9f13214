"""The HTTP edge: what bounds the requests of an ASGI app, a response cache in front of it, and the server's protocol.

`Edge` gives each request a deadline, ends what nobody waits for any more, and refuses what there is no room for.
`ResponseCache` answers what it has. Both work under any ASGI server, and cost least under `HttpProtocol`.
"""

from hasten.http._edge import Edge
from hasten.http._gate import EdgeRule
from hasten.http._protocol import HttpProtocol
from hasten.http._response_cache import ResponseCache
from hasten.http._rules import Rule

__all__ = ("Edge", "EdgeRule", "HttpProtocol", "ResponseCache", "Rule")
