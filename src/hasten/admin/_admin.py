"""The admin port of a process, from its start to its end."""

import logging
from typing import TYPE_CHECKING

from hasten.admin._address import AdminAddress
from hasten.admin._port import ServedPort
from hasten.monitor import Monitor

if TYPE_CHECKING:
    from hasten.admin._captures import Captures
    from hasten.profiling import ProfileOptions

_logger = logging.getLogger("hasten.admin")


class Admin:
    """Serves what a monitor knows: started in the app's loop, answered in a thread of its own.

    Args:
      monitor: Of the process; it gets its worker's number and the URL when the port is bound.
      address: Where.
      profile: What is captured by itself; None for nothing.
    """

    def __init__(self, monitor: Monitor, address: AdminAddress, profile: "ProfileOptions | None" = None) -> None:
        self._monitor = monitor
        self._address = address
        self._profile = profile
        self._captures: Captures | None = None
        self._port = ServedPort()

    def start(self) -> None:
        """Bind the port and answer; nothing if it is open.

        Raises:
          ConfigurationError: it cannot be bound.
        """
        if self._port.url:
            return
        from hasten.admin._app import AdminApp  # the live page and its vendored code, for who has a port
        from hasten.admin._captures import Captures  # what profiles are made and read by
        from hasten.profiling._triggers import WHEN_ASKED

        listener, number = self._address.bind()
        self._monitor.worker = str(number)
        self._captures = Captures(self._monitor, self._profile or WHEN_ASKED)
        app = AdminApp(self._monitor, self._address, captures=self._captures)
        self._port.serve(app, listener, app.background)
        self._monitor.url = self._port.url
        _logger.info("%s: admin port at %s", self._monitor.service or "app", self._port.url)

    def arm(self) -> None:
        """Have what the process sees itself be a reason to capture: it has started."""
        if self._captures is not None:
            self._captures.armed = True

    async def aclose(self) -> None:
        """Answer no more. Cancellation: the thread ends by itself."""
        self._monitor.url = ""
        await self._port.aclose()
