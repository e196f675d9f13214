"""Checks of what users give: each error says what is wrong, where, and what to do."""

import math
import re
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from hasten._core.errors import ConfigurationError


def checked_tags(tags: Iterable[str], where: str) -> tuple[str, ...]:
    """Return tags as a tuple.

    Raises:
      ConfigurationError: they are one text, whose letters nobody means for tags, or no texts, which nobody invalidates.
    """
    if isinstance(tags, str):
        raise ConfigurationError(where, f"one text is no list of tags: {tags!r}", f"write [{tags!r}]")
    checked = tuple(tags)
    for tag in checked:
        if not isinstance(tag, str):
            raise ConfigurationError(where, f"{tag!r} is no text", "write texts such as 'product:7'")
    return checked


def check_seconds(where: str, name: str, value: object, low: float = 0.0, high: float = math.inf) -> None:
    """Check a duration.

    Raises:
      ConfigurationError: it is no number (a text, a timedelta), or out of bounds, as NaN is out of any.
    """
    if type(value) is float and low <= value <= high:  # `get_or_set` makes a policy for each look-up
        return
    if isinstance(value, timedelta):
        raise ConfigurationError(f"{where} {name}={value!r}", "must be seconds", "give its total_seconds()")
    if not isinstance(value, int | float):
        raise ConfigurationError(f"{where} {name}={value!r}", "must be seconds", f"for example {name}=30")
    check_range(where, name, value, low, high)


def check_range(where: str, name: str, value: object, low: float, high: float) -> None:
    """Check a number.

    Raises:
      ConfigurationError: it is out of bounds, or no number.
    """
    if not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigurationError(f"{where} {name}={value!r}", f"must be from {low:g} to {high:g}")


def checked_namespace(namespace: str) -> str:
    """Return a namespace that every second tier and backplane can take.

    Raises:
      ConfigurationError: it cannot stand in a key, or would take the place of the hash tags of Redis Cluster.
    """
    if not namespace or not namespace.isprintable() or "{" in namespace or "}" in namespace:
        problem = "must be printable text without { and }"
        raise ConfigurationError(f"Cache(namespace={namespace!r})", problem, 'for example namespace="shop"')
    return namespace


# ---- addresses


def split_address(address: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
      ConfigurationError: it has none; the message and what it hangs on do not show a password.
    """
    try:
        return urlsplit(address)
    except ValueError:
        problem, remedy = "is no URL", "write [ and ] in a password as %5B and %5D"
        raise ConfigurationError(f"cache {without_password(address)}", problem, remedy) from None


def hides_login(address: str) -> bool:
    """Whether an @ stands where a URL has no login, behind a / ? or #: perhaps these are part of a password."""
    place = address.partition("://")[2]
    return "@" in place and "@" not in re.split("[/?#]", place, maxsplit=1)[0]


def without_password(address: str) -> str:
    """Return an address as messages show it, without its login and its options, which may be secrets.

    It is right for what is no URL, too: a password with a `/`, `?` or `#` that is not written as the URL wants it.
    """
    scheme, mark, place = address.partition("://") if "://" in address else ("", "", address)
    before, _, options = place.partition("?")
    shown = "..." if "@" in options else before.rpartition("@")[2]  # in options: the ? may be part of a password
    return f"{scheme}{mark}{shown}"
