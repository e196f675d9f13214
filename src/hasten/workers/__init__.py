"""The processes of a service: one alone, or workers below a supervisor that replaces them without losing a request.

_binding      the sockets, which the supervisor owns
_fleet        which worker is started, drained or killed when: pure
_supervisor   does that to processes; _process, a worker from above; _worker, from within; _messages, what they say
_admin        the admin port of all workers        _systemd   who looks after services
_machine      cores and memory                     _reload    files that change, in development
_alone        one process without a supervisor

`hasten.service.serve` is what runs in each of them.
"""

from hasten.workers._alone import serve_alone
from hasten.workers._binding import Binding, Listeners, bind
from hasten.workers._machine import available_cores, parse_size
from hasten.workers._supervisor import SupervisorOptions, WorkersFailed, supervise
from hasten.workers._systemd import Systemd, take_sockets

__all__ = (
    "Binding",
    "Listeners",
    "SupervisorOptions",
    "Systemd",
    "WorkersFailed",
    "available_cores",
    "bind",
    "parse_size",
    "serve_alone",
    "supervise",
    "take_sockets",
)
