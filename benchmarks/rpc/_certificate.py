"""A certificate for 127.0.0.1 that lives as long as the run, made by openssl; it is its own CA."""

import subprocess
from pathlib import Path

from hasten._core.errors import ConfigurationError

CERTIFICATE, KEY = "certificate.pem", "key.pem"


def make_certificate(folder: Path) -> None:
    """Write CERTIFICATE and its KEY (EC P-256, not encrypted) to `folder`.

    Raises:
      ConfigurationError: openssl is not installed, or refuses.
    """
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / KEY), "-out", str(folder / CERTIFICATE)]
    names = ["-subj", "/CN=hasten benchmark", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-days", "2", *curve, *files, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigurationError("openssl", f"cannot be run: {error.strerror}", "leave the -tls subjects out") from None
    if done.returncode:
        raise ConfigurationError("openssl req", " ".join(done.stderr.split()))
