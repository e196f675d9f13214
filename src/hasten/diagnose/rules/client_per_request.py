"""HS303: a client is made for every request, so every request pays for connections, TLS and a new pool."""

import re
from collections.abc import Iterable, Sequence
from functools import partial

from hasten.diagnose import _apis
from hasten.diagnose._calls import executed
from hasten.diagnose._definitions import CallSite, Function
from hasten.diagnose._evidence import OWN, Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import at, finding, milliseconds, own_time, payer
from hasten.diagnose._roles import is_cached, is_startup, keeps, per_request
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Line

_CONNECTING = re.compile(r"connect|handshake|start_tls|getaddrinfo|create_connection", re.IGNORECASE)


class ClientPerRequest(Rule):
    """A known client's constructor in code that runs for each request, its result not kept anywhere."""

    code = "HS303"
    name = "client-per-request"
    fix = "make one client when the app starts (lifespan), close it when it stops, and pass it to the endpoints"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each construction."""
        seen: set[tuple[str, int]] = set()
        for function in module.functions:
            if not per_request(function):
                continue
            for call in executed(function, _may_construct):
                place = (call.function.module.file, call.line)
                if call.callee in _apis.CLIENTS and not _lasts(call) and place not in seen:
                    seen.add(place)
                    yield self._candidate(call)

    def _candidate(self, call: CallSite) -> Candidate:
        return Candidate(
            code=self.code,
            file=call.function.module.file,
            line=call.line,
            lines=tuple(range(call.node.lineno, (call.node.end_lineno or call.node.lineno) + 1)),
            function=call.function.qualname,
            message=f"{call.callee} is made for every request: new connections each time",
            callee=call.callee,
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the constructions that requests went through, with the time to make and connect a client."""
        for candidate in candidates:
            paid = payer(
                evidence.visits(candidate.file, candidate.function),
                partial(_cost, candidate=candidate),
            )
            if paid is None:
                continue
            endpoint, cost = paid
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title=f"{candidate.callee} is made for every request",
                proof=f"{cost.hurt} of {len(endpoint.accounts)} requests made and connected one, "
                f"{milliseconds(cost.seconds)} a request",
            )


def _may_construct(target: Function) -> bool:
    return not is_cached(target) and not is_startup(target)


def _lasts(call: CallSite) -> bool:
    """Tell whether the client outlives the request: stored, made once, or made when the process starts."""
    function = call.function
    return keeps(function, call.node) or is_cached(function) or is_startup(function)


def _cost(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    """Return the loop time in making the client and the waits to connect it, of requests that made one."""
    place = (candidate.file, candidate.function)

    def connects(line: Line) -> bool:
        site = line.site
        if (site.file, site.function) != place or line.kind is not Kind.WAITING:
            return False
        return bool(_CONNECTING.search(site.leaf)) or at(site, place, candidate.lines)

    waited = endpoint.cost(connects)
    made = own_time(endpoint, candidate)
    own = endpoint.cost(lambda line: line.kind in OWN and (line.site.file, line.site.function) == place)
    return Cost(
        seconds=made.seconds + waited.seconds,
        share_mean=made.share_mean + waited.share_mean,
        share_p99=made.share_p99 + waited.share_p99,
        hurt=max(made.hurt, waited.hurt, own.hurt),
        count=1.0,
    )
