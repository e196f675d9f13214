"""HS306: services talk to each other through httpx, which takes 8 to 9 times the CPU of a lean client."""

from collections.abc import Iterable, Sequence
from functools import partial

from hasten.diagnose._definitions import CallSite
from hasten.diagnose._evidence import OWN, Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._flow import called_name
from hasten.diagnose._proof import at, calls_per_request, finding, library_cost, milliseconds, payer
from hasten.diagnose._roles import per_request
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind

CLIENT = "httpx.AsyncClient"
_CALLS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "send", "stream"})


class HttpxBetweenServices(Rule):
    """Functions that call another service with httpx.AsyncClient while a request waits."""

    code = "HS306"
    name = "httpx-between-services"
    fix = "call services you own over gRPC, or with a leaner HTTP client such as aiohttp"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each function, at its first call."""
        for function in module.functions:
            calls = [call for call in function.calls if _is_call(call)]
            if calls and per_request(function):
                lines = {line for call in calls for line in range(call.node.lineno, (call.node.end_lineno or 0) + 1)}
                yield Candidate(
                    code=self.code,
                    file=module.file,
                    line=calls[0].line,
                    lines=tuple(sorted(lines)),
                    function=function.qualname,
                    message="httpx takes 8 to 9 times the CPU of a lean client",
                    callee=calls[0].callee,
                )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the functions in which requests waited for httpx, with the loop time it took."""
        for candidate in candidates:
            place = (candidate.file, candidate.function)
            visits = [
                endpoint
                for endpoint in evidence.visits(*place)
                if library_cost(endpoint, {place}, "httpx.", {Kind.WAITING}).hurt
            ]
            paid = payer(visits, partial(_cost, candidate=candidate))
            if paid is None:
                continue
            endpoint, cost = paid
            waits = library_cost(endpoint, {place}, "httpx.", {Kind.WAITING})
            calls = calls_per_request(endpoint, partial(at, place=place, lines=candidate.lines))
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title="httpx between services",
                proof=f"{calls:.1f} calls a request took {milliseconds(cost.seconds)} of the loop's "
                f"time, beside {milliseconds(waits.seconds)} of waiting",
            )


def _is_call(call: CallSite) -> bool:
    return call.callee.rpartition(".")[0] == CLIENT and called_name(call) in _CALLS


def _cost(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    """Return the loop time of steps that ended, or were seen, on the lines of the function's calls."""
    place = (candidate.file, candidate.function)
    return endpoint.cost(lambda line: line.kind in OWN and at(line.site, place, candidate.lines))
