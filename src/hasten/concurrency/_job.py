"""One piece of work for a thread, and what a thread does with it: no loop, no lock."""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future
    from contextvars import Context


class Job:
    """A call that waits for a thread, is in one, or has been.

    Times are by `time.monotonic()`. Written by the loop until a thread takes it, by the thread until it is done, by the
    loop from then on.

    Attributes:
      call: What is called within the caller's context; None once it is done, so that nothing of the caller's is held.
      deadline: When it is worth nothing any more.
      future: Of who waits for it.
      began: The call; 0.0 if it was not made, because its deadline had passed.
      ended: The call, or when that was seen.
    """

    __slots__ = (
        "arguments", "began", "call", "context", "deadline", "ended", "error", "future", "options", "queued", "value",
    )  # fmt: skip

    def __init__(
        self,
        context: "Context",
        deadline: float,
        future: "Future[Any]",
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> None:
        self.context: Context | None = context
        self.deadline = deadline
        self.future = future
        self.call: Callable[..., Any] | None = call
        self.arguments = arguments
        self.options = options
        self.queued = monotonic()
        self.began = self.ended = 0.0
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make the call in this thread, unless its deadline has passed."""
        self.ended = monotonic()
        if self.ended < self.deadline:
            self.began = self.ended
            self.value, self.error = _outcome(self.context, self.call, self.arguments, self.options)
            self.ended = monotonic()
        self.context = self.call = None
        self.arguments, self.options = (), {}
        del self  # an error's traceback holds this frame, too: with the job in it only a collection would free them


def _outcome(
    context: Any, call: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[Any, BaseException | None]:
    """Return the value or the error of a call."""
    try:
        return context.run(call, *arguments, **options), None
    except StopIteration as error:  # no future takes it: its caller would wait for ever (PEP 479 has the same rule)
        return None, _no_stop(error)
    except BaseException as error:
        return None, error


def _no_stop(error: StopIteration) -> RuntimeError:
    made = RuntimeError("the function raised StopIteration")
    made.__cause__ = error
    return made
