"""Recorded accounts come back as they were written; a damaged file is one clear error."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.ledger import Account, Call, Kind, Line, Recorder, Site, read_accounts
from hasten.ledger._recorder import MAGIC

SITE = Site("/shop/app.py", 12, "Shop.load", "httpx.AsyncClient.get", "asyncio.Event.wait")
ACCOUNT = Account(
    service="shop",
    endpoint="GET /products/{id}",
    target="/products/7?full=1",
    request_id="abc",
    status=200,
    started=12.5,
    wall=0.25,
    unread=0.0,
    lines=(Line(Kind.WAITING, SITE, 0.2, 3), Line(Kind.UNEXPLAINED, Site(), 0.05, 1)),
    timeline=((0, 0.2), (1, 0.05)),
    calls=(Call(SITE, "url='/x'"),),
    samples=((SITE, 2),),
)


def test_accounts_come_back(tmp_path: Path) -> None:
    """What was recorded is read, in order, and coverage is the attributed share."""
    recorder = Recorder(tmp_path / "deep" / "shop.accounts")
    for _ in range(3):
        recorder(ACCOUNT)
    recorder.close()

    assert list(read_accounts(tmp_path / "deep" / "shop.accounts")) == [ACCOUNT] * 3
    assert ACCOUNT.coverage == pytest.approx(0.8)


def test_a_cut_off_file_gives_all_whole_accounts(tmp_path: Path) -> None:
    """A service that was killed leaves a file whose last account may be torn."""
    path = tmp_path / "shop.accounts"
    recorder = Recorder(path)
    recorder(ACCOUNT)
    recorder(ACCOUNT)
    recorder.close()
    path.write_bytes(path.read_bytes()[:-3])

    assert list(read_accounts(path)) == [ACCOUNT]


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A file without our first line is named, with what to do."""
    path = tmp_path / "x.accounts"
    path.write_bytes(b"something else")

    with pytest.raises(ConfigurationError, match="holds no recorded accounts"):
        list(read_accounts(path))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(read_accounts(tmp_path / "absent"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error says which path."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="cannot write"):
        Recorder(tmp_path / "file" / "x.accounts")


@given(st.binary(max_size=200))
def test_any_bytes_after_the_first_line_are_accounts_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Hostile content raises nothing but ConfigurationError."""
    path = tmp_path_factory.mktemp("recorded") / "x.accounts"
    path.write_bytes(MAGIC + data)

    with contextlib.suppress(ConfigurationError):
        list(read_accounts(path))
