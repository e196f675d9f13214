"""A member in a process of its own: prints what its listener is told, with the time by the machine's monotonic clock.

    python -m tests.cache.backplanes.worker URL NAMESPACE TRUST_SECONDS

Each line is a JSON array: what was told (keys, a moment until which to trust, null, or that it is alone), and when.
"""

import asyncio
import json
import sys
from time import monotonic

from hasten.cache._backplane import Invalidation, Listener
from hasten.cache.backplanes.redis import RedisBackplane


class Printing(Listener):
    """Prints what it is told, after it has been told."""

    def apply(self, invalidation: Invalidation) -> None:
        self._print(invalidation.keys)

    def trust(self, until: float) -> None:
        self._print(until)

    def distrust(self) -> None:
        self._print(None)

    def alone(self, until: float) -> None:
        self._print({"alone": until})

    def _print(self, told: tuple[str, ...] | dict[str, float] | float | None) -> None:
        print(json.dumps([told, monotonic()]), flush=True)


async def main(url: str, namespace: str, trust: float) -> None:
    """Be a member until the standard input ends."""
    backplane = RedisBackplane(url, namespace, trust_seconds=trust)
    await backplane.start(Printing())
    await asyncio.to_thread(sys.stdin.read)
    await backplane.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
