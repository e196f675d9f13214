"""Awaits in a row, independent and not."""

import asyncio

import asyncpg
import httpx
from fastapi import FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncSession

app = FastAPI()
client = httpx.AsyncClient()


async def fetch_price(key):
    return (await client.get(f"http://prices/{key}")).json()  # expect: HS306


async def fetch_stock(key):
    response = await client.get(f"http://stock/{key}")
    response.raise_for_status()
    return response.json()


async def reserve_all(key):
    return await client.post(f"http://stock/{key}/reserve")


async def note(key):
    journal.append(key)
    last["key"] = await client.get(f"http://notes/{key}")


journal: list = []
last: dict = {}


@app.get("/independent")
async def independent(key: int):
    price = await fetch_price(key)  # expect: HS302
    stock = await fetch_stock(key)
    return price, stock


@app.get("/mixed")
async def mixed(key: int):
    response = await client.get("http://a")  # expect: HS302
    response.raise_for_status()
    first = response.json()
    response = await client.get("http://b")
    second = response.json()
    third = await fetch_price(second["id"])
    return first, second, third


@app.get("/literal")
async def literal(key: int):
    return {"price": await fetch_price(key), "stock": await fetch_stock(key)}  # expect: HS302


@app.get("/items")
async def items(item: dict):
    item["price"] = await fetch_price(item["id"])  # expect: HS302
    item["stock"] = await asyncio.wait_for(fetch_stock(item["id"]), 1)
    return item


@app.get("/guarded")
async def guarded(key: int):
    price = await fetch_price(key)
    if price is None:
        return None
    return await fetch_stock(key)


@app.get("/in-branch")
async def in_branch(key: int):
    if key:
        a = await fetch_price(key)  # expect: HS302
        b = await fetch_price(-key)
        return a, b
    return None


@app.get("/dependent")
async def dependent(key: int):
    price = await fetch_price(key)
    stock = await fetch_stock(price["product"])
    extra = [stock]
    extra.append(1)
    return await fetch_price(extra)


@app.get("/effects")
async def effects(key: int, request: Request):
    price = await fetch_price(key)
    await reserve_all(key)
    stock = await fetch_stock(key)
    body = await request.json()
    form = await request.form()
    return price, stock, body, form


@app.get("/notes")
async def notes(key: int):
    a = await note(key)
    b = await note(key)
    return a, b


@app.get("/together")
async def together(key: int):
    price, stock = await asyncio.gather(fetch_price(key), fetch_stock(key))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(fetch_price(key))
        second = group.create_task(fetch_stock(key))
    a = await first
    b = await second
    return price, stock, a, b


@app.get("/one-connection")
async def one_connection(session: AsyncSession, connection: asyncpg.Connection):
    a = await connection.fetch("select 1")
    b = await connection.fetch("select 2")
    c = await load_user(session, 1)
    d = await load_user(session, 2)
    return a, b, c, d


async def load_user(session, key):
    return await session.get(int, key)


@app.get("/pool")
async def from_pool(pool: asyncpg.Pool):
    a = await pool.fetch("select 1")  # expect: HS302
    b = await pool.fetchrow("select 2")
    return a, b


@app.get("/maybe")
async def maybe(key: int):
    price = await fetch_price(key) if key else None
    stock = await fetch_stock(key) if key else None
    return price, stock


class Catalog:
    async def load_both(self, key):
        price = await self.load_price(key)  # expect: HS302
        stock = await self.load_stock(key)
        return price, stock

    async def load_price(self, key):
        return await client.get(f"http://a/{key}")

    async def load_stock(self, key):
        return await client.get(f"http://b/{key}")

    async def load_in_turn(self):
        token = await self.load_token()
        page = await self.load_page()
        return token, page

    async def load_token(self):
        self.token = await client.get("http://token")

    async def load_page(self):
        return await client.get("http://page", headers={"token": self.token})


class Users:
    def __init__(self, session: AsyncSession, pool: asyncpg.Pool, http):
        self.session = session
        self.pool = pool
        self.http = http

    async def find(self, key):
        return (await self.session.execute(key)).scalar_one()

    async def find_in_pool(self, key):
        async with self.pool.acquire() as connection:
            return await connection.fetchrow("select $1", key)

    async def find_over_http(self, key):
        return await self.http.get(f"http://users/{key}")

    async def load(self, key):
        a = await self.find(key)
        b = await self.find(-key)
        return a, b

    async def load_in_pool(self, key):
        a = await self.find_in_pool(key)  # expect: HS302
        b = await self.find_over_http(key)
        return a, b


async def test_in_turn():
    a = await client.get("/a")
    b = await client.get("/b")
    assert a == b
