"""A service of its own process that always has something to show: `python busy_service.py PORT ADMIN [TOKEN [NAME]]`.

It is its own client, so that its figures move whether or not anybody asks it. It prints its admin port's URL and its
own port when it answers there, and ends by SIGTERM. `GET /block?seconds=2` holds its event loop.
"""

import asyncio
import contextlib
import random
import sys
import time
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException

import hasten
from hasten.cache import Cache
from hasten.events import Bus

SLO = Path(__file__).with_name("slo.toml")
cache = Cache("memory://?max_entries=200")
bus = Bus("memory://", origin="orders")
chance = random.Random(7)


@cache.cached(ttl=2, name="product")
async def load_product(product: int) -> dict[str, int]:
    await asyncio.sleep(0.012)
    return {"id": product}


@bus.subscribe("orders.placed", group="billing")
async def bill(order: dict[str, int]) -> None:
    await asyncio.sleep(0.004)
    if order["id"] % 97 == 0:
        raise RuntimeError("no account")


app = FastAPI()


@app.get("/products/{product_id}")
async def product(product_id: int) -> dict[str, int]:
    return await load_product(product_id)


@app.post("/orders")
async def order() -> dict[str, int]:
    await asyncio.sleep(chance.expovariate(1 / 0.02))
    number = chance.randrange(1, 5000)
    await bus.publish("orders.placed", {"id": number})
    if number % 61 == 0:
        raise HTTPException(503, "no stock")
    return {"id": number}


@app.get("/search")
async def search(text: str = "lamp") -> dict[str, int]:
    await asyncio.sleep(0.03 + chance.random() * 0.06)
    return {"found": len(text)}


@app.get("/report")
def report() -> dict[str, int]:
    time.sleep(0.03)
    return {}


@app.get("/export")
async def export() -> dict[str, int]:
    time.sleep(0.06)
    return {}


@app.get("/block")
async def block(seconds: float) -> dict[str, int]:
    time.sleep(seconds)
    return {}


async def send_requests(port: int) -> None:
    """Send some ninety requests a second, by an open model, over the service's own port as others would."""
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as client,
        asyncio.TaskGroup() as under_way,
    ):
        while True:
            under_way.create_task(send_one(client))
            await asyncio.sleep(chance.expovariate(90))


async def send_one(client: httpx.AsyncClient) -> None:
    with contextlib.suppress(httpx.HTTPError):
        draw = chance.random()
        if draw < 0.55:
            await client.get(f"/products/{min(199, int(chance.expovariate(1 / 40)))}")
        elif draw < 0.80:
            await client.post("/orders")
        elif draw < 0.95:
            await client.get("/search")
        elif draw < 0.98:
            await client.get("/report")
        elif draw < 0.995:
            await client.get("/export")
        else:
            await client.get("/nothing/here")


def main(port: str, admin: str, token: str = "", _name: str = "") -> None:
    hasten.install(
        app,
        service="orders",
        bus=bus,
        watch=(cache,),
        slo=SLO,
        admin=admin,
        admin_token=token,
        sample_every=4,
    )
    config = uvicorn.Config(app, port=int(port), log_level="warning", loop="uvloop")
    server = uvicorn.Server(config)

    async def serve() -> None:
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        own = server.servers[0].sockets[0].getsockname()[1]
        print(app.state.monitor.url, own, flush=True)
        load = asyncio.create_task(send_requests(own))
        await running
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load

    asyncio.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
