"""The live page: a sample of the process each second, sent to whoever looks.

_feed       makes the samples, in the admin thread
_stream     sends them to one viewer, as server-sent events
_page       the page around them, one document: page.html, page.css, page.js, and uPlot (vendor/)
_session    who may see it
_client     the other end of the stream, for `hasten top`, and `_processes` and `_search`, which find it
"""

from hasten.admin.live._client import Place, fetch_story, follow, parse_place
from hasten.admin.live._feed import Feed
from hasten.admin.live._page import Page
from hasten.admin.live._processes import family, listening_ports, pids_of
from hasten.admin.live._search import admin_ports_of
from hasten.admin.live._session import Session
from hasten.admin.live._stream import stream

__all__ = (
    "Feed",
    "Page",
    "Place",
    "Session",
    "admin_ports_of",
    "family",
    "fetch_story",
    "follow",
    "listening_ports",
    "parse_place",
    "pids_of",
    "stream",
)
