"""What a case of the table of RFC 9111 and RFC 5861 is made of.

A case says what the app answers, which requests come with how much time between them, and what the second one gets:
HIT and STALE are the first response, fresh and stale; NEW is one that the app has made for this request.
"""

from dataclasses import KW_ONLY, dataclass, field
from email.utils import formatdate
from typing import Any

from hasten.http import Rule
from tests.http.site import NOON, Ask, Reply

HIT, STALE, NEW = "hit", "stale", "new"
_ASK, MINUTE, _ANY = Ask(), Reply({"cache-control": "max-age=60"}), Rule("/{path:path}")
STALE_RULE = Rule("/page", stale=100, stale_if_error=200)


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
      section: Of RFC 9111, or of RFC 5861 where it begins with 5861.
      reply: What the app answers first; `then` what it answers later, `last` after that.
      first, second: What is asked; between them `between`, and so many seconds `passed`.
      expected: HIT, STALE or NEW; with `status`, `fields` that are there and `absent` ones.
    """

    name: str
    section: str
    _: KW_ONLY
    reply: Reply = MINUTE
    then: Reply | None = None
    last: Reply | None = None
    first: Ask = _ASK
    between: Ask | None = None
    passed: float = 0.0
    second: Ask = _ASK
    expected: str = HIT
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    rule: Rule = _ANY

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


def says(control: str, **more: Any) -> Reply:
    """Return a reply with Cache-Control."""
    return Reply({"cache-control": control, **{name.replace("_", "-"): value for name, value in more.items()}})


def asks(method: str = "GET", path: str = "/page", **fields: str) -> Ask:
    return Ask({name.replace("_", "-"): value for name, value in fields.items()}, path, method=method)


def date(seconds: float) -> str:
    """Return an HTTP date so many seconds after the beginning."""
    return formatdate(NOON + seconds, usegmt=True)
