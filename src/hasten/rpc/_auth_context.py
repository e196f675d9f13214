"""Who the peer of a TLS connection is, in the words of grpc.aio's ServicerContext."""

import ssl
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

_ALTERNATIVE_NAMES = {"DNS": "peer_dns", "IP Address": "peer_ip", "email": "peer_email", "URI": "peer_uri"}
_ATTRIBUTES = {  # RFC 4514 section 3; emailAddress is as OpenSSL writes it
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "userId": "UID",
    "surname": "SN",
    "givenName": "GN",
}


def auth_context(connection: ssl.SSLObject | ssl.SSLSocket | None) -> dict[str, list[bytes]]:
    """Return what grpc.aio's `ServicerContext.auth_context()` says of a connection, after its handshake.

    The keys are grpc's, in its order. Two of them are missing, because ssl does not tell them: the server name that
    the client asked for and the key exchange group.

    Args:
      connection: The transport's extra info `ssl_object`; None without TLS.
    """
    if connection is None:
        return {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}
    context = {"transport_security_type": [b"ssl"]}
    certificate = connection.getpeercert(binary_form=True)
    if certificate:
        context |= _certificate_properties(connection.getpeercert() or {}, ssl.DER_cert_to_PEM_cert(certificate))
    context["security_level"] = [b"TSI_PRIVACY_AND_INTEGRITY"]
    context["ssl_session_reused"] = [b"true" if connection.session_reused else b"false"]
    context["ssl_tls_version"] = [(connection.version() or "").encode()]
    uris = context.get("peer_uri", [])
    if len(uris) == 1 and uris[0].startswith(b"spiffe://"):  # a SPIFFE certificate has no other URI
        context["peer_spiffe_id"] = uris
    return context


def peer_identity_key(context: Mapping[str, list[bytes]]) -> str | None:
    """Return under which key of an auth context the peer's identities stand; None for a peer without a certificate."""
    for key in ("x509_subject_alternative_name", "x509_common_name"):
        if key in context:
            return key
    return None


def peer_identities(context: Mapping[str, list[bytes]]) -> list[bytes] | None:
    """Return the peer's identities: its alternative names, else its common name, None without a certificate."""
    key = peer_identity_key(context)
    return None if key is None else context[key]


def _certificate_properties(certificate: Mapping[str, Any], pem: str) -> dict[str, list[bytes]]:
    """Return a certificate's part of an auth context.

    Args:
      certificate: As `getpeercert()` has it: RDNs as tuples of pairs, alternative names as pairs.
    """
    rdns: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    common_names = [value for rdn in rdns for kind, value in rdn if kind == "commonName"]
    properties = {
        "x509_subject": [_distinguished_name(rdns)],
        "x509_common_name": [common_names[0].encode() if common_names else b""],
        "x509_pem_cert": [pem.encode()],
    }
    for kind, value in certificate.get("subjectAltName", ()):
        key = _ALTERNATIVE_NAMES.get(kind)
        if key == "peer_ip":
            name = str(ip_address(value.strip())).encode()
        else:
            name = value.encode() if key else b"other types of SAN"  # grpc's words
        properties.setdefault("x509_subject_alternative_name", []).append(name)
        if key:
            properties.setdefault(key, []).append(name)
    return properties


def _distinguished_name(rdns: Sequence[Sequence[tuple[str, str]]]) -> bytes:
    """Return a name as RFC 2253 writes it: last part first, special characters and all beyond ASCII escaped."""
    parts = ("+".join(f"{_ATTRIBUTES.get(kind, kind)}={_escaped(value)}" for kind, value in rdn) for rdn in rdns)
    return ",".join(reversed(list(parts))).encode()


def _escaped(value: str) -> str:
    text = "".join(
        f"\\{character}"
        if character in ',+"\\<>;'
        else character
        if " " <= character <= "~"
        else "".join(f"\\{byte:02X}" for byte in character.encode())
        for character in value
    )
    if text[:1] in ("#", " "):
        text = "\\" + text
    return text[:-1] + "\\ " if len(text) > 1 and text.endswith(" ") else text
