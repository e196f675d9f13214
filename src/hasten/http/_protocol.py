"""uvicorn's HTTP/1.1 protocol over httptools, with one more way to answer: a whole response by one write.

uvicorn's `send` takes a response in two messages, looks at each of its fields, and writes twice. Who has a response
ready, with nothing to look at, hands it to the request's `Cycle`, if no layer in between has a `send` of its own:

    HttpProtocol      a connection; uvicorn's, but for the class of its requests
    Cycle             a request with its response; uvicorn's, and `send_whole`

Everything else is uvicorn's own code, and tests compare what both write, byte for byte.
"""

import logging
from types import FunctionType
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_CLOSE = (b"connection", b"close")
_ENDS_BY_FIELD = "should_keep_alive" not in HttpToolsProtocol.on_headers_complete.__code__.co_names
"""Before 0.53 uvicorn looks for `_CLOSE` among a request's fields to learn that its connection ends."""
_JOINED_BYTES = 65536
"""A longer body is written by itself. One write saves 5 µs of 20, and a copy of that much costs as much (uvloop)."""


class Cycle(RequestResponseCycle):
    """A request and its response."""

    def send_whole(self, head: bytes, body: bytes) -> bool:
        """Write a whole response, as the two messages of one would be, at a fifth of the cost.

        Args:
          head: Status line, fields and empty line: `default_headers` before the other fields, all in lower case and fit
            to be sent, the right Content-Length among them (or a status that has no body), no Connection and no
            Transfer-Encoding.
        Returns:
          False where nothing was written, since `send` has more to do: end the connection, wait for a slow client, log
          the access, or refuse a second response.
        """
        if self.response_started or self.flow.write_paused or not self.keep_alive:
            return False
        if _ENDS_BY_FIELD and _CLOSE in self.scope["headers"]:
            return False
        if self.access_log and self.access_logger.isEnabledFor(logging.INFO):
            return False
        if self.disconnected:
            return True  # nobody is there to write to
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.scope["method"] == "HEAD":
            body = b""
        if len(body) <= _JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True


def _with_cycle(method: Any, cycle: type[RequestResponseCycle]) -> Any:
    """Return uvicorn's method, that it may find another class under the name by which it makes requests.

    uvicorn has no other place to say so. Were it to change the name, requests would be its own again, and answered by
    messages.
    """
    named = {**method.__globals__, RequestResponseCycle.__name__: cycle}
    return FunctionType(method.__code__, named, method.__name__, method.__defaults__, method.__closure__)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, by which the response cache answers at once: `uvicorn.run(app, http=HttpProtocol)`.

    `hasten run` has it by itself; uvicorn's command takes `--http hasten.http:HttpProtocol`. A hit costs less than an
    app that has its answer ready, where no layer outside of the response cache looks at responses, and the access log
    is off.
    """

    on_headers_complete = _with_cycle(HttpToolsProtocol.on_headers_complete, Cycle)
