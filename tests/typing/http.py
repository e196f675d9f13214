"""How a type checker sees the response cache's API; checked by mypy, never run."""

from collections.abc import Mapping

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

import hasten
from hasten.cache import Cache
from hasten.http import HttpProtocol, ResponseCache, Rule


async def plain(scope: Scope, receive: Receive, send: Send) -> None: ...


def tags_of(parameters: Mapping[str, str]) -> list[str]:
    return [f"product:{parameters['id']}"]


def wrong_tags_of(parameters: Mapping[str, str]) -> int:
    return len(parameters)


cache = Cache()
rule = Rule(
    "/products/{id}",
    ttl=10,
    stale=60.5,
    stale_if_error=600,
    tags=("product:{id}", "products"),
    vary=["accept-language"],
    query=("page",),
    methods=("GET",),
    statuses=(200, 404),
    cookies=True,
    override=True,
)
rules = [rule, Rule("/a"), Rule("/b", tags=tags_of), Rule("/c", tags=lambda parameters: (parameters["id"],))]
Rule("/d", 10.0, 60.0)
Rule()  # type: ignore[call-arg]
Rule("/e", ttl="10")  # type: ignore[arg-type]
Rule("/f", tags=wrong_tags_of)  # type: ignore[arg-type]
Rule("/g", statuses=("200",))  # type: ignore[arg-type]
Rule("/h", max_age=10)  # type: ignore[call-arg]
rule.ttl = 20  # type: ignore[misc]

api = FastAPI()
api.add_middleware(ResponseCache, cache=cache, rules=rules)
api.add_middleware(ResponseCache, cache=cache, rules=(rule,), max_body_bytes=1024, header="X-From", name="second")
api.add_middleware(ResponseCache, cache=cache)  # type: ignore[call-arg]
api.add_middleware(ResponseCache, cache="memory://", rules=rules)  # type: ignore[arg-type]
Starlette(middleware=[Middleware(ResponseCache, cache=cache, rules=rules)])

around: ASGIApp = ResponseCache(api, cache=cache, rules=rules, obey_clients=False, refresh_timeout=5, clock=float)
ResponseCache(plain, cache=cache, rules=iter(rules))
ResponseCache(ResponseCache(plain, cache=cache, rules=rules, name="inner"), cache=cache, rules=rules)
ResponseCache(api, cache, rules)  # type: ignore[call-arg]
ResponseCache(lambda scope: None, cache=cache, rules=rules)  # type: ignore[arg-type, misc]
hasten.install(ResponseCache(api, cache=cache, rules=rules))

uvicorn.run(around, http=HttpProtocol)
uvicorn.Config(around, http="hasten.http:HttpProtocol")
