"""From evidence to a finding: which endpoint pays most for a place in the code."""

from collections.abc import Callable, Collection, Iterable, Mapping

from hasten.diagnose._evidence import OWN, Cost, EndpointEvidence, Evidence, Place
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose._rule import Candidate, Rule
from hasten.ledger import Kind, Line, Site

WAITING = frozenset({Kind.WAITING})
NO_VICTIMS: Mapping[str, int] = {}


def payer(
    endpoints: Iterable[EndpointEvidence], cost: Callable[[EndpointEvidence], Cost]
) -> tuple[EndpointEvidence, Cost] | None:
    """Return the endpoint that loses most seconds in all, with its cost; None when no request paid."""
    paid = [(endpoint, cost(endpoint)) for endpoint in endpoints]
    paid = [(endpoint, spent) for endpoint, spent in paid if spent.hurt]
    return max(paid, key=lambda pair: pair[1].seconds * len(pair[0].accounts), default=None)


def visitors(evidence: Evidence, places: Iterable[Place]) -> tuple[EndpointEvidence, ...]:
    """Return the endpoints whose requests went through one of these functions, largest first."""
    found = {id(endpoint) for file, function in places for endpoint in evidence.visits(file, function)}
    return tuple(endpoint for endpoint in evidence.endpoints if id(endpoint) in found)


def went_through(evidence: Evidence, candidate: Candidate) -> tuple[EndpointEvidence, ...]:
    """Return the endpoints seen in the candidate's function; if none was, those in the functions it leads to.

    A function that only awaits others may leave no line of its own.
    """
    direct = evidence.visits(candidate.file, candidate.function)
    return direct or visitors(evidence, places_of(candidate))


def places_of(candidate: Candidate) -> frozenset[Place]:
    """Return the candidate's function and those that run because of it."""
    return frozenset({(candidate.file, candidate.function), *(place for run in candidate.runs for place in run)})


def at(site: Site, place: Place, lines: Collection[int]) -> bool:
    """Tell whether a site is on one of these lines of a function.

    Before Python 3.12 a comprehension is a function of its own: it counts as the one around it.
    """
    function = site.function.removesuffix(".<locals>.<listcomp>").removesuffix(".<locals>.<genexpr>")
    return site.file == place[0] and function == place[1] and site.line in lines


def own_time(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    """Return the loop time on the candidate's lines, as the watchdog's samples or the ends of steps tell."""
    return endpoint.own_time(candidate.file, candidate.function, frozenset(candidate.lines or (candidate.line,)))


def library_cost(
    endpoint: EndpointEvidence,
    places: Collection[Place],
    library: str,
    kinds: Collection[Kind] = OWN | WAITING,
) -> Cost:
    """Return what the calls into one library cost from these functions."""

    def match(line: Line) -> bool:
        site = line.site
        return line.kind in kinds and (site.file, site.function) in places and site.library.startswith(library)

    return endpoint.cost(match)


def calls_per_request(endpoint: EndpointEvidence, match: Callable[[Site], bool]) -> float:
    """Return how many awaited calls at the sites that `match` accepts a request made that made some."""
    made: dict[int, int] = {}
    for site, calls in endpoint.calls.items():
        if match(site):
            for position, _ in calls:
                made[position] = made.get(position, 0) + 1
    return sum(made.values()) / len(made) if made else 0.0


def finding(
    rule: Rule,
    endpoint: EndpointEvidence,
    cost: Cost,
    place: tuple[str, int, str],
    *,
    title: str,
    proof: str,
    victims: Mapping[str, int] = NO_VICTIMS,
    severity: Severity | None = None,
) -> Finding:
    """Return the finding at a place (file, line, function); its severity is the cost's unless given."""
    file, line, function = place
    return Finding(
        code=rule.code,
        title=title,
        severity=severity or cost.severity(victims),
        file=file,
        line=line,
        function=function,
        service=endpoint.service,
        endpoint=endpoint.endpoint,
        share_p99=cost.share_p99,
        share_mean=cost.share_mean,
        seconds=cost.seconds,
        hurt=cost.hurt,
        victims=dict(victims),
        proof=proof,
        fix=rule.fix,
    )


def milliseconds(seconds: float) -> str:
    """Return seconds as text in milliseconds: two digits below 10 ms."""
    return f"{seconds * 1e3:.2g} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"
