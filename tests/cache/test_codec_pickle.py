"""Pickle as a codec: signed, and only where it is asked for."""

import datetime
import pickle
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten import ConfigurationError
from hasten.cache._codec import CodecError, codec_for

T = TypeVar("T")
KEY = b"0123456789abcdef"
BERLIN = datetime.timezone(datetime.timedelta(hours=2))
NOON = datetime.datetime(2024, 5, 1, 12, 0, 0, 5, BERLIN)


class Odd:
    """A class that only pickle can restore."""

    def __init__(self, value: complex) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


class Trap:
    """Runs code when it is unpickled."""

    sprung = False

    def __reduce__(self) -> Any:
        return spring, ()


def spring() -> None:
    Trap.sprung = True


def test_pickle() -> None:
    """With a key anything that pickle knows comes back, compressed or not."""
    for codec in (codec_for(Odd, pickle_key=KEY), codec_for(Odd, pickle_key=KEY, compress_above=0)):
        assert codec.decode(codec.encode(Odd(1j))) == Odd(1j)


def test_pickle_without_key() -> None:
    """Without a key nothing is pickled, and nothing is unpickled."""
    with pytest.raises(ConfigurationError, match=r"or give codec=codec_for\(T, pickle_key=\.\.\.\)"):
        codec_for(Odd)
    with pytest.raises(CodecError):
        codec_for(Any).decode(b"p" + pickle.dumps(Trap()))
    assert not Trap.sprung


@pytest.mark.parametrize("key", [b"", b"short"])
def test_weak_key(key: bytes) -> None:
    """A key that could be guessed is refused."""
    with pytest.raises(ConfigurationError, match="shorter than 16 bytes"):
        codec_for(Odd, pickle_key=key)


def test_signature_is_checked_first() -> None:
    """Bytes that are not signed with the key are refused before anything of them is unpickled."""
    theirs = codec_for(Trap, pickle_key=b"another key, as long as ours").encode(Trap())
    for data in (theirs, theirs[32:], b"p" + pickle.dumps(Trap()), bytes(32) + b"p" + pickle.dumps(Trap()), b""):
        with pytest.raises(CodecError, match="not signed"):
            codec_for(Trap, pickle_key=KEY).decode(data)
    assert not Trap.sprung


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_changed_signed_bytes(place: int, bit: int) -> None:
    """One changed bit anywhere makes signed bytes nothing."""
    codec = codec_for(str, pickle_key=KEY)
    data = bytearray(codec.encode("some text"))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(CodecError, match="not signed"):
        codec.decode(bytes(data))


def test_unpicklable() -> None:
    """What pickle cannot write is refused like any other value that cannot be encoded."""
    with pytest.raises(CodecError):
        codec_for(Any, pickle_key=KEY).encode(lambda: None)
