"""A caller that waits 200 ms for what takes 2 s, behind three services: how long they work on for nobody."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from time import monotonic

from hasten.drill._calling import asked, drive, has_grpc, quantile
from hasten.drill._drill import Drill, Impossible
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage
from hasten.drill.subjects.hop import LATE, Note, Order, order_text
from hasten.http.client import Client

_HOP = "hasten.drill.subjects.hop:app"
_GIVEN = 0.2  # seconds
_RATE = 20.0  # requests a second
_ENDS = 5.0  # seconds within which plain hops have ended
_WORKERS = "last", "middle"
_PEER = "plain timeouts"


async def _run(stage: Stage) -> Sequence[Measure]:
    if not has_grpc():
        raise Impossible("its hops speak gRPC; run: pip install 'hasten[grpc]'")
    seconds = 1.0 if stage.quick else 10.0
    notes = {}
    for plain in (False, True):
        async with _hops(stage, plain=plain) as hops:
            stage.say(f"200 ms for work of 2 s, hops with {'plain timeouts' if plain else 'the ambient deadline'}")
            notes[plain] = await _notes(hops, seconds)
    ours, peers = notes[False], notes[True]
    return [
        Measure(
            promise="until a hop stops when the caller's 200 ms are over, p99 of all three",
            asked=1e3 * LATE,
            measured=1e3 * stopping(ours),
            unit="ms",
            beside=_PEER,
            beside_measured=1e3 * stopping(peers),
        ),
        Measure(
            promise=f"pieces of work begun more than {1e3 * LATE:.0f} ms after",
            asked=0,
            measured=float(sum(note.late for note in ours)),
            beside=_PEER,
            beside_measured=float(sum(note.late for note in peers)),
        ),
    ]


def stopping(notes: Sequence[Note]) -> float:
    """Return the seconds from the end of the caller's patience until hops stopped, the 99th percentile."""
    return quantile([max(0.0, note.ended - note.expires) for note in notes if note.ended is not None], 0.99)


@asynccontextmanager
async def _hops(stage: Stage, *, plain: bool) -> AsyncIterator[list[Service]]:
    """Start the three, the last one first, and return them in that order."""
    hops: list[Service] = []
    async with AsyncExitStack() as started:
        following = ""
        for name in ("last", "middle", "first"):
            environment = {
                "HASTEN_DRILL_HOP": name,
                "HASTEN_DRILL_NEXT": following,
                "HASTEN_DRILL_PLAIN": str(int(plain)),
            }
            options = () if plain else ("--admin", "off")
            serve = stage.uvicorn if plain else stage.hasten
            hops.append(await started.enter_async_context(serve(_HOP, *options, **environment)))
            following = await asked(hops[-1], "/grpc", str)
        yield hops


async def _notes(hops: Sequence[Service], seconds: float) -> list[Note]:
    """Send the requests, and return what the hops have noted when all have ended."""
    numbers = count()
    async with Client(hops[-1].url, retry=None, breaker=None) as client:

        async def call() -> str:
            number = next(numbers)
            order = Order(number, monotonic() + _GIVEN, _WORKERS[number % len(_WORKERS)])
            return (await client.get(f"/work?{order_text(order)}", timeout=_GIVEN)).text()

        await drive(call, _RATE, seconds)
    until = monotonic() + _ENDS
    while True:
        by_hop = [await asked(hop, "/notes", list[Note]) for hop in hops]
        notes = [note for its in by_hop for note in its]
        if all(note.ended is not None for note in notes):
            break
        if monotonic() > until:
            raise Impossible(f"a hop still works {_ENDS:g} s after its caller has gone")
        await asyncio.sleep(0.1)
    if not all(by_hop):
        raise Impossible("a hop was never called")
    return notes


DEADLINE = Drill(
    name="deadline",
    about="three services behind each other, a caller that waits 200 ms, and work that takes longer",
    run=_run,
)
