"""Names that every broker takes, and values that fit into headers."""

import re
from collections.abc import Mapping

from hasten._core.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID = re.compile(r"[!-~]{1,128}")
_HEADER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def checked_name(name: str, where: str) -> str:
    """Return a topic's or a group's name.

    Letters, digits, `.`, `_` and `-`, at most 100: a queue of RabbitMQ has topic and group in its 255 bytes, a topic of
    Kafka 249 with no other characters.

    Raises:
      ConfigurationError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(where, f"{name!r} is no name", "1 to 100 letters, digits, '.', '_' or '-'")
    return name


def checked_id(message_id: str) -> str:
    """Return a message's id: 1 to 128 printable ASCII characters without spaces.

    Raises:
      ConfigurationError: it is none.
    """
    if not _ID.fullmatch(message_id):
        raise ConfigurationError(f"id {message_id!r}", "is none", "1 to 128 printable ASCII characters without spaces")
    return message_id


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers of a message.

    Raises:
      ConfigurationError: a name or a value is none.
    """
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ConfigurationError(f"header {name!r}", "is no name", "lower case letters, digits, '_' or '-'")
        if not isinstance(value, str):
            raise ConfigurationError(f"header {name}={value!r}", "is no text")
    return dict(headers)
