"""What a call came to, in values that can be compared between stacks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import grpc.aio

Pair = tuple[str, str | bytes]


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How one call ended.

    Attributes:
      code: The status code.
      details: The status message; None in an expectation where it is the implementation's own.
      results: For each response the size of its payload in bytes, or the sum that it reports.
      initial, trailing: All metadata that the call object shows.
      raised: What waiting for the responses raised: AioRpcError after a failure, CancelledError when the client
        cancelled, else None (grpc.aio's contract; the specification speaks of codes only).
    """

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str | None = ""
    results: tuple[int, ...] = ()
    initial: tuple[Pair, ...] = ()
    trailing: tuple[Pair, ...] = ()
    raised: type[BaseException] | None = None


Outcome = tuple[CallOutcome, ...]
"""The calls of one case, in order."""


def specified(outcome: Outcome, expected: Outcome) -> Outcome:
    """Return `outcome` without the status messages that `expected` leaves open."""
    return tuple(
        call if number < len(expected) and expected[number].details is not None else replace(call, details=None)
        for number, call in enumerate(outcome)
    )


async def observed(call: grpc.aio.Call, results: AsyncIterator[int]) -> CallOutcome:
    """Drain `results`, which uses the call and may raise what the call raises; return how the call ended."""
    seen: list[int] = []
    raised: grpc.aio.AioRpcError | asyncio.CancelledError | None = None
    try:
        async for result in results:
            seen.append(result)  # noqa: PERF401 (a comprehension would lose what came before a failure)
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
        raised = error
    if isinstance(raised, grpc.aio.AioRpcError):
        assert (raised.code(), raised.details()) == (await call.code(), await call.details())
    return CallOutcome(
        await call.code(),
        await call.details(),
        tuple(seen),
        tuple(await call.initial_metadata()),
        tuple(await call.trailing_metadata()),
        type(raised) if raised else None,
    )
