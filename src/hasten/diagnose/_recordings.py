"""A directory of recordings: one `.accounts` file per process, and what load they were recorded under."""

from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.diagnose.report import ClientGap, LoadSummary
from hasten.ledger import Account, read_accounts

_CIRCUMSTANCES = "load.json"


class Circumstances(msgspec.Struct, frozen=True):
    """What a session knows beside the accounts; stored with them, so that a later diagnosis says the same."""

    load: LoadSummary
    gap: ClientGap | None = None


def prepare(directory: Path) -> None:
    """Make the directory that recordings go to.

    Raises:
      ConfigurationError: it cannot be made, or holds recordings of an earlier run.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(str(directory), f"cannot be made: {error.strerror or error}") from error
    if any(directory.glob("*.accounts")):
        raise ConfigurationError(str(directory), "holds recordings already", "name an empty directory")


def read(directory: Path) -> list[Account]:
    """Return the accounts of all files, in the order of the files' names; none where nothing was recorded.

    Raises:
      ConfigurationError: a file is no recording.
    """
    return [account for file in sorted(directory.glob("*.accounts")) for account in read_accounts(file)]


def write_circumstances(directory: Path, circumstances: Circumstances) -> None:
    """Store them beside the accounts."""
    directory.joinpath(_CIRCUMSTANCES).write_bytes(msgspec.json.encode(circumstances))


def read_circumstances(directory: Path) -> Circumstances | None:
    """Return what was stored; None where no doctor's session made the recordings.

    Raises:
      ConfigurationError: the file is damaged.
    """
    file = directory / _CIRCUMSTANCES
    if not file.exists():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Circumstances)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(str(file), f"cannot be read: {error}") from error
