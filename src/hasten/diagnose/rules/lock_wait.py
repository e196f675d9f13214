"""HS203: requests wait for each other, at a lock, a semaphore or an exhausted connection pool."""

from collections.abc import Iterable, Sequence

from hasten.diagnose._evidence import Column, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Line, Site

SHORTEST_WAIT = 0.001
"""Seconds at the lock from which a request paid: below, it is the hand-over from one task to the next."""

LOCKS = frozenset(
    {
        "asyncio.Lock.acquire",
        "asyncio.Condition.acquire",
        "asyncio.Barrier.wait",
        "anyio.Lock.acquire",
        "trio.Lock.acquire",
    }
)
"""Plain locks. They count where the user's code takes them: below a library they guard its own state, and who
waits there waits for the event loop."""

POOLS = frozenset(
    {
        "asyncio.Semaphore.acquire",
        "asyncio.BoundedSemaphore.acquire",
        "asyncio.Condition.wait",
        "anyio.Semaphore.acquire",
        "anyio.CapacityLimiter.acquire",
        "anyio.CapacityLimiter.acquire_on_behalf_of",
        "anyio.Condition.wait",
        "aiohttp.BaseConnector._wait_for_available_connection",
        "httpcore.AsyncPoolRequest.wait_for_connection",
        "redis.BlockingConnectionPool.get_connection",
        "sqlalchemy.AsyncAdaptedQueue.get",
        "asyncpg.Pool._acquire",
        "psycopg_pool.WaitingClient.wait",
    }
)
"""Functions in which one request waits until another gives back, as a site's library or leaf names them."""

QUEUES = frozenset({"asyncio.Queue.get", "asyncio.Queue.put", "asyncio.LifoQueue.get", "asyncio.PriorityQueue.get"})
"""Queues: most pools (asyncpg, SQLAlchemy) hand out connections by one."""


_PRIMITIVES = frozenset({"", "asyncio", "anyio", "trio"})


class LockWait(Rule):
    """Waiting whose innermost or outermost library function is a lock, a semaphore or a pool's queue."""

    code = "HS203"
    name = "lock-wait"
    fix = "hold it for less (await nothing slow inside it), split it by key, or enlarge the pool to the load"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Only accounts show who waited."""
        return ()

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield one finding for each line and endpoint at which requests waited for each other."""
        for endpoint in evidence.endpoints:
            places: dict[tuple[str, int, str], list[Column]] = {}
            for column in endpoint.columns:
                site = column.line.site
                if site.file and _is_lock(column.line):
                    places.setdefault((site.file, site.line, site.function), []).append(column)
            for columns in places.values():
                found = self._finding(endpoint, columns)
                if found is not None:
                    yield found

    def _finding(self, endpoint: EndpointEvidence, columns: list[Column]) -> Finding | None:
        waits = _waits(columns)
        if not waits:
            return None
        cost, site = endpoint.cost_where(waits), columns[0].line.site
        at = site.leaf if site.leaf in LOCKS | POOLS | QUEUES else site.library
        return finding(
            self,
            endpoint,
            cost,
            (site.file, site.line, site.function),
            title=_title(site),
            proof=f"{cost.hurt} of {len(endpoint.accounts)} requests were suspended in {at} for "
            f"{milliseconds(SHORTEST_WAIT)} or more, {milliseconds(max(waits.values()))} at most",
        )


def _is_lock(line: Line) -> bool:
    if line.kind is not Kind.WAITING:
        return False
    names = {line.site.library, line.site.leaf}
    if not names.isdisjoint(POOLS) or not names.isdisjoint(QUEUES):
        return True
    return not names.isdisjoint(LOCKS) and _package(line.site) in _PRIMITIVES


def _package(site: Site) -> str:
    return site.library.partition(".")[0]


def _waits(columns: Iterable[Column]) -> dict[int, float]:
    waits: dict[int, float] = {}
    for column in columns:
        for position, seconds in zip(column.requests, column.seconds, strict=True):
            waits[position] = waits.get(position, 0.0) + seconds
    return {position: seconds for position, seconds in waits.items() if seconds >= SHORTEST_WAIT}


def _title(site: Site) -> str:
    if _package(site) not in _PRIMITIVES:
        return f"Requests wait for a connection of the {_package(site)} pool"
    if QUEUES & {site.leaf, site.library}:
        return "Requests wait at a queue"
    return "Requests wait for each other at a lock"
