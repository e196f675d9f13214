"""Accounts in a file: written by the service while it runs, read by `hasten doctor` afterwards.

Format: the line MAGIC, then for each account four bytes of length (big endian) and that many bytes of msgpack.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.ledger._account import Account

MAGIC = b"hasten-accounts-1\n"
_LENGTH = struct.Struct(">I")
_BUFFER_BYTES = 1 << 18


class Recorder:
    """A listener that appends accounts to `path`; close it to flush (what a kill leaves out is the last 256 KiB).

    Encoded at once: kept objects would make garbage collections long.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise ConfigurationError("--record", f"cannot write {path}: {error.strerror}") from error
        self._file.write(MAGIC)
        self._encode = msgspec.msgpack.Encoder().encode

    def __call__(self, account: Account) -> None:
        """Append one account: about 4 µs."""
        encoded = self._encode(account)
        self._file.write(_LENGTH.pack(len(encoded)) + encoded)

    def close(self) -> None:
        """Flush and close; further accounts are an error."""
        self._file.close()


def read_accounts(path: Path) -> Iterator[Account]:
    """Yield the accounts in `path`; a last account that was cut off is left out.

    Raises:
      ConfigurationError: the file cannot be read or holds no accounts.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    if not data.startswith(MAGIC):
        raise ConfigurationError(str(path), "holds no recorded accounts", "make it with hasten run --record DIR")
    decode = msgspec.msgpack.Decoder(Account).decode
    view = memoryview(data)
    at = len(MAGIC)
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            return
        try:
            account = decode(view[at : at + length])
        except msgspec.DecodeError as error:
            raise ConfigurationError(str(path), f"damaged at byte {at}: {error}") from error
        yield account
        at += length
