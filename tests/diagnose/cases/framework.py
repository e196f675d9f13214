"""FastAPI and Starlette: middleware, dependencies, response models."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Response, Security
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware

app = FastAPI()
router = APIRouter()


class Item(BaseModel):
    name: str


class Record(Item):
    secret: str


class Page(BaseModel):
    items: list[Item]


@app.middleware("http")  # expect: HS401
async def timed(request, call_next):
    return await call_next(request)


class Traced(BaseHTTPMiddleware):  # expect: HS401
    async def dispatch(self, request, call_next):
        return await call_next(request)


class Twice(Traced):  # expect: HS401
    pass


class Pure:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


async def dispatch(request, call_next):
    return await call_next(request)


app.add_middleware(Traced)
app.add_middleware(Pure)
app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)  # expect: HS401


def settings():  # expect: HS202
    return {}


def session():  # expect: HS202
    time.sleep(0.1)
    yield 1


def user(settings=Depends(settings)):  # expect: HS202
    return settings


async def fast_user():
    return 1


def not_a_dependency():
    return 1


Session = Annotated[int, Depends(session)]


@app.get("/")
async def index(session: Session, user=Security(user), fast=Depends(fast_user)):
    return not_a_dependency()


@app.get("/same", response_model=Item)
async def same():
    return Item(name="a")


@app.get("/annotated")
async def annotated() -> list[Item]:
    return [Item(name="a")]


@app.get("/other", response_model=Page)
async def other():
    return Item(name="a")  # expect: HS402


@router.get("/list", response_model=list[Item])
async def listed(rows: list[dict]):
    return [Record.model_validate(row) for row in rows]  # expect: HS402


@app.get("/dump", response_model=Item)
async def dumped():
    item = Item(name="a")
    return item.model_dump()  # expect: HS402


@app.get("/made", response_model=Item)
async def made():
    record = build()
    return record  # expect: HS402


def build() -> Record:
    return Record(name="a", secret="b")


@app.get("/plain", response_model=Item)
async def plain():
    return {"name": "a"}


@app.get("/none", response_model=None)
async def none():
    return Item(name="a")


@app.get("/bytes")
async def as_bytes() -> Response:
    return Response(Item(name="a").model_dump_json())


@app.get("/copy", response_model=Item)
async def copied(values: dict):
    return values.copy().dict()
