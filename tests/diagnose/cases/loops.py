"""Calls for each item of a collection."""

import asyncio
import sqlite3

import httpx
import redis.asyncio
from fastapi import FastAPI

app = FastAPI()
client = httpx.AsyncClient()
cache = redis.asyncio.Redis(socket_timeout=1)
connection = sqlite3.connect("file")


async def load(key):
    return (await client.get(f"http://a/{key}")).json()  # expect: HS306


@app.get("/loop")
async def loop(keys: list[int]):
    found = []
    for key in keys:
        found.append(await load(key))  # expect: HS301
    return found


@app.get("/comprehension")
async def comprehension(keys: list[int]):
    return [await client.get(f"http://a/{key}") for key in keys]  # expect: HS301


@app.get("/derived")
async def derived(orders: list[dict]):
    for order in orders:
        product = order["product"]
        url = f"http://a/{product}"
        order["price"] = await client.get(url)  # expect: HS301
    return {order["id"]: await cache.get(order["id"]) for order in orders}  # expect: HS301


@app.get("/dictionary")
def rows(keys: list[int]):
    for key in keys:
        row = connection.execute("select ?", (key,)).fetchone()  # expect: HS301
        yield_to(row)


def yield_to(row):
    return row


@app.get("/fine")
async def fine(keys: list[int]):
    await asyncio.gather(*(load(key) for key in keys))
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(load(key))
    await cache.mget(keys)
    for key in keys:
        await asyncio.sleep(key)


@app.get("/first")
async def first(keys: list[int]):
    for key in keys:
        answer = await load(key)
        if answer:
            return answer
    return None


@app.get("/pages")
async def pages():
    cursor, found = None, []
    for number in range(10):
        page = await client.get("http://a", params={"cursor": cursor, "n": number})
        cursor = page.json()["next"]
        found.append(page)
    return found


@app.get("/plugins")
async def plugins(plugins: list):
    for plugin in plugins:
        await plugin.startup()
    for plugin in plugins:
        await plugin.load()


@app.get("/retry")
async def retry(key: int):
    for attempt in range(3):
        try:
            return await load(key)
        except httpx.HTTPError:
            await asyncio.sleep(2**attempt)
    return None


@app.websocket("/ws")
async def talk(websocket):
    async for message in websocket.iter_text():
        await websocket.send_text(message)
    for message in ["a", "b"]:
        await websocket.send_text(message)


async def streamed(keys):
    for key in keys:
        yield await load(key)


@app.get("/pipeline")
async def pipeline(keys: list[int]):
    async with cache.pipeline() as pipe:
        for key in keys:
            await pipe.get(key)
        return await pipe.execute()
