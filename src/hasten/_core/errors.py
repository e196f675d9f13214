"""The errors of hasten.

HastenError
├── ConfigurationError   the caller's words are wrong: exit 2
├── MissingDependency    an optional package is absent: exit 2
├── TargetUnreachable    what was to be measured does not answer: exit 3
├── InvalidMeasurement   it was measured, but the figures cannot be trusted: exit 3
├── WorkersFailed        (hasten.workers) no worker of `hasten run` serves: exits as the worker has
├── DeadlineExceeded     (hasten.resilience; also a TimeoutError) the time for the work is over, or too short for it
├── Refused              (hasten.resilience) work is not begun: a breaker, a limit or a bulkhead says so: exit 3
├── HttpError            (hasten.http.client) a call over HTTP has no usable answer: exit 3
│   └── ConnectFailed, ConnectionLost, ProtocolError, BodyTooLarge, HttpStatusError, DecodeFailed
├── ResolutionError      (hasten.rpc) a name has no address now: exit 3
├── BrokerError          (hasten.events) a broker refuses, or fails at something: exit 3
│   ├── BrokerUnavailable    it does not answer
│   ├── PublishTimeout       (also a TimeoutError) a message was not confirmed in time
│   └── Unroutable           nobody would get a message
├── RequestFailed, RequestTimeout    (hasten.events) a request has no answer, or one that is an error: exit 3
├── OnceUnavailable      (hasten.events) the place where handled messages are remembered does not answer: exit 3
└── Reject, AlreadyDone  (hasten.events) raised in handlers: no retry; no second effect

Constructors take values and build the message: what is wrong, where, what to do.
"""


class HastenError(Exception):
    """Raised when hasten cannot do what it was asked to; the message is one line a user can act on."""

    exit_code = 2


class ConfigurationError(HastenError):
    """Raised when an option, a plan or a target is wrong; the caller's to mend.

    Args:
      where: What holds the error: an option, a file with its key, a module.
      problem: What is wrong there.
      remedy: What to do; empty where the problem says it already.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))
        self.where = where
        self.problem = problem
        self.remedy = remedy


class MissingDependency(HastenError):
    """Raised when a feature needs a package that is not installed; install the named extra."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'hasten[{extra}]'")
        self.package = package
        self.extra = extra


class TargetUnreachable(HastenError):
    """Raised when the service to be measured cannot be started or does not answer; see why in the message."""

    exit_code = 3

    def __init__(self, target: str, reason: str, remedy: str = "") -> None:
        super().__init__(f"{target}: {reason}" + (f"; {remedy}" if remedy else ""))
        self.target = target
        self.reason = reason


class InvalidMeasurement(HastenError):
    """Raised when a measurement ran but its figures cannot be trusted; the message names the failed check."""

    exit_code = 3

    def __init__(self, check: str, measured: str, remedy: str = "") -> None:
        super().__init__(f"measurement not valid: {check}: {measured}" + (f"; {remedy}" if remedy else ""))
        self.check = check
        self.measured = measured
