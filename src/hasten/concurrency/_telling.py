"""Records to hooks: whoever has hooks builds the record, and tells it here."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

Record = TypeVar("Record")


def tell(hooks: Iterable[Callable[[Record], None]], record: Record) -> None:
    """Call hooks with a record, in the loop's thread; one that raises harms nobody."""
    for hook in hooks:
        try:
            hook(record)
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "hasten.concurrency: a hook raised", "exception": error}
            )
