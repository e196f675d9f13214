"""One request, and where its time went, in every service that it came through.

_parts      what there is to know
_send       the request
_collect    the services' admin ports are asked
_tree       rows, each below what it is within
"""

from hasten.waterfall._collect import trace
from hasten.waterfall._parts import Bar, Row, Sent, Waterfall
from hasten.waterfall._send import Wanted, send
from hasten.waterfall._tree import build

__all__ = (
    "Bar",
    "Row",
    "Sent",
    "Wanted",
    "Waterfall",
    "build",
    "send",
    "trace",
)
