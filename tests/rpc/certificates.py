"""Certificates for tests of TLS, made anew for each run: no private key lies in the repository."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """A small authority's work.

    Attributes:
      ca: The authority's certificate.
      server: For localhost, 127.0.0.1 and stock.example.
      client: With two common names and alternative names of each kind.
      plain: A client's with a common name only.
      nameless: A client's without any name but its organisation's.
      stranger: A client's of another authority.
    """

    ca: Path
    server: Identity
    client: Identity
    plain: Identity
    nameless: Identity
    stranger: Identity


def make_certificates(openssl: str, directory: Path) -> Certificates:
    """Return certificates made with the program `openssl`, valid for ten days."""
    authority = _Authority(openssl, directory, "authority")
    return Certificates(
        ca=authority.certificate,
        server=authority.sign("server", "/CN=server", "subjectAltName=DNS:localhost,DNS:stock.example,IP:127.0.0.1"),
        client=authority.sign(
            "client",
            '/C=DE/O=Shop, "Stock"/CN=first/CN=caf\u00e9',
            "subjectAltName=DNS:client.example,DNS:second.example,IP:10.0.0.1,IP:::1,email:a@example.org,"
            "URI:spiffe://example.org/ns/shop/sa/stock,otherName:1.2.3.4;UTF8:other",
        ),
        plain=authority.sign("plain", "/CN=only a common name", "basicConstraints=CA:FALSE"),
        nameless=authority.sign("nameless", "/O=nobody", "basicConstraints=CA:FALSE"),
        stranger=_Authority(openssl, directory, "other").sign("stranger", "/CN=x", "basicConstraints=CA:FALSE"),
    )


class _Authority:
    def __init__(self, openssl: str, directory: Path, name: str) -> None:
        self._openssl = openssl
        self._directory = directory
        self.certificate, self._key = directory / f"{name}.pem", directory / f"{name}.key"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # which Python demands from 3.13 on
        files = ("-keyout", self._key, "-out", self.certificate)
        self._run("req", "-x509", *_NEW_KEY, *files, "-subj", f"/CN={name}", *usage)

    def sign(self, name: str, subject: str, extension: str) -> Identity:
        identity = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        extensions.write_text(extension)
        self._run("req", "-utf8", *_NEW_KEY, "-keyout", identity.key, "-out", request, "-subj", subject)
        signing = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions)
        self._run("x509", "-req", "-in", request, "-out", identity.certificate, "-days", "10", *signing)
        return identity

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)
