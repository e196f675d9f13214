"""Why each kind of finding costs time: what the HTML page says beside a finding, by code.

docs/reference/findings.md says more about each; a test holds that no code of a rule is missing here.
"""

from collections.abc import Mapping
from types import MappingProxyType

_WHY = {
    "HS101": (
        "While a blocking call runs, the event loop runs nothing else: every other request of the "
        "process waits for it too, and none of their own timers show it."
    ),
    "HS102": (
        "The event loop gives nobody else a turn until a step ends: while one request computes, all "
        "others of the process wait."
    ),
    "HS103": (
        "The request lay in the kernel while the loop was held by others. The server's own timers "
        "begin only after that, so its metrics do not show this time."
    ),
    "HS104": (
        "A garbage collection stops the whole process; a full one goes through every object that "
        "lives, so it grows with what is kept in memory."
    ),
    "HS201": (
        "Plain functions run in a thread pool of limited size. When all its threads are busy, the "
        "next request waits for one to come free."
    ),
    "HS202": (
        "A plain dependency is sent to the thread pool for each request: two hand-overs, and a thread "
        "of a limited pool, for work that often takes less than they do."
    ),
    "HS203": (
        "Requests wait in line for a lock or for a pool's connection: one slow holder slows everybody behind it."
    ),
    "HS301": (
        "Each call of the row pays a whole round trip, and the next begins only after it; time grows "
        "with the number of items."
    ),
    "HS302": (
        "Calls that do not need each other's results run one after the other: the request takes their "
        "sum, where the slowest alone would do."
    ),
    "HS303": (
        "A new client brings a new connection pool, and often a new TLS context: connection and "
        "handshake are paid for again by every request."
    ),
    "HS304": ("The same question is asked again and again; its answer could be kept for as long as it may be stale."),
    "HS305": (
        "Without a timeout one hanging callee holds its requests, their connections and their memory "
        "for as long as it likes; an outage elsewhere becomes one here."
    ),
    "HS306": (
        "httpx takes several times the CPU of a lean client for a call; between services, where a "
        "request makes many, the event loop spends its time in the client."
    ),
    "HS401": (
        "BaseHTTPMiddleware, and @app.middleware with it, runs each request in a task group and "
        "passes every part of the body through a queue: extra tasks and switches around every "
        "request."
    ),
    "HS402": (
        "The response is validated on the way out although it was built from validated data: a large "
        "answer is walked through twice, on the event loop."
    ),
}


def explanations() -> Mapping[str, str]:
    """Return by code why such a finding costs time, in one or two sentences."""
    return MappingProxyType(_WHY)
