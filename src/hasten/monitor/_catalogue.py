"""Every metric of hasten, named once: the recorder, the dashboards, the rules, the docs and the tests read this file.

Names are OpenTelemetry's semantic conventions (1.45, as Prometheus writes them) where they have one, and `hasten_` for
the rest. Times are seconds. `job` (the service) and `instance` come from Prometheus; `worker`, the number of a process
among those of one service, stands on every series.
"""

from hasten.monitor._metric import Metric

REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of requests, calls and messages; the threshold of each objective is added by `Monitor`."""
_SHORT_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_LONG_BOUNDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

# ---- requests

HTTP_SERVER_DURATION = Metric(
    name="http_server_request_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("http_request_method", "http_route", "http_response_status_code"),
    bounds=REQUEST_BOUNDS,
    most=1000,
    help="From the call of the app to the last byte of the response; the route is empty where none matched",
)
HTTP_SERVER_ACTIVE = Metric(
    name="http_server_active_requests", kind="gauge", help="Requests whose response is not complete"
)

HTTP_CLIENT_DURATION = Metric(
    name="http_client_request_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("http_request_method", "server_address", "server_port", "http_response_status_code", "error_type"),
    bounds=REQUEST_BOUNDS,
    most=1000,
    help="HTTP calls of hasten.http.client, all attempts together, by the host that was asked last; error_type is the "
    "error's name, or the status from 400 on, or empty; the status is empty without an answer",
)
HTTP_CLIENT_ATTEMPTS = Metric(
    name="hasten_http_client_attempts_total",
    kind="counter",
    labels=("server_address", "server_port", "attempt"),
    most=400,
    help="Attempts of HTTP calls: first, retry, hedge, transparent (written anew, since a kept connection was closed)",
)

# ---- calls

RPC_SERVER_DURATION = Metric(
    name="rpc_server_call_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("rpc_method", "rpc_response_status_code"),
    bounds=REQUEST_BOUNDS,
    most=1000,
    help="gRPC calls that were answered; methods that the server does not have are counted together",
)
RPC_SERVER_ACTIVE = Metric(name="hasten_rpc_server_active_calls", kind="gauge", help="gRPC calls that are answered now")
RPC_CLIENT_DURATION = Metric(
    name="rpc_client_call_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("rpc_method", "rpc_response_status_code"),
    bounds=REQUEST_BOUNDS,
    most=1000,
    help="gRPC calls that were made, each attempt by itself",
)
RPC_CLIENT_ATTEMPTS = Metric(
    name="hasten_rpc_client_attempts_total",
    kind="counter",
    labels=("rpc_method", "attempt"),
    most=1000,
    help="Attempts of gRPC calls: first, retry, hedge, transparent",
)
RPC_BYTES = Metric(
    name="hasten_rpc_message_bytes_total",
    kind="counter",
    unit="bytes",
    labels=("side", "direction", "rpc_method"),
    most=1000,
    help="gRPC messages as they were sent and received, compressed, without framing; side is client or server",
)

# ---- messages

MESSAGES_SENT = Metric(
    name="messaging_client_sent_messages_total",
    kind="counter",
    labels=("messaging_destination_name", "error_type"),
    help="Published messages; error_type is unconfirmed where the broker has not confirmed one in time, else empty",
)
PUBLISH_DURATION = Metric(
    name="messaging_client_operation_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("messaging_destination_name", "messaging_operation_name"),
    bounds=REQUEST_BOUNDS,
    help="Until the broker had confirmed a message, or had not in time (messaging_operation_name is publish)",
)
MESSAGES_CONSUMED = Metric(
    name="messaging_client_consumed_messages_total",
    kind="counter",
    labels=("messaging_destination_name", "messaging_consumer_group_name"),
    help="Messages that the broker has delivered",
)
PROCESS_DURATION = Metric(
    name="messaging_process_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("messaging_destination_name", "messaging_consumer_group_name", "error_type"),
    bounds=REQUEST_BOUNDS,
    most=400,
    help="Handlers of messages; error_type is failed where one has raised, else empty",
)
EVENT_WAIT = Metric(
    name="hasten_event_wait_seconds",
    kind="histogram",
    unit="seconds",
    labels=("messaging_destination_name", "messaging_consumer_group_name"),
    bounds=_LONG_BOUNDS,
    help="From a message's publishing to its handler's start, by the two machines' clocks",
)
EVENT_RETRIES = Metric(
    name="hasten_event_retries_total",
    kind="counter",
    labels=("messaging_destination_name", "messaging_consumer_group_name", "cause"),
    most=600,
    help="Messages that are to be handled again: failed, busy, batch",
)
DEAD_LETTERS = Metric(
    name="hasten_dead_letters_total",
    kind="counter",
    labels=("messaging_destination_name", "messaging_consumer_group_name", "cause"),
    most=600,
    help="Messages that were buried: failed, rejected, malformed, expired, returned",
)
CONSUMER_LAG = Metric(
    name="hasten_consumer_lag_messages",
    kind="gauge",
    labels=("messaging_destination_name", "messaging_consumer_group_name"),
    help="Messages that a group has not handled, as the broker said last; every consumer of a group says the same",
)
DEAD_LETTER_BACKLOG = Metric(
    name="hasten_dead_letter_messages",
    kind="gauge",
    labels=("messaging_destination_name", "messaging_consumer_group_name"),
    help="Dead letters of a group, as the broker said last; every consumer of a group says the same",
)
OUTBOX_WAITING = Metric(
    name="hasten_outbox_messages", kind="gauge", labels=("table",), help="Messages that wait in an outbox"
)
OUTBOX_OLDEST = Metric(
    name="hasten_outbox_oldest_seconds",
    kind="gauge",
    unit="seconds",
    labels=("table",),
    help="For how long the oldest message of an outbox has waited",
)
OUTBOX_REFUSED = Metric(
    name="hasten_outbox_refused_messages",
    kind="gauge",
    labels=("table",),
    help="Messages of an outbox that the broker refuses",
)

# ---- caches

CACHE_REQUESTS = Metric(
    name="hasten_cache_requests_total",
    kind="counter",
    labels=("cache", "region", "result"),
    most=600,
    help="Lookups in memory: hit, stale (served while it is renewed), miss",
)
CACHE_JOINS = Metric(
    name="hasten_cache_singleflight_joins_total",
    kind="counter",
    labels=("cache", "region"),
    help="Misses that have waited for the load of another",
)
CACHE_LOADS = Metric(
    name="hasten_cache_loads_total",
    kind="counter",
    labels=("cache", "region", "source", "result"),
    most=800,
    help="What answered a miss: source is second or loader, result ok or error",
)
CACHE_LOAD_DURATION = Metric(
    name="hasten_cache_load_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("cache", "region", "source"),
    bounds=REQUEST_BOUNDS,
    most=400,
    help="Until a value that memory had not was there, or was known not to come",
)
CACHE_STALE_ON_ERROR = Metric(
    name="hasten_cache_stale_on_error_total",
    kind="counter",
    labels=("cache", "region"),
    help="Stale values that were served because loading had failed or took too long",
)
CACHE_OVERTAKEN = Metric(
    name="hasten_cache_overtaken_loads_total",
    kind="counter",
    labels=("cache", "region"),
    help="Loads whose value was not kept, since an invalidation came meanwhile",
)
CACHE_STALENESS = Metric(
    name="hasten_cache_staleness_seconds",
    kind="gauge",
    unit="seconds",
    labels=("cache", "region"),
    help="For how long the stalest value that was ever served had not been fresh",
)
CACHE_ENTRIES = Metric(name="hasten_cache_entries", kind="gauge", labels=("cache",), help="Values in memory")
CACHE_SIZE = Metric(
    name="hasten_cache_size_bytes",
    kind="gauge",
    unit="bytes",
    labels=("cache",),
    help="Of the values in memory, where the cache has a bound in bytes",
)
CACHE_EVICTIONS = Metric(
    name="hasten_cache_evictions_total", kind="counter", labels=("cache",), help="Values that had to make room"
)
CACHE_SECOND_FAILURES = Metric(
    name="hasten_cache_second_failures_total",
    kind="counter",
    labels=("cache",),
    help="Failures and timeouts of the second tier",
)
CACHE_PENDING = Metric(
    name="hasten_cache_pending_invalidations",
    kind="gauge",
    labels=("cache",),
    help="Invalidations that the second tier or the other processes have not got yet",
)
CACHE_TRUSTED = Metric(
    name="hasten_cache_trusted",
    kind="gauge",
    labels=("cache",),
    help="1 while what other processes make invalid is heard; 0 while the memory is not believed",
)

# ---- limits

LIMITER_LIMIT = Metric(
    name="hasten_limiter_limit",
    kind="gauge",
    labels=("limiter",),
    help="Requests that may be under way at once, as the limiter has found",
)
LIMITER_IN_FLIGHT = Metric(
    name="hasten_limiter_in_flight", kind="gauge", labels=("limiter",), help="Requests that it has admitted, under way"
)
LIMITER_REQUESTS = Metric(
    name="hasten_limiter_requests_total",
    kind="counter",
    labels=("limiter", "priority", "outcome"),
    help="Requests that asked for room: priority is low, normal or high, outcome admitted or refused",
)

# ---- dependencies

BREAKER_STATE = Metric(
    name="hasten_breaker_state",
    kind="gauge",
    labels=("breaker",),
    help="0 closed, 1 half-open (a probe is out), 2 open",
)
BREAKER_OPENED = Metric(
    name="hasten_breaker_opened_total", kind="counter", labels=("breaker",), help="Times that a breaker has opened"
)
BREAKER_CALLS = Metric(
    name="hasten_breaker_calls_total",
    kind="counter",
    labels=("breaker", "outcome"),
    most=600,
    help="Calls behind a breaker: answer, failure, timeout, probe, refused; slow ones among the answers once more",
)
POOL_CONNECTIONS = Metric(
    name="hasten_pool_connections",
    kind="gauge",
    labels=("pool", "state"),
    help="Connections of a pool: used, idle, and its limit",
)
POOL_WAITING = Metric(
    name="hasten_pool_waiting", kind="gauge", labels=("pool",), help="Callers that wait for a pool's connection"
)

# ---- the process

LOOP_LAG = Metric(
    name="hasten_loop_lag_seconds",
    kind="histogram",
    unit="seconds",
    bounds=_SHORT_BOUNDS,
    help="How late the event loop has called a timer back, ten times a second",
)
LOOP_STEP = Metric(
    name="hasten_loop_step_duration_seconds",
    kind="histogram",
    unit="seconds",
    bounds=_SHORT_BOUNDS,
    help="Steps on the event loop of the requests that the ledger has recorded",
)
LOOP_BLOCKING = Metric(
    name="hasten_loop_blocking_total",
    kind="counter",
    labels=("site",),
    help="Times that something held the event loop for 20 ms or more, by file, line and function",
)
LOOP_BLOCKING_TIME = Metric(
    name="hasten_loop_blocking_seconds_total",
    kind="counter",
    unit="seconds",
    labels=("site",),
    help="For how long, all in all",
)
LOOP_BLOCKED = Metric(
    name="hasten_loop_blocked_seconds",
    kind="gauge",
    unit="seconds",
    help="For how long the event loop has not called a timer back that is due; 0 while it does",
)
LOOP_TASKS = Metric(name="hasten_loop_tasks", kind="gauge", help="Tasks that are not done")
STRAYS = Metric(
    name="hasten_strays_total",
    kind="counter",
    labels=("kind", "site"),
    most=400,
    help="Tasks and coroutines that nobody looks after, as a TaskWatch has found them: failed, destroyed, "
    "never-awaited, unheld; by file, line and function",
)
BACKGROUND_TASKS = Metric(
    name="hasten_background_tasks", kind="gauge", labels=("background",), help="Tasks that a Background has, under way"
)
BACKGROUND_ENDED = Metric(
    name="hasten_background_ended_total",
    kind="counter",
    labels=("background", "outcome"),
    most=400,
    help="Tasks that were given to a Background, by their end: done, failed, cancelled, or refused and not begun",
)
GC_PAUSE = Metric(
    name="hasten_gc_pause_seconds",
    kind="histogram",
    unit="seconds",
    labels=("generation",),
    bounds=_SHORT_BOUNDS,
    help="Garbage collections, which stop all threads that run Python",
)
GC_FROZEN = Metric(
    name="hasten_gc_frozen_objects",
    kind="gauge",
    help="Objects that garbage collections leave alone, as a GcPolicy has counted them when it froze them",
)
THREADPOOL_WAIT = Metric(
    name="hasten_threadpool_wait_seconds",
    kind="histogram",
    unit="seconds",
    bounds=_SHORT_BOUNDS,
    help="Until a thread has taken a function, in the requests that the ledger has recorded",
)
THREADPOOL_THREADS = Metric(
    name="hasten_threadpool_threads",
    kind="gauge",
    labels=("pool", "state"),
    help="Threads of a ThreadPool, of the loop's executor and of anyio (FastAPI's def endpoints): busy, and the limit",
)
THREADPOOL_QUEUED = Metric(
    name="hasten_threadpool_queued", kind="gauge", labels=("pool",), help="Functions that no thread has taken yet"
)
THREADPOOL_QUEUE_DURATION = Metric(
    name="hasten_threadpool_queue_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("pool",),
    bounds=_SHORT_BOUNDS,
    help="Until a thread of a ThreadPool has taken a function, or its caller has given up",
)
THREADPOOL_RUN_DURATION = Metric(
    name="hasten_threadpool_run_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("pool",),
    bounds=REQUEST_BOUNDS,
    help="For how long a function had a thread of a ThreadPool",
)
THREADPOOL_CALLS = Metric(
    name="hasten_threadpool_calls_total",
    kind="counter",
    labels=("pool", "outcome"),
    most=600,
    help="Functions that were given to a ThreadPool: ok, error, abandoned (ended when its caller had gone), and those "
    "that were not begun: left (its caller had gone), expired (its deadline had passed), refused",
)
LEDGER_SECONDS = Metric(
    name="hasten_ledger_seconds_total",
    kind="counter",
    unit="seconds",
    labels=("endpoint", "kind"),
    most=2000,
    help="Where the time of what the ledger has recorded went: computing, blocking, preempted, waiting, cache, held, "
    "queued, thread-queued, thread, collecting, unread, unexplained; the endpoint is empty where no route matched",
)
LEDGER_REQUESTS = Metric(
    name="hasten_ledger_requests_total",
    kind="counter",
    labels=("endpoint",),
    help="Requests, gRPC calls and messages that the ledger has recorded",
)
CHECK = Metric(
    name="hasten_check_ok",
    kind="gauge",
    labels=("check", "required"),
    help="1 if something that should hold does, 0 if not, as /readyz says; without one that is required (true) the "
    "process is not ready",
)
OTLP_EXPORTS = Metric(
    name="hasten_otlp_exports_total",
    kind="counter",
    labels=("signal", "outcome"),
    help="Batches that were sent to the OTLP collector: signal is spans or metrics, outcome ok or failed",
)
OTLP_DROPPED = Metric(
    name="hasten_otlp_dropped_spans_total",
    kind="counter",
    labels=("cause",),
    help="Spans that were recorded and not sent: queue (it was full), export (the collector did not take them), end "
    "(left when the process ended)",
)
FOLDED = Metric(
    name="hasten_metrics_folded_total",
    kind="counter",
    labels=("metric",),
    help="Observations, and readings at a scrape, that were counted under _other, because the metric has as many label "
    "sets as it may",
)
BUILD = Metric(
    name="hasten_build_info",
    kind="gauge",
    labels=("service", "version", "python"),
    help="Always 1; its labels say what runs",
)
PROCESS_CPU = Metric(
    name="process_cpu_seconds_total", kind="counter", unit="seconds", help="User and system CPU time of the process"
)
PROCESS_MEMORY = Metric(
    name="process_resident_memory_bytes", kind="gauge", unit="bytes", help="Memory that the process has in RAM"
)
PROCESS_FILES = Metric(name="process_open_fds", kind="gauge", help="Open file descriptors")
PROCESS_MOST_FILES = Metric(name="process_max_fds", kind="gauge", help="File descriptors that it may have open")
PROCESS_START = Metric(
    name="process_start_time_seconds", kind="gauge", unit="seconds", help="When the process began, Unix time"
)

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in this order."""
