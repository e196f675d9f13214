"""Makes the frozen account of a request from its attribution and its ASGI scope."""

import inspect
from collections import Counter
from typing import Any

from hasten.ledger._account import Account, Call, Line, Site
from hasten.ledger._attribution import KIND_OF, KINDS, UNREAD, Attribution
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import RequestRecord
from hasten.ledger._sites import OWN, SiteTable

_MOST_TARGET = 512
_MOST_HANDLERS = 4096


class Accountant:
    """Accounts for the requests of one service."""

    def __init__(self, service: str, sites: SiteTable) -> None:
        self._service = service
        self._sites = sites
        self._handlers: dict[Any, int] = {}

    def attribute(self, request: RequestRecord, state: LoopState) -> Attribution:
        """Return where the request's time went: from its start to its last byte, or to its root's last step."""
        scope = request.scope
        attribution = Attribution(request, state, self._handler(scope.get("endpoint")) if scope is not None else OWN)
        attribution.cover(request.started, request.end)
        if request.unread:
            attribution.seconds[request.unread_site * KINDS + UNREAD] = request.unread
            attribution.counts[request.unread_site * KINDS + UNREAD] = 1
        return attribution

    def account(self, request: RequestRecord, attribution: Attribution) -> Account:
        """Return the account of an attributed request."""
        scope = request.scope or {}
        sites = self._sites.sites
        seconds, counts = attribution.seconds, attribution.counts
        keys = sorted(seconds, key=seconds.__getitem__, reverse=True)
        index = {key: number for number, key in enumerate(keys)}
        return Account(
            self._service,
            endpoint_of(scope),
            _target(scope),
            _request_id(scope),
            request.status,
            request.started,
            request.end - request.started,
            request.unread,
            tuple([Line(KIND_OF[key % KINDS], sites[key // KINDS], seconds[key], counts[key] or 1) for key in keys]),
            tuple([(index[key], part) for key, part in attribution.timeline]),
            tuple([Call(sites[site], identity) for site, identity in request.calls]) if request.calls else (),
            self._samples(request),
        )

    def _handler(self, endpoint: Any) -> int:
        """Return the site of the endpoint's function when it is `async def`; its own code then runs on the loop."""
        handler = self._handlers.get(endpoint)
        if handler is None:
            handler = self._sites.function(endpoint) if inspect.iscoroutinefunction(endpoint) else OWN
            if len(self._handlers) < _MOST_HANDLERS:
                self._handlers[endpoint] = handler
        return handler

    def _samples(self, request: RequestRecord) -> tuple[tuple[Site, int], ...]:
        seen = [sample.site for task in request.tasks for sample in task.samples]
        if not seen:
            return ()
        sites = self._sites.sites
        return tuple([(sites[site], times) for site, times in Counter(seen).items()])


def endpoint_of(scope: Any) -> str:
    """Return method and route template of an ASGI scope; the path where no route matched."""
    path = getattr(scope.get("route"), "path", None) or scope.get("path", "")
    return f"{scope.get('method', '')} {path}"


def _target(scope: Any) -> str:
    query = scope.get("query_string", b"")
    path: str = scope.get("path", "")
    return (f"{path}?{query.decode('latin-1')}" if query else path)[:_MOST_TARGET]


def _request_id(scope: Any) -> str:
    for name, value in scope.get("headers", ()):
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text[:_MOST_TARGET]
    return ""
