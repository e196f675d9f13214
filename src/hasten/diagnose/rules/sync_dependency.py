"""HS202: a `def` dependency takes a thread for every request: two switches, and a queue under load."""

from collections.abc import Iterable, Sequence

from hasten.diagnose import _apis
from hasten.diagnose._calls import executed
from hasten.diagnose._definitions import Function
from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds, payer
from hasten.diagnose._roles import dependencies
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Line

_THREADS = frozenset({Kind.THREAD, Kind.THREAD_QUEUED})


class SyncDependency(Rule):
    """`Depends(function)` on a `def` function of the project; the place is the function's `def`."""

    code = "HS202"
    name = "sync-dependency"
    fix = "make it `async def` if it only computes; if it does I/O, use an async client or cache what it reads"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each sync dependency that this module names."""
        seen: set[Function] = set()
        for _, target in dependencies(module):
            if not target.is_async and target.name not in {"<lambda>", "__init__"} and target not in seen:
                seen.add(target)
                yield self._candidate(target)

    def _candidate(self, target: Function) -> Candidate:
        blocking = next((call.callee for call in executed(target, lambda _: True) if _apis.blocks(call.callee)), "")
        why = f"for {blocking}" if blocking else "though it only computes"
        return Candidate(
            code=self.code,
            file=target.module.file,
            line=target.node.lineno,
            lines=(target.node.lineno,),
            function=target.qualname,
            message=f"dependency {target.name} is sync: it takes a thread for every request {why}",
            callee=target.qualname,
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the dependencies that requests handed to the pool, with their time there."""
        for candidate in candidates:
            place = (candidate.file, candidate.function)

            def match(line: Line, place: tuple[str, str] = place) -> bool:
                return line.kind in _THREADS and (line.site.file, line.site.function) == place

            paid = payer(evidence.visits(*place), lambda endpoint: endpoint.cost(match))
            if paid is None:
                continue
            endpoint, cost = paid
            queued = endpoint.cost(lambda line: line.kind is Kind.THREAD_QUEUED and match(line))
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title="A sync dependency runs in the thread pool",
                proof=f"{cost.hurt} of {len(endpoint.accounts)} requests handed it to the pool: "
                f"{milliseconds(cost.seconds)} a request, {milliseconds(queued.seconds)} of it in the queue",
            )
