"""Signals to hooks: whoever has hooks builds the record, and tells it here."""

import asyncio
from collections.abc import Iterable

from hasten._core.signals import EventHook, EventSignal


def tell(hooks: Iterable[EventHook], signal: EventSignal) -> None:
    """Call hooks with a signal, in the loop's thread; one that raises harms nobody."""
    for hook in hooks:
        try:
            hook(signal)
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "hasten.events: a hook raised", "exception": error}
            )
