"""A worker, from within: it takes orders from its supervisor, serves, and leaves when it is told, or left alone."""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys

from hasten._core.errors import ConfigurationError, HastenError
from hasten._core.targets import import_app, import_object
from hasten._serving import Server, Watcher
from hasten.monitor import is_bus
from hasten.service import serve
from hasten.workers._messages import DRAIN, ORDERS, Failed, Lines, Orders, Ready, Report, Worn, line_of, received

_READ_BYTES = 65536
_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Serve as a supervisor orders; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hasten.workers", description="Started by `hasten run --workers`.")
    parser.add_argument("target")
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--channel", type=int, required=True)
    given = parser.parse_args(arguments)
    for ours in (signal.SIGINT, signal.SIGHUP):  # a terminal tells its whole group, and the supervisor decides
        signal.signal(ours, lambda *_: None)
    with _inherited(given.channel) as channel:
        reporter = _Reporter(channel)
        try:
            return 0 if reporter.serve() else _INTERRUPTED
        except HastenError as error:
            reporter.report(Failed(str(error), error.exit_code))
            return error.exit_code


class _Reporter(Watcher):
    """Tells the supervisor how the server is, and the server what the supervisor wants."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lines = Lines()
        self._most: int | None = None

    def serve(self) -> bool:
        """Read the orders and serve.

        Raises:
          HastenError: it cannot.
        """
        orders = self._orders()
        self._most = orders.max_requests
        app = _app(orders.target)
        return serve(app, orders.options, [_inherited(number) for number in orders.listeners], self)

    def _orders(self) -> Orders:
        lines: list[bytes] = []
        while not lines:
            data = self._channel.recv(_READ_BYTES)
            if not data:
                raise ConfigurationError("hasten.workers", "nobody gives orders", "use hasten run --workers")
            lines = self._lines.feed(data)
        self._channel.settimeout(0)
        return ORDERS.decode(lines[0])

    def report(self, report: Report) -> None:
        """Tell the supervisor."""
        with contextlib.suppress(OSError):  # it is gone
            self._channel.send(line_of(report))

    # ---- what the server tells

    def starting(self, server: Server) -> None:
        """Listen to the supervisor."""
        asyncio.get_running_loop().add_reader(self._channel, self._hear, server)

    def started(self, server: Server) -> None:
        """Tell that requests are answered."""
        self.report(Ready(server.admin_url))

    def ticked(self, server: Server) -> None:
        """Tell when it has answered as many requests as it may, once."""
        if self._most is not None and server.requests >= self._most:
            self.report(Worn(f"it has answered {server.requests} requests"))
            self._most = None

    def draining(self) -> None:
        """Nothing: the supervisor knows, or sees it end."""

    def said(self, line: str) -> None:
        """Say it to the user."""
        print(line, file=sys.stderr, flush=True)

    def _hear(self, server: Server) -> None:
        data = received(self._channel)
        if data is None:  # the supervisor is dead: nobody would end this process
            asyncio.get_running_loop().remove_reader(self._channel)
            server.drain()
            return
        for line in self._lines.feed(data):
            order = DRAIN.decode(line)
            server.drain(hand_over=order.hand_over, lame_duck=order.lame_duck)


def _inherited(number: int) -> socket.socket:
    """Return a socket of the supervisor's, which processes that the app starts do not get."""
    inherited = socket.socket(fileno=number)
    inherited.set_inheritable(False)
    return inherited


def _app(target: str) -> object:
    found = import_object(target)
    if is_bus(found):
        raise ConfigurationError("--workers", f"{target} is a bus, which serves no requests", "leave it out")
    return import_app(target)
