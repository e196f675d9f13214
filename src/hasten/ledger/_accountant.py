"""Makes the frozen account of a request from its records."""

import inspect
from collections import Counter
from typing import Any

from hasten._core.routes import METHODS, OTHER_METHOD
from hasten.ledger._account import Account, Call, Site
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import RequestRecord, ScopeSummary
from hasten.ledger._shapes import Breakdown, Shapes
from hasten.ledger._sites import OWN, SiteTable

_MOST_TARGET = 512
_MOST_HANDLERS = 4096


class Accountant:
    """Accounts for the requests of one service."""

    def __init__(self, service: str, sites: SiteTable) -> None:
        self._service = service
        self._sites = sites
        self._handlers: dict[int, tuple[Any, int]] = {}  # by id: an app that is mounted may not be hashable
        self._shapes = Shapes()

    def attribute(self, request: RequestRecord, state: LoopState) -> Breakdown:
        """Return where the request's time went: from its start to its last byte, or to its root's last step."""
        return self._shapes.attribute(request, state, self.handler(request.summary.endpoint))

    def account(self, request: RequestRecord, breakdown: Breakdown, endpoint: str) -> Account:
        """Return the account of a request to `endpoint`."""
        summary = request.summary
        sites = self._sites.sites
        lines, timeline = breakdown.lines()
        return Account(
            self._service,
            endpoint,
            _target(summary),
            summary.request_id.decode("latin-1")[:_MOST_TARGET],
            request.status,
            request.started,
            request.end - request.started,
            request.unread,
            lines,
            timeline,
            tuple([Call(sites[site], identity) for site, identity in request.calls]) if request.calls else (),
            self._samples(request),
        )

    def handler(self, endpoint: Any) -> int:
        """Return the site of the endpoint's function when it is `async def`; its own code then runs on the loop."""
        known = self._handlers.get(id(endpoint))
        if known is not None:
            return known[1]
        handler = self._sites.function(endpoint) if inspect.iscoroutinefunction(endpoint) else OWN
        if len(self._handlers) < _MOST_HANDLERS:
            self._handlers[id(endpoint)] = (endpoint, handler)  # kept, so that no other gets its id
        return handler

    def _samples(self, request: RequestRecord) -> tuple[tuple[Site, int], ...]:
        seen = [sample.site for task in request.tasks for sample in task.samples]
        if not seen:
            return ()
        sites = self._sites.sites
        return tuple([(sites[site], times) for site, times in Counter(seen).items()])


def endpoint_of(summary: ScopeSummary) -> str:
    """Return method and route template of a request; the path where no route matched; the name of other work."""
    if summary.work:
        return summary.work
    method = summary.method if summary.method in METHODS else OTHER_METHOD
    return f"{method} {getattr(summary.route, 'path', None) or summary.path}"


def _target(summary: ScopeSummary) -> str:
    query = summary.query.decode("latin-1")
    return (f"{summary.path}?{query}" if query else summary.path)[:_MOST_TARGET]
