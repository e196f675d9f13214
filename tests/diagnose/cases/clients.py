"""Where clients are made, and with which limits."""

import urllib.request
from contextlib import asynccontextmanager
from functools import cache

import aiohttp
import asyncpg
import grpc.aio
import httpx
import redis.asyncio as redis
import requests
from fastapi import Depends, FastAPI

LIMITS = {"timeout": 1.0}
shared = httpx.AsyncClient()
unlimited = httpx.AsyncClient(timeout=None)  # expect: HS305
explicit = httpx.AsyncClient(timeout=httpx.Timeout(None))  # expect: HS305
limited = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5.0, read=1.0))
given = httpx.AsyncClient(**LIMITS)
store = redis.Redis()  # expect: HS305
bounded = redis.from_url("redis://a?socket_timeout=1")


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with httpx.AsyncClient() as client, aiohttp.ClientSession() as session:  # expect: HS305
        app.state.client = client
        app.state.session = session
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/client")
async def per_request():
    async with httpx.AsyncClient() as client:  # expect: HS303
        return await client.get("http://a")  # expect: HS306


@app.get("/session")
async def session_per_request():
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout) as session:  # expect: HS303
        async with session.get("http://a") as response:
            return await response.json()


async def provide_client():
    async with httpx.AsyncClient() as client:  # expect: HS303
        yield client


@app.get("/provided")
async def provided(client: httpx.AsyncClient = Depends(provide_client)):
    return await client.get("http://a", timeout=None)  # expect: HS305


def make_client():
    return httpx.AsyncClient()  # expect: HS303


@app.get("/factory")
async def from_factory():
    return await make_client().get("http://a")


@app.get("/channel")
async def channel():
    async with grpc.aio.insecure_channel("a:1") as channel:  # expect: HS303
        return channel


@app.get("/postgres")
async def postgres():
    connection = await asyncpg.connect("postgres://a")  # expect: HS303 HS305
    return await connection.fetch("select 1")


@cache
def kept_client():
    return httpx.AsyncClient()


class Lazy:
    def __init__(self):
        self.session = None
        self.clients = {}

    async def get(self, host):
        if self.session is None:
            self.session = aiohttp.ClientSession()  # expect: HS305
        client = self.clients[host] = httpx.AsyncClient()
        return self.session, client


async def get_global():
    global shared
    shared = httpx.AsyncClient()
    return kept_client()


@app.get("/sync")
def sync_calls():
    requests.get("http://a")  # expect: HS305
    requests.post("http://a", timeout=None)  # expect: HS305
    requests.put("http://a", **LIMITS)
    urllib.request.urlopen("http://a")  # expect: HS305
    urllib.request.urlopen("http://a", None, 3.0)
    return httpx.get("http://a", timeout=2)


async def main():
    async with httpx.AsyncClient() as client:
        await client.get("http://a")
