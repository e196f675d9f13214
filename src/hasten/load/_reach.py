"""Reaching a server, and saying in a few words why it cannot be reached."""

import contextlib
import ssl

from hasten._core.errors import TargetUnreachable


def tls_context(protocol: str, *, verify: bool) -> ssl.SSLContext:
    """Return a client's TLS context that offers one application protocol by ALPN: "http/1.1" or "h2"."""
    context = ssl.create_default_context()
    context.set_alpn_protocols([protocol])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def unreachable(origin: str, error: OSError, timeout: float) -> TargetUnreachable:
    """Return what to raise when no connection could be opened within `timeout` seconds."""
    if isinstance(error, TimeoutError):
        return TargetUnreachable(origin, f"no connection within {timeout:g} s")
    certificate = isinstance(error, ssl.SSLCertVerificationError)
    remedy = "--insecure accepts any certificate" if certificate else "is it running?"
    return TargetUnreachable(origin, _reason(error), remedy)


def allow_open_files(count: int) -> None:
    """Raise this process's own limit of open files to `count` as far as the system lets it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return error.strerror or str(error) or type(error).__name__
