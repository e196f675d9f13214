"""Fixtures for tests of hasten.rpc."""

import os
import shutil

import pytest

import hasten.rpc.server._connection
import hasten.rpc.transport._connection
from tests.rpc.certificates import Certificates, make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates of a test authority; without the openssl program, skip or fail as for an absent server."""
    openssl = shutil.which("openssl")
    if openssl is None:
        reason = "the openssl program, which makes certificates for tests, is not installed"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return make_certificates(openssl, tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a connection that ends wait 0.2 s, not a second, for a peer that never answers, and for one that reads."""
    monkeypatch.setattr(hasten.rpc.server._connection, "_DRAIN_SECONDS", 0.2)
    monkeypatch.setattr(hasten.rpc.transport._connection, "_CLOSE_SECONDS", 0.2)
