"""What can go wrong with a call to another service.

HttpError
├── ConnectFailed     no connection: the service has not seen the request
├── ConnectionLost    the connection ended before the answer did
├── ProtocolError     what came is no HTTP/1.1 response
├── BodyTooLarge      the answer is longer than the client takes
├── HttpStatusError   the service answered, and not with success
└── DecodeFailed      the body is not what was asked for

Beside them calls raise `hasten.resilience.DeadlineExceeded` and `Refused`.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hasten._core.errors import HastenError

if TYPE_CHECKING:
    from hasten.http.client._response import Response


class HttpError(HastenError):
    """Raised when a call has no answer that can be used; see which of its kinds it is.

    Args:
      host: That was called, `pricing:8000`.
      reason: What went wrong.
    """

    exit_code = 3

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with its values: an error that cannot be unpickled breaks the process pool it comes from."""
        return type(self), (self.host, self.reason)


class ConnectFailed(HttpError):
    """Raised when there is no connection to a host: it is down, its name has no address, or TLS fails.

    The request was not sent, so that it may be sent again, whatever it does.
    """


class ConnectionLost(HttpError):
    """Raised when a connection ends before the answer does: the host stopped, or the network has gone.

    Args:
      may_be_processed: The request, or a part of it, was sent: the service may have done what it asks for.
    """

    def __init__(self, host: str, reason: str, *, may_be_processed: bool = True) -> None:
        super().__init__(host, reason)
        self.may_be_processed = may_be_processed

    def __reduce__(self) -> tuple[Any, ...]:
        return _lost, (self.host, self.reason, self.may_be_processed)


def _lost(host: str, reason: str, may_be_processed: Any) -> ConnectionLost:
    return ConnectionLost(host, reason, may_be_processed=may_be_processed)


class ProtocolError(HttpError):
    """Raised when what a host sends is no HTTP/1.1 response; its fault, or there is something else at its port."""


class BodyTooLarge(HttpError):
    """Raised when an answer is longer than `Limits.most_bytes`; stream it, or allow more.

    Args:
      most_bytes: That are allowed.
    """

    def __init__(self, host: str, most_bytes: int) -> None:
        super().__init__(host, f"the answer has more than {most_bytes} bytes; raise Limits.most_bytes, or stream it")
        self.most_bytes = most_bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.host, self.most_bytes)


class HttpStatusError(HttpError):
    """Raised when a service answers, and not with success; what it says is in `response` and `problem`.

    Args:
      response: The answer.

    Attributes:
      status: Of the answer.
      problem: What the service says of it, the members of its `application/problem+json`; empty without.
    Source: RFC 9457.
    """

    def __init__(self, response: "Response") -> None:
        self.problem = response.problem()
        super().__init__(response.host, f"{response.method} {response.target}: {_words(response.status, self.problem)}")
        self.response = response
        self.status = response.status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.response,)


def _words(status: int, problem: dict[str, Any]) -> str:
    """Return a status with the words that a service or the standard has for it."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    said = [problem.get(name) for name in ("title", "detail")]
    words = [" ".join(word.split()) for word in said if isinstance(word, str) and word and word != phrase]
    return ": ".join([f"{status} {phrase}".rstrip(), *words])


class DecodeFailed(HttpError):
    """Raised when a body is not what `decode` asks for: the service has changed, or answers with something else."""
