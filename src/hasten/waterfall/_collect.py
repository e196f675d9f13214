"""Asks admin ports for what their services did in a trace, until all is there."""

import asyncio
import time
from collections.abc import Iterable, Sequence

import msgspec

from hasten._core.errors import TargetUnreachable
from hasten._core.tracing import asked_traceparent, trace_id_of
from hasten.admin import Reply, ask_all
from hasten.monitor import Part, boot_of_this_machine
from hasten.waterfall._parts import Waterfall
from hasten.waterfall._send import Wanted, send
from hasten.waterfall._tree import build

USUAL_PORTS = tuple(f"http://127.0.0.1:{port}" for port in range(9464, 9464 + 32))
"""Where the processes of this machine have their admin ports: each the next that is free."""
_WITHIN = 1.0  # seconds that a port has for its answer
_PAUSE = 0.05  # seconds between two questions: the ledger makes accounts as late as that
_CALM = 0.25  # seconds in which nothing new has come: it is all
_MOST_SECONDS = 3.0
_OK = 200
_UNAUTHORIZED = 401


def trace(wanted: Wanted, admin: Sequence[str], token: str, *, wait: float = 0.0) -> Waterfall:
    """Send a request, and return what all services did for it.

    Args:
      admin: URLs of admin ports; empty for those of this machine.
      token: Of the admin ports.
      wait: Seconds to wait before they are asked: for what goes on behind the response, messages for example.
    Raises:
      ConfigurationError: it is no request that can be sent.
      TargetUnreachable: nobody answers, an admin port that was named does not, or no service knows of the request.
    """
    traceparent = asked_traceparent()
    sent = send(wanted, traceparent)
    time.sleep(wait)
    parts = asyncio.run(
        _collected(tuple(admin) or USUAL_PORTS, trace_id_of(sent.traceparent), token, named=bool(admin))
    )
    if not any(part.works for part in parts):
        remedy = "name the admin ports of its services with --admin" if not admin else "is it served with hasten?"
        raise TargetUnreachable(wanted.url, f"answered {sent.status}, and no service has told of it", remedy)
    waterfall = build(sent, parts, boot_of_this_machine())
    return msgspec.structs.replace(waterfall, asked=tuple(admin))


async def _collected(urls: Sequence[str], trace_id: str, token: str, *, named: bool) -> list[Part]:
    """Ask until every request has its account, or nothing new has come for a while."""
    begun = changed = time.monotonic()
    known: list[Part] = []
    while True:
        parts = _parts(await ask_all(urls, f"/traces/{trace_id}", token, _WITHIN), named=named)
        now = time.monotonic()
        if parts != known:
            known, changed = parts, now
        if _complete(known) or now - changed > _CALM or now - begun > _MOST_SECONDS:
            return known
        await asyncio.sleep(_PAUSE)


def _complete(parts: Iterable[Part]) -> bool:
    requests = [work for part in parts for work in part.works if work.kind == "request"]
    return bool(requests) and all(work.account is not None for work in requests)


def _parts(replies: Iterable[Reply], *, named: bool) -> list[Part]:
    """Return what the ports have said; of ports that were not named, those that are none are passed over.

    Raises:
      TargetUnreachable: one that was named says nothing of traces, or one wants a token.
    """
    found: list[Part] = []
    for reply in replies:
        try:
            if reply.status == _OK:
                found.append(msgspec.json.decode(reply.body, type=Part))
            elif reply.status == _UNAUTHORIZED:
                raise TargetUnreachable(reply.url, "wants its token", "give it with --token")
            elif named:
                raise TargetUnreachable(reply.url, reply.problem or f"is no admin port: status {reply.status}")
        except msgspec.MsgspecError as error:
            if named:
                raise TargetUnreachable(reply.url, f"is no admin port: {error}") from None
    return found
