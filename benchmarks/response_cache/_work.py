"""What is served: documents of 956 bytes of JSON, one for each of 32 connections."""

from typing import Any

CONNECTIONS = 32
FIRST = 10
"""The number of the first document; all have two digits, so that all are of one size."""
BODY_BYTES = 956
_WIDGETS = 8
_DESCRIPTION = "lorem ipsum dolor sit amet consectetur elit,"
UNCACHED = ("bare", "bare-protocol", "fastapi")
"""Subjects that make the document each time, or have it ready."""
TTL = 600
"""Seconds: nothing expires in a run."""


def document(number: int) -> dict[str, Any]:
    """Return the document that `/items/{number}` answers with."""
    widgets = [
        {"id": place, "name": f"widget {place}", "price": 9.75 + place, "tags": ["a", "b"], "about": _DESCRIPTION}
        for place in range(_WIDGETS)
    ]
    return {"number": number, "owner": f"user-{number}", "widgets": widgets, "ok": True}


def path_of(number: int) -> str:
    """Return its path."""
    return f"/items/{number}"
