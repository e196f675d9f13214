"""HS101: a call that waits without `await` holds the event loop, and every other request with it."""

import ast
from collections.abc import Iterable, Iterator, Sequence

from hasten.diagnose import _apis
from hasten.diagnose._calls import executed
from hasten.diagnose._definitions import CallSite, Function
from hasten.diagnose._evidence import Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import at, finding, milliseconds, own_time, payer
from hasten.diagnose._roles import is_cached, is_startup, per_request
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Site

LEAST_SHARE = 0.005
"""Share of an endpoint's mean or p99 from which a call counts when no other endpoint waited for it."""


class BlockingCall(Rule):
    """Known blocking calls in `async def`, or in sync functions of the project that async ones call."""

    code = "HS101"
    name = "blocking-call"
    fix = "await an async client instead, or hand the call to a thread: await asyncio.to_thread(function, ...)"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each line that blocks; a helper's line may lie in another file."""
        found: dict[tuple[str, int], Candidate] = {}
        for function in module.functions:
            if function.is_async and not is_startup(function) and per_request(function):
                for call in _blocking_calls(function):
                    found.setdefault((call.function.module.file, call.line), self._candidate(call, function))
        yield from found.values()

    def _candidate(self, call: CallSite, caller: Function) -> Candidate:
        computes = call.callee in _apis.COMPUTING_CALLS
        what = "computes for long on" if computes else "blocks"
        by = "" if call.function is caller else f", called by async {caller.name}"
        return Candidate(
            code=self.code,
            file=call.function.module.file,
            line=call.line,
            lines=tuple(range(call.node.lineno, (call.node.end_lineno or call.node.lineno) + 1)),
            function=call.function.qualname,
            message=f"{call.callee} {what} the event loop{by}",
            callee=call.callee,
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield one finding for each function and library: several calls of one client are one cause."""
        causes: dict[tuple[str, str, str], list[Candidate]] = {}
        for candidate in candidates:
            library = candidate.callee.partition(".")[0]
            causes.setdefault((candidate.file, candidate.function, library), []).append(candidate)
        for cause in causes.values():
            yield from self._proven(evidence, cause)

    def _proven(self, evidence: Evidence, cause: list[Candidate]) -> Iterator[Finding]:
        first = cause[0]
        paid = payer(evidence.visits(first.file, first.function), lambda endpoint: _cost(endpoint, cause))
        if paid is None:
            return
        endpoint, cost = paid
        worst = max(cause, key=lambda candidate: _cost(endpoint, [candidate]).seconds)
        place = (first.file, first.function)

        def holds(site: Site) -> bool:
            return any(at(site, place, candidate.lines) for candidate in cause)

        victims = evidence.victims(holds, endpoint)
        if not victims and max(cost.share_mean, cost.share_p99) < LEAST_SHARE:
            return
        yield finding(
            self,
            endpoint,
            cost,
            (worst.file, worst.line, worst.function),
            title=f"{worst.callee} blocks the event loop",
            proof=f"{cost.hurt} of {len(endpoint.accounts)} requests held the loop in {worst.function}, "
            f"{milliseconds(cost.seconds)} a request; its samples or the idle thread show the call",
            victims=victims,
        )


def _blocking_calls(function: Function) -> Iterator[CallSite]:
    """Yield the calls that block; of a chain, `db.execute(...).fetchall()`, the first: it does the work."""
    calls = [call for call in executed(function, _runs_here) if _blocks(call)]
    nodes = {id(call.node) for call in calls}
    for call in calls:
        inside = ast.walk(call.node.func)
        if not any(id(node) in nodes for node in inside):
            yield call


def _runs_here(target: Function) -> bool:
    return not target.is_async and not is_cached(target)


def _blocks(call: CallSite) -> bool:
    if call.target is not None or not _apis.blocks(call.callee):
        return False
    # `lock.acquire(blocking=False)`, `queue.get(block=False)`, `future.result(timeout=0)` return at once.
    given = {keyword.arg: keyword.value for keyword in call.node.keywords}
    first = call.node.args[0] if call.node.args and call.callee.startswith("threading.") else None
    values = [first, given.get("blocking"), given.get("block"), given.get("timeout")]
    return not any(getattr(value, "value", None) in (False, 0) for value in values if value is not None)


def _cost(endpoint: EndpointEvidence, cause: Sequence[Candidate]) -> Cost:
    """Return the loop time that samples put on the calls' lines; without any, the time the thread slept."""
    place = (cause[0].file, cause[0].function)
    lines = frozenset(line for candidate in cause for line in candidate.lines)
    if endpoint.samples.get(place):
        return own_time(
            endpoint,
            Candidate(code="", file=place[0], function=place[1], line=0, lines=tuple(lines), message=""),
        )

    def slept(kind: Kind, site: Site) -> bool:
        return kind is Kind.BLOCKING and (site.file, site.function) == place

    return endpoint.cost(lambda line: slept(line.kind, line.site))
