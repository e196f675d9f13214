"""The contract of a drill."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hasten._core.errors import HastenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hasten.drill._result import Measure
    from hasten.drill._stage import Stage


class Impossible(HastenError):
    """Raised when a drill cannot be run here, or what it measured is not valid: says why, and what it needs."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill.

    Attributes:
      name: As it is asked for: `overload`.
      about: What it does, in one sentence.
      run: Measures on a stage; raises `Impossible` where it cannot.
      own: It can be run with the user's own service.
    """

    name: str
    about: str
    run: "Callable[[Stage], Awaitable[Sequence[Measure]]]"
    own: bool = False
