"""Calls that lead into other files of the project."""

from fastapi import Depends, FastAPI

from . import stores
from .stores import Store, client, current, lookup as find
from .stores import provide

app = FastAPI()
store = Store()


@app.get("/function")
async def function():
    return find(1)


@app.get("/module")
async def module():
    return stores.count()


@app.get("/instance")
async def instance():
    return store.load(1), current.load(2)


@app.get("/client")
async def through_client():
    return await client.get("http://a")  # expect: HS306


@app.get("/dependency")
async def dependency(provided=Depends(provide)):
    provided.execute("select 1")  # expect: HS101
