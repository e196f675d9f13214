"""The threads of `def` endpoints: as many as were asked for, seen while they are busy, and as before in the end."""

import asyncio
import builtins
from typing import Any

import anyio
import anyio.to_thread
import pytest

from hasten._core.errors import ConfigurationError
from hasten.concurrency import SyncEndpoints
from tests.concurrency.gates import Gate, begun
from tests.conftest import LoopFactory


def test_the_limit_is_set_and_put_back(loop_factory: LoopFactory) -> None:
    """Of the running loop, and twice in a row."""

    async def main() -> None:
        endpoints = SyncEndpoints(3)
        limiter = anyio.to_thread.current_default_thread_limiter()
        for _ in range(2):
            async with endpoints:
                assert limiter.total_tokens == 3
            assert limiter.total_tokens == 40

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_who_waits_is_seen(loop_factory: LoopFactory) -> None:
    """With all threads busy the others wait, and the statistics say how many."""

    async def main() -> None:
        async with SyncEndpoints(2) as endpoints:
            gates = [Gate(), Gate()]
            tasks = [asyncio.create_task(anyio.to_thread.run_sync(gate.pass_through)) for gate in gates]
            await begun(*gates)
            tasks += [asyncio.create_task(anyio.to_thread.run_sync(gates[0].open)) for _ in range(3)]
            for _ in range(5):
                await asyncio.sleep(0)
            now = endpoints.statistics()
            assert (now.threads, now.busy, now.waiting) == (2, 2, 3)
            for gate in gates:
                gate.open()
            await asyncio.gather(*tasks)
            assert endpoints.statistics().busy == 0
        assert endpoints.statistics().threads == 2

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_without_anyio_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where FastAPI is not installed there are no such threads, and one line says it."""
    imported = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("anyio"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="anyio")
        return imported(name, *rest, **options)

    async def main() -> None:
        async with SyncEndpoints(3):
            pass

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match="anyio is not installed; it comes with FastAPI"):
        asyncio.run(main())


def test_what_is_no_number() -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        SyncEndpoints(0)
