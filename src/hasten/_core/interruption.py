"""Work in a loop that Ctrl-C, SIGTERM and SIGHUP end, wherever they come.

A handler that raises, as Python's own for Ctrl-C does, may run within a callback of uvloop's, which reports the
exception and goes on. Here the loop itself is told, and what was signalled is raised when everything has unwound.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

Result = TypeVar("Result")
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def run_interruptible(
    make: Callable[[], Coroutine[Any, Any, Result]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Result:
    """Return what a coroutine returns that runs in a loop of its own.

    Args:
      make: Makes the coroutine, in the loop.
      loop_factory: None for asyncio's own.
    Raises:
      KeyboardInterrupt: Ctrl-C came.
      SystemExit: SIGTERM or SIGHUP came; the code is what shells give such an end, 128 and the signal's number.
    """
    came: list[int] = []

    async def main() -> Result:
        task = asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            came.append(number)
            task.cancel()

        with handling(end):
            return await make()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            return runner.run(main())
        except asyncio.CancelledError:
            if not came:
                raise
    raise interruption(came[0])


@contextmanager
def handling(end: Callable[[int], None]) -> Iterator[None]:
    """Call `end` in the running loop with the number of each signal that comes; one that is ignored stays so.

    Elsewhere than on the main thread, which alone may handle signals, and on Windows it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}
    try:
        with suppress(NotImplementedError):  # Windows
            for number in _ENDING:
                handler = signal.getsignal(number)
                if handler is not signal.SIG_IGN:
                    loop.add_signal_handler(number, end, number)
                    before[number] = handler
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)  # to the default, which is not what was there
            signal.signal(number, handler)


def interruption(number: int) -> BaseException:
    """Return what a signal that has come is raised as.

    KeyboardInterrupt for Ctrl-C; for others SystemExit with the code that shells give such an end: 128 and the signal's
    number.
    """
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
