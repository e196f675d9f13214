"""The contract of a rule: pure over syntax trees (`candidates`) and recorded accounts (`findings`).

A rule lives in one file of `hasten.diagnose.rules`, with its test in `tests/diagnose/rules/`. What only the source
shows is a candidate; what the accounts prove is a finding. `hasten check` prints candidates alone, `hasten doctor`
prints findings.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from hasten.diagnose._evidence import Evidence
    from hasten.diagnose._finding import Finding
    from hasten.diagnose._source import Module


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the source that may cost time.

    Attributes:
      code: The rule's code (`HS302`).
      file: Absolute path of the source file.
      line: Line from 1 at which the trap stands.
      lines: Every line that takes part, in order (each of three awaits in a row); at least `line`.
      function: Qualified name of the function around it; `<module>` outside any.
      message: What is wrong here, at most 100 characters (`requests.get blocks the event loop`).
      callee: The dotted name of what is called (`sqlite3.Connection.execute`); empty where it does not apply.
      runs: For each of `lines`, the project's functions that run because of it, directly or not, as (file, function):
        accounts name the innermost of them, not the line from which it was called.
    """

    code: str
    file: str
    line: int
    function: str
    message: str
    lines: tuple[int, ...] = ()
    callee: str = ""
    runs: tuple[tuple[tuple[str, str], ...], ...] = ()


class Rule(Protocol):
    """One cause of lost time.

    Attributes:
      code: Stable code, `HS` and three digits.
      name: Short name in kebab case (`blocking-call`).
      fix: One line that says what to do.
    """

    code: str
    name: str
    fix: str

    def candidates(self, module: "Module") -> Iterable[Candidate]:
        """Yield the places of one source file that may cost time; nothing for rules that only accounts can show."""
        ...

    def findings(self, evidence: "Evidence", candidates: Sequence[Candidate]) -> Iterable["Finding"]:
        """Yield what the accounts prove; `candidates` are this rule's own, from every source file of the service."""
        ...
