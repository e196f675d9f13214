"""Long work in the admin thread is made in steps, and is the same as in one."""

import asyncio
import time
from collections.abc import Iterator

from hasten.admin._paced import joined


def _parts(made: list[str], count: int) -> Iterator[str]:
    for number in range(count):
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        made.append(str(number))
        yield f"{number},"


def test_parts_are_joined_in_order(loop_factory: object) -> None:
    """The text is what the parts are, also where there are none."""

    async def join() -> None:
        assert await joined([]) == ""
        assert await joined(str(number) for number in range(5000)) == "".join(map(str, range(5000)))
        assert await joined(_parts([], 5)) == "0,1,2,3,4,"

    with asyncio.Runner(loop_factory=loop_factory) as runner:  # type: ignore[arg-type]
        runner.run(join())


def test_others_run_in_between() -> None:
    """While a long text is made, the loop does other things: they do not wait for its end."""

    async def join() -> list[int]:
        made: list[str] = []
        seen: list[int] = []

        async def other() -> None:
            while len(made) < 20:
                seen.append(len(made))
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await joined(_parts(made, 20))
        await beside
        return seen

    assert any(0 < count < 20 for count in asyncio.run(join()))
