"""All calls fail: how much more is sent to a service that is down, by callers that send again, and by three layers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

from hasten.drill._calling import Call, asked, backend_options, by_grpc_aio, by_rpc, drive, method_config
from hasten.drill._drill import Drill
from hasten.drill._result import Measure
from hasten.drill._sending import ATTEMPTS, Sender
from hasten.drill._stage import Service, Stage

_BACKEND, _LAYER = "hasten.drill.subjects.backend:app", "hasten.drill.subjects.layer:app"
_LAYERS = {1: "one layer", 3: "three layers"}
_RATIO, _RESERVE, _PER_SECOND = 0.1, 10.0, 1.0  # of a `RetryBudget` as it is by default
_RATE, _PEER_RATE = 400.0, 25.0  # a second; three layers of three attempts make 27 of each
_PEER = "three attempts each"


async def _run(stage: Stage) -> Sequence[Measure]:
    seconds = 1.0 if stage.quick else 10.0
    environment = backend_options(HASTEN_DRILL_FAILS="1")
    async with stage.hasten(_BACKEND, "--admin", "off", **environment) as down:
        measures = [await _layers(stage, down, layers, seconds) for layers in _LAYERS]
        if address := await asked(down, "/grpc", str):
            stage.say("calls of gRPC, to a service that is down")
            measures.append(await _rpc(down, address, seconds))
    return measures


async def _layers(stage: Stage, down: Service, layers: int, seconds: float) -> Measure:
    """Return what so many layers of callers do, the drill itself among them."""
    stage.say(f"{_LAYERS[layers]} of callers, to a service that is down")
    ours, most = await _sends(stage, down, layers, seconds, budget=True)
    peers, _ = await _sends(stage, down, layers, seconds, budget=False)
    return Measure(
        promise=f"sent to a service that is down for each request, by {_LAYERS[layers]} of callers with retries",
        asked=most,
        measured=ours,
        unit="calls",
        beside=_PEER,
        beside_measured=peers,
    )


def most_sends(layers: int, requests: int, seconds: float) -> float:
    """Return the most that layers of budgets send for each request: a tenth more each, and what they have at first."""
    sends = float(requests)
    for _ in range(layers):
        sends += _RATIO * sends + _RESERVE + _PER_SECOND * seconds
    return sends / requests


async def _sends(stage: Stage, down: Service, layers: int, seconds: float, *, budget: bool) -> tuple[float, float]:
    """Return what was sent for each request, and the most that budgets allow."""
    before = await _seen(down, "")
    async with _caller(stage, down, layers, budget=budget) as call:
        began = monotonic()
        requests = len(await drive(call, _RATE if budget else _PEER_RATE, seconds))
        took = monotonic() - began
    return (await _seen(down, "") - before) / requests, most_sends(layers, requests, took)


@asynccontextmanager
async def _caller(stage: Stage, down: Service, layers: int, *, budget: bool) -> AsyncIterator[Call]:
    """Start all layers but the last, which is the drill itself."""
    async with AsyncExitStack() as started:
        url = down.url
        for _ in range(layers - 1):
            options = {"HASTEN_DRILL_NEXT": url, "HASTEN_DRILL_BUDGET": str(int(budget))}
            url = (await started.enter_async_context(stage.hasten(_LAYER, "--admin", "off", **options))).url
        sender = await started.enter_async_context(Sender(url, budget=budget))

        async def call() -> str:
            return str(await sender.send("/work"))

        yield call


async def _rpc(down: Service, address: str, seconds: float) -> Measure:
    policy = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": "0.01s",
        "maxBackoff": "0.1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = method_config("retryPolicy", policy)
    async with by_rpc([address], "rpc", service_config=config) as call:
        began = monotonic()
        requests = len(await drive(call, _RATE, seconds))
        most = most_sends(1, requests, monotonic() - began)
    async with by_grpc_aio([address], "grpc.aio", service_config=config) as call:
        peer_requests = len(await drive(call, _RATE, seconds))
    return Measure(
        promise="sent to it for each call of gRPC, by a retry policy of three attempts",
        asked=most,
        measured=await _seen(down, "rpc") / requests,
        unit="calls",
        beside="grpc.aio",
        beside_measured=await _seen(down, "grpc.aio") / peer_requests,
    )


async def _seen(down: Service, name: str) -> int:
    """Return how many calls it has had of a caller."""
    return (await asked(down, "/calls", dict[str, int])).get(name, 0)


RETRIES = Drill(
    name="retries",
    about="a service that fails all calls, and callers that send again, in one layer and in three",
    run=_run,
)
