"""The ledger on a real Redis: waits are named by the user's line and the driver's call, however deep it awaits."""

import redis.asyncio
from fastapi import FastAPI

from hasten.ledger import Kind
from tests.ledger.serving import LoopFactory, ask, seconds


def make_app(url: str) -> FastAPI:
    app = FastAPI()
    client = redis.asyncio.Redis.from_url(url)

    @app.get("/keys/{key}")
    async def read(key: str) -> bool:
        value = await client.get(key)
        async with client.pipeline() as pipeline:
            pipeline.get(key)
            pipeline.get(f"{key}:2")
            await pipeline.execute()
        return value is None

    @app.get("/queue")
    async def pop() -> bool:
        return await client.blpop(["hasten:none"], timeout=0.05) is None

    @app.get("/close")
    async def close() -> None:
        await client.aclose()

    return app


def test_redis_waits_are_named(redis_url: str, loop_factory: LoopFactory) -> None:
    """A GET, a pipeline and a blocking pop each stand at their own line, under the driver's function."""
    served = ask(make_app(redis_url), ["/keys/a", "/keys/b", "/keys/c", "/queue", "/close"], loop_factory)

    accounts = [account for account in served.accounts if account.endpoint == "GET /keys/{key}"]
    keys = [line for account in accounts for line in account.lines if line.kind is Kind.WAITING]
    assert {line.site.library for line in keys} == {"redis.Redis.execute_command", "redis.Pipeline.execute"}
    assert len({line.site.line for line in keys}) == 2
    queue = served.account("GET /queue")
    assert seconds(queue, Kind.WAITING, function="pop") >= 0.045
    assert queue.coverage >= 0.98


def test_the_arguments_of_a_call_tell_it_from_others(redis_url: str, loop_factory: LoopFactory) -> None:
    """In detail mode two keys are two identities at one site, the same key twice is one."""
    served = ask(make_app(redis_url), ["/keys/a", "/keys/b", "/keys/a", "/close"], loop_factory)

    identities = [
        call.identity
        for account in served.accounts
        for call in account.calls
        if call.site.library == "redis.Redis.execute_command"
    ]
    assert len(identities) == 3
    assert len(set(identities)) == 2
