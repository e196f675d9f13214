"""Blocking calls in async functions, through all the ways in which a client gets its name."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from time import sleep as pause
from typing import Annotated, Optional

import bcrypt
import boto3
import httpx
import psycopg2
import pymongo
import redis
import requests
from fastapi import Depends, FastAPI, Request
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

app = FastAPI()
cache = redis.Redis(socket_timeout=1.0)
engine = create_engine("sqlite://")
make_session = sessionmaker(engine)
products = pymongo.MongoClient(timeoutMS=500)["shop"]["products"]
pool = ThreadPoolExecutor()
lock = threading.Lock()


def get_session():  # expect: HS202
    with make_session() as session:
        yield session


Database = Annotated[Session, Depends(get_session)]


@app.get("/sleep")
async def sleeps():
    time.sleep(1)  # expect: HS101
    pause(1)  # expect: HS101
    wait = time.sleep
    wait(1)  # expect: HS101
    await asyncio.sleep(1)


@app.get("/http")
async def over_http():
    requests.get("http://a", timeout=1)  # expect: HS101
    httpx.get("http://a")  # expect: HS101
    urllib.request.urlopen("http://a", timeout=1)  # expect: HS101
    with httpx.Client() as client:  # expect: HS303
        client.get("http://a")  # expect: HS101
    session = requests.Session()  # expect: HS303
    return session.get("http://a", timeout=1).json()  # expect: HS101


@app.get("/databases")
async def databases(session: Database, other: Session, maybe: Optional[Session], either: "Session | None"):
    cache.get("key")  # expect: HS101
    products.find_one({"id": 1})  # expect: HS101
    session.execute("select 1")  # expect: HS101
    other.query(int).filter_by(id=1).all()  # expect: HS101
    maybe.commit()  # expect: HS101
    either.scalars("select 1")  # expect: HS101
    boto3.client("s3").get_object(Bucket="b", Key="k")  # expect: HS101 HS303
    with closing(sqlite3.connect("file")) as connection:  # expect: HS101
        return connection.execute("select 1").fetchall()  # expect: HS101


@app.get("/postgres")
async def postgres():
    connection = psycopg2.connect("dbname=a connect_timeout=3")  # expect: HS101 HS303
    with connection.cursor() as cursor:
        cursor.execute("select 1")  # expect: HS101
        return cursor.fetchall()  # expect: HS101


@app.get("/system")
async def system():
    subprocess.run(["ls"])  # expect: HS101
    os.system("ls")  # expect: HS101
    socket.getaddrinfo("a", 80)  # expect: HS101
    bcrypt.hashpw(b"a", b"b")  # expect: HS101
    Path("a").joinpath("b").read_text()  # expect: HS101
    (Path("a") / "b").write_text("c")  # expect: HS101
    with open("a") as file:  # expect: HS101
        file.read()
    pool.submit(len, "a").result()  # expect: HS101
    lock.acquire()  # expect: HS101
    lock.acquire(blocking=False)
    lock.acquire(False)


@app.get("/threads")
async def threads():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(time.sleep, 1)
    await asyncio.to_thread(blocking_helper, 1)
    await loop.run_in_executor(None, partial(requests.get, "http://a", timeout=1))
    await loop.run_in_executor(None, lambda: time.sleep(1))

    def in_thread():
        time.sleep(1)

    await asyncio.to_thread(in_thread)


@app.get("/def")
def in_pool():
    time.sleep(1)
    return cache.get("key")


def blocking_helper(seconds):
    if seconds:
        deeper(seconds)


def deeper(seconds):
    time.sleep(seconds)  # expect: HS101


@lru_cache
def settings():
    return Path("settings").read_text()


@app.get("/helper")
async def through_helper():
    settings()
    blocking_helper(1)


class Repository:
    def __init__(self, path):
        self._connection = sqlite3.connect(path)
        self.path: Path = Path(path)

    def load(self, key):
        return self._connection.execute("select ?", (key,)).fetchone()  # expect: HS101

    @property
    def connection(self):
        return self._connection

    async def reload(self):
        self.connection.commit()  # expect: HS101
        return self.path.read_bytes()  # expect: HS101


repository = Repository("a")


@app.get("/method")
async def through_method(request: Request):
    request.app.state.redis.get("a")  # expect: HS101
    return repository.load("a")


@app.on_event("startup")
async def start():
    app.state.redis = redis.Redis(socket_timeout=1)
    Path("warm").read_text()


async def shadowed(requests, time):
    requests.get("http://a")
    time.sleep(1)


async def not_those():
    cache = {}
    cache.get("a")
    open = str
    open("a")
