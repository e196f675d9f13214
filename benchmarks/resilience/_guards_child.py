"""The guards of one library: `python -m benchmarks.resilience._guards_child SUBJECT`.

What a guard adds is less than what the same code costs more in one process than in another, where its memory lies
elsewhere. So each process calls what is not guarded beside, in turn, in short stretches; of both the cheapest stretch
counts, which no collection of garbage and nobody else on the core has made longer.
"""

import gc
import sys
import time

import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import WrongValueError, carry_out
from benchmarks.resilience._orders import Called, Calls
from benchmarks.resilience._stack import FAILS_FIRST, cases_of, setup_of
from benchmarks.resilience._work import ANSWER, Work, work, work_that_fails_first

_STRETCH = 200


async def _stretch(call: Work) -> float:
    """Return the CPU seconds of a call."""
    wrong = 0
    started = time.thread_time()
    for _ in range(_STRETCH):
        if await call() != ANSWER:
            wrong += 1
    seconds = time.thread_time() - started
    if wrong:
        raise WrongValueError(f"{wrong} of {_STRETCH} answers")
    return seconds / _STRETCH


async def _guarded(case: str, subject: str) -> Work:
    inner = work_that_fails_first() if case in FAILS_FIRST else work
    return await setup_of(case, subject)(inner)


async def _main(subject: str) -> None:
    calls = {case: (await _guarded(case, subject), await _guarded(case, "limit")) for case in cases_of(subject)}

    async def measure(order: Calls) -> Called:
        call, bare = calls[order.case]
        gc.collect()
        taken = [(await _stretch(call), await _stretch(bare)) for _ in range(order.stretches)]
        return Called(cpu=min(guarded for guarded, _ in taken), bare=min(without for _, without in taken))

    for case in calls:
        await measure(Calls(case, 1))
    announce("on stdin")
    await carry_out(Calls, measure, Called)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(*sys.argv[1:]))
