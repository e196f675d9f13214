"""An app made in a function: routes, models, dependencies and middleware are local names."""

import sqlite3

import httpx
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware


def create_app(database: str) -> FastAPI:
    app = FastAPI()
    router = APIRouter(dependencies=[Depends(verify)])
    connection = sqlite3.connect(database)
    client = httpx.AsyncClient()

    class Item(BaseModel):
        name: str

    class Other(Item):
        pass

    class Timed(BaseHTTPMiddleware):  # expect: HS401
        async def dispatch(self, request, call_next):
            return await call_next(request)

    def session():  # expect: HS202
        return connection

    @app.get("/", response_model=Item)
    async def index(session: sqlite3.Connection = Depends(session)):
        session.execute("select 1")  # expect: HS101
        return Item(name="a")

    @router.get("/other", response_model=Item)
    async def other():
        connection.execute("select 1")  # expect: HS101
        await client.get("http://a")  # expect: HS306
        return Other(name="a")  # expect: HS402

    app.add_middleware(Timed)
    app.include_router(router)
    return app


def verify():  # expect: HS202
    return None
