"""Profiles that the tests of files, tables and graphs look at."""

from hypothesis import strategies as st

from hasten.ledger import Kind
from hasten.profiling import Frame, Function, Profile, Requests, Stack

APP = "/srv/orders/"
LIBRARIES = "/srv/env/lib/python3.12/site-packages/"
ROUTE = Frame("Router.app", LIBRARIES + "starlette/routing.py", 735)
SEARCH = Frame("search", APP + "routes.py", 21)
DIGEST = Frame("digest", APP + "checks.py", 17)
LOAD = Frame("Basket.load", APP + "basket.py", 64)
GET = Frame("httpx.AsyncClient.get")
PLACE_ORDER, SEARCHED = "POST /orders", "GET /search"


def of_ledger(*, digest: float = 0.4, get: float = 0.3, requests: int = 100) -> Profile:
    """Return a profile of two endpoints with every part that a profile can have."""
    return Profile(
        engine="ledger",
        clock="wall",
        service="orders",
        started=1795725000.5,
        seconds=10.0,
        requests=(Requests(SEARCHED, requests), Requests(PLACE_ORDER, requests)),
        stacks=(
            Stack((ROUTE, SEARCH, DIGEST), digest, 40, SEARCHED, "computing"),
            Stack((ROUTE, SEARCH, GET), get, 30, SEARCHED, "waiting"),
            Stack((ROUTE, LOAD, GET), 0.2, 20, PLACE_ORDER, "waiting"),
            Stack((ROUTE, LOAD), 0.1, 10, PLACE_ORDER, "blocking"),
            Stack((Frame("sweep", APP + "sweep.py", 3),), 0.05, 1, "", "computing"),
        ),
        labels={"alertname": "EventLoopBlocked"},
        notes=("1 in 20 requests was recorded.",),
    )


def of_py_spy(*, digest: int = 60) -> Profile:
    """Return a sampled profile: no endpoints, no kinds of time."""
    counts = {(ROUTE, SEARCH, DIGEST): digest, (ROUTE, SEARCH): 10, (ROUTE, LOAD, GET): 30}
    stacks = tuple(Stack(frames, count * 0.01, count) for frames, count in counts.items())
    return Profile(engine="py-spy", clock="wall", service="orders", seconds=1.0, stacks=stacks, interval=0.01)


def of_yappi() -> Profile:
    """Return a profile without stacks."""
    functions = (
        Function(DIGEST, 0.4, 0.5, 100, SEARCHED),
        Function(DIGEST, 0.1, 0.1, 20, PLACE_ORDER),
        Function(LOAD, 0.2, 0.2, 50, PLACE_ORDER),
    )
    requests = (Requests(SEARCHED, 100), Requests(PLACE_ORDER, 50))
    return Profile(engine="yappi", clock="cpu", service="orders", seconds=2.0, requests=requests, functions=functions)


# ---- any profile

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SECONDS = st.floats(0.0, 1e6)
FRAMES = st.builds(Frame, TEXTS, TEXTS, st.integers(0, 10**6))
STACKS = st.builds(
    Stack,
    st.lists(FRAMES, max_size=6).map(tuple),
    SECONDS,
    st.integers(0, 10**9),
    TEXTS,
    st.sampled_from(["", "elsewhere", *Kind]).map(str),
)
PROFILES = st.builds(
    Profile,
    engine=TEXTS,
    clock=st.sampled_from(["wall", "cpu"]),
    service=TEXTS,
    started=st.floats(0.0, 1e11),
    seconds=SECONDS,
    requests=st.lists(st.builds(Requests, TEXTS, st.integers(0, 10**9)), max_size=3).map(tuple),
    stacks=st.lists(STACKS, max_size=6).map(tuple),
    functions=st.lists(
        st.builds(Function, FRAMES, SECONDS, SECONDS, st.integers(0, 10**9), TEXTS, TEXTS), max_size=4
    ).map(tuple),
    interval=st.floats(0.0, 10.0),
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
    notes=st.lists(TEXTS, max_size=3).map(tuple),
)
