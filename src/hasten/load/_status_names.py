"""gRPC's status codes by name, without importing grpc.

Source: grpc/grpc, doc/statuscodes.md.
"""

import difflib

from hasten._core.errors import ConfigurationError

_NAMES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
OK = 0
DEADLINE_EXCEEDED = 4


def status_name(code: int) -> str:
    """Return the name of a status, `CODE n` for a number that gRPC does not define."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else f"CODE {code}"


def status_code(name: str, where: str) -> int:
    """Return the number of a status.

    Raises:
      ConfigurationError: there is none of that name; `where` is named as its place.
    """
    if name not in _NAMES:
        near = difflib.get_close_matches(name.upper(), _NAMES, 1)
        remedy = f"did you mean {near[0]}?" if near else f"one of {', '.join(_NAMES)}"
        raise ConfigurationError(where, f"{name!r} is no gRPC status", remedy)
    return _NAMES.index(name)


def is_status(code: int) -> bool:
    """Tell whether gRPC defines a status of this number."""
    return 0 <= code < len(_NAMES)
