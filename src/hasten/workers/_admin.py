"""The admin port of all workers together, in the supervisor; each worker's own is a free one on loopback."""

from collections.abc import Iterable

import msgspec

from hasten.admin import NO_ADMIN, AdminAddress, Aggregate, parse_address
from hasten.service import ServiceOptions

_ANY = "127.0.0.1:0"


class WorkersAdmin:
    """Answers for all workers.

    Args:
      options: Its admin address is this port's; if it is taken, the next that is free.
      serves: False leaves the address to the one worker there is.
    Raises:
      ConfigurationError: the address is none, or is open to others without a token.
    """

    def __init__(self, options: ServiceOptions, *, serves: bool) -> None:
        self.of_workers = options.admin
        self._address: AdminAddress | None = None
        self._aggregate: Aggregate | None = None
        self._workers: tuple[str, ...] = ()
        if serves and options.admin is not None and options.admin != NO_ADMIN:
            self._address = parse_address(options.admin, options.admin_token)
            self.of_workers = _ANY

    @property
    def url(self) -> str:
        """Where it answers; empty where it does not."""
        return "" if self._aggregate is None else self._aggregate.url

    def start(self) -> None:
        """Bind the port and answer.

        Raises:
          ConfigurationError: it cannot be bound.
        """
        if self._address is None:
            return
        free, _ = self._address.bind()
        port = free.getsockname()[1]
        free.close()
        self._aggregate = Aggregate(lambda: self._workers, msgspec.structs.replace(self._address, port=port))
        self._aggregate.start()

    def ask(self, workers: Iterable[str]) -> None:
        """Ask these workers from now on: URLs of their admin ports, empty for one without."""
        self._workers = tuple(url for url in workers if url)

    async def aclose(self) -> None:
        """Answer no more."""
        if self._aggregate is not None:
            await self._aggregate.aclose()
