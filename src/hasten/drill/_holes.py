"""What a dependency may fall into, so that nothing comes from it any more."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from hasten.drill._stage import Service
from hasten.drill._unaccepting import unaccepting
from hasten.testing import FaultProxy, Faults

Hole = Callable[[], AbstractAsyncContextManager[None]]
Dependency = Callable[[], AbstractAsyncContextManager[tuple[str, Hole]]]
"""Where it is, and what it falls into while a block runs."""


@asynccontextmanager
async def behind_a_proxy(
    backend: Service, hole: Callable[[FaultProxy], AbstractAsyncContextManager[None]]
) -> AsyncIterator[tuple[str, Hole]]:
    """Have a dependency that is reached by a proxy, which is the hole."""
    async with FaultProxy(backend.url.removeprefix("http://")) as proxy:
        yield f"http://{proxy.address}", partial(hole, proxy)


@asynccontextmanager
async def silent(proxy: FaultProxy) -> AsyncIterator[None]:
    """Have connections be made, and nothing come."""
    await proxy.inject(Faults(swallowed=True))
    yield
    await proxy.inject()
    proxy.reset()  # what was sent meanwhile is lost, and its answer never comes


@asynccontextmanager
async def refusing(proxy: FaultProxy) -> AsyncIterator[None]:
    """Have no connection be made, and end those that are."""
    await proxy.inject(Faults(refused=True))
    async with unaccepting(int(proxy.address.rpartition(":")[2])):
        proxy.reset()
        yield
    await proxy.inject()
