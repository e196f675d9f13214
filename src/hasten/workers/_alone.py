"""A service in this process, without a supervisor: what is above is systemd, or nobody."""

from collections.abc import Callable
from typing import Any

from hasten._serving import Server, Watcher
from hasten.service import ServiceOptions, serve
from hasten.workers._binding import Listeners
from hasten.workers._systemd import Systemd

_TICKS = 10  # a second


def serve_alone(
    app: Any, options: ServiceOptions, listeners: Listeners, announce: Callable[[str], None], systemd: Systemd
) -> bool:
    """Serve until SIGTERM or SIGINT, then let requests in flight finish.

    Args:
      listeners: Closed at the end.
      announce: Called with one line when connections are accepted, one for the admin port, and what goes wrong later.
    Returns:
      False if a second signal has ended it.
    Raises:
      ConfigurationError: an option is wrong.
      TargetUnreachable: the app's start-up (lifespan) failed, or its warm-up.
    """
    try:
        return serve(app, options, listeners.of_slot(0), _Told(options.service, listeners.place, announce, systemd))
    finally:
        listeners.close()
        listeners.remove()


class _Told(Watcher):
    """Tells the user and systemd."""

    def __init__(self, service: str, place: str, announce: Callable[[str], None], systemd: Systemd) -> None:
        self._service = service
        self._place = place
        self._systemd = systemd
        self._announce = announce
        self._ticks = 0
        self._pause = None if systemd.watchdog is None else max(1, int(systemd.watchdog / 2 * _TICKS))

    def starting(self, server: Server) -> None:
        """Nothing: who started this waits for what comes next."""

    def started(self, server: Server) -> None:
        """Tell where it listens."""
        self._announce(f"hasten: {self._service} listening on {self._place}")
        if server.admin_url:
            self._announce(f"hasten: {self._service} is seen live on {server.admin_url}")
        self._systemd.ready(f"listening on {self._place}")

    def ticked(self, server: Server) -> None:
        """Tell systemd that the loop is not stuck: twice as often as it asks for."""
        self._ticks += 1
        if self._pause is not None and self._ticks % self._pause == 0:
            self._systemd.ping()

    def draining(self) -> None:
        """Tell systemd that the end has begun."""
        self._systemd.stopping()

    def said(self, line: str) -> None:
        """Say it to the user."""
        self._announce(line)
