"""HTTP calls of `hasten.http.client`: calls by its signals, attempts, connections and breakers by its own numbers."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hasten._core.routes import METHODS
from hasten._core.signals import HttpCallFinished, HttpCallHook
from hasten._core.tracing import is_sampled, trace_id_of
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._caches import breaker_readings
from hasten.monitor._metric import OTHER
from hasten.monitor._recorder import Reading, Recorder

if TYPE_CHECKING:
    from hasten.http.client import Client

_ERROR_STATUS = 400


class HttpCalls:
    """What a monitor knows of the calls that its clients make."""

    def __init__(self, recorder: Recorder) -> None:
        self._durations = recorder.histograms(catalogue.HTTP_CLIENT_DURATION)
        self._recorder = recorder
        self._clients: list[Client] = []
        recorder.add_reader(self._read_attempts)

    def watch(self, client: "Client", name_for: Callable[[str, str], str]) -> None:
        """Have the metrics of a client.

        Args:
          name_for: Returns a name of its own for a `breaker` or `pool`, by what it should be.
        """
        hosts = client.statistics().hosts
        places = {host.name: (host.address, str(host.port)) for host in hosts}
        places[""] = places[hosts[0].name]  # of a call that no host was asked for
        names = [(name_for("pool", host.name), name_for("breaker", host.name)) for host in hosts]
        client.add_hook(self._hook(places))
        self._clients.append(client)
        self._recorder.add_reader(lambda: _host_readings(client, names))

    def _hook(self, places: dict[str, tuple[str, str]]) -> HttpCallHook:
        """Return what times the calls of a client: 0.8 µs for each, 1.2 in a trace that is recorded."""
        child = self._durations.child

        def note(call: HttpCallFinished) -> None:
            address, port = places[call.host]
            method = call.method if call.method in METHODS else OTHER
            status = str(call.status) if call.status else ""
            error = call.error or (status if call.status >= _ERROR_STATUS else "")
            duration = child(method, address, port, status, error)
            if is_sampled(call.traceparent):
                duration.observe_traced(call.seconds, trace_id_of(call.traceparent))
            else:
                duration.observe(call.seconds)

        return note

    def _read_attempts(self) -> Iterator[Reading]:
        """Return the attempts at each host, of all clients that call it."""
        attempts: Counter[tuple[str, str, str]] = Counter()
        for client in list(self._clients):
            for host in client.statistics().hosts:
                where = host.address, str(host.port)
                attempts[*where, "first"] += host.first
                attempts[*where, "retry"] += host.retries
                attempts[*where, "hedge"] += host.hedges
                attempts[*where, "transparent"] += host.transparent
        for labels, count in attempts.items():
            yield catalogue.HTTP_CLIENT_ATTEMPTS, labels, count


def _host_readings(client: "Client", names: list[tuple[str, str]]) -> Iterator[Reading]:
    """Return the connections and breakers of a client's hosts.

    Args:
      names: Of each host's pool and breaker.
    """
    for (pool, breaker), host in zip(names, client.statistics().hosts, strict=True):
        yield catalogue.POOL_CONNECTIONS, (pool, "used"), host.used
        yield catalogue.POOL_CONNECTIONS, (pool, "idle"), host.idle
        yield catalogue.POOL_CONNECTIONS, (pool, "limit"), host.limit
        yield catalogue.POOL_WAITING, (pool,), host.waiting
        if host.breaker is not None:
            yield from breaker_readings(breaker, host.breaker)
