"""Values as bytes for the second tier, and back: of the same value and the same types, or not at all.

The annotation chooses: `bytes` stay as they are; what has pydantic models goes through a TypeAdapter (JSON); all else
through msgspec (MessagePack). Pickle is used only by who gives a key to sign it with.

The first byte of what `encode` returns says how the rest was made, so processes with other settings read nothing wrong:
a letter for the kind, of which the capital one is compressed by zstd.
"""

import contextlib
import hashlib
import hmac
import inspect
import pickle
import sys
import typing
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from hasten._core.errors import ConfigurationError, MissingDependency
from hasten.cache._exact import CodecError, Exact, exact, refusal

__all__ = ("Codec", "CodecError", "codec_for")

V = TypeVar("V")

_LEAST_KEY_BYTES = 16
_DIGEST_BYTES = hashlib.sha256().digest_size
_AS_THEY_ARE = (bytes, bytearray, memoryview)


class Codec(Protocol[V]):
    """Makes bytes of values, and values of bytes."""

    def encode(self, value: V) -> bytes:
        """Return a value's bytes; raises CodecError if they would not give it back."""

    def decode(self, data: bytes) -> V:
        """Return the value of bytes; raises CodecError if no such codec has made them."""


def codec_for(annotation: Any, *, compress_above: int | None = None, pickle_key: bytes | None = None) -> Codec[Any]:
    """Return the codec for values of an annotation.

    A value that its annotation does not fit exactly (a subclass, an int where float is annotated) is not encoded: it
    would come back as another one. Time zones come back as their offsets from UTC.

    Args:
      annotation: A type; nothing (`inspect.Parameter.empty`) and Any stand for what JSON has, and bytes.
      compress_above: Compress by zstd what has more bytes than that; None compresses nothing.
      pickle_key: Use pickle, signed with this secret (HMAC-SHA256) and never read without. Who has the key, and can
        write to the store, runs code in every process that reads; who has not can put one key's value under another.
    Raises:
      ConfigurationError: values of the annotation cannot be restored.
      MissingDependency: compression is wanted, and zstandard is not installed.
    """
    if compress_above is not None:
        _zstd()
    threshold = sys.maxsize if compress_above is None else compress_above
    if pickle_key is not None:
        if len(pickle_key) < _LEAST_KEY_BYTES:
            raise ConfigurationError("pickle_key", f"shorter than {_LEAST_KEY_BYTES} bytes: too easily guessed")
        return _Signed(_Framed(b"p", _dump_pickle, pickle.loads, threshold), pickle_key)
    if annotation is bytes:
        return _Framed(b"b", _check_bytes, bytes, threshold)
    if _has_model(annotation, {}):
        return _Framed(b"j", *_by_pydantic(annotation), threshold)
    wanted = Any if annotation is inspect.Parameter.empty or annotation is object else annotation
    return _Framed(b"m", *_by_msgspec(wanted, exact(wanted)), threshold)


# ---- the outside


class _Framed:
    """Puts the byte that says how the rest was made before it, and compresses what is large.

    Args:
      kind: One small letter.
      dump, load: The rest; any exception of theirs is taken for a value or bytes that do not fit.
    """

    def __init__(
        self, kind: bytes, dump: Callable[[Any], bytes], load: Callable[[memoryview], Any], threshold: int
    ) -> None:
        self._plain = kind
        self._compressed = kind.upper()
        self._dump = dump
        self._load = load
        self._threshold = threshold

    def encode(self, value: Any) -> bytes:
        try:
            data = self._dump(value)
        except CodecError:
            raise
        except Exception as error:  # of the driver, or of the user's own classes
            raise CodecError(f"{type(value).__qualname__} cannot be encoded: {error}") from error
        if len(data) > self._threshold and len(data) <= _zstd().MOST_BYTES:
            compressed: bytes = _zstd().compress(data)
            if len(compressed) < len(data):
                return self._compressed + compressed
        return self._plain + data

    def decode(self, data: bytes) -> Any:
        rest = memoryview(data)[1:]
        if not data.startswith(self._plain):
            rest = self._decompressed(data[:1], rest)
        try:
            return self._load(rest)
        except Exception as error:  # of the driver, or of the user's own classes
            raise CodecError(f"cannot be decoded: {error}") from error

    def _decompressed(self, kind: bytes, rest: memoryview) -> memoryview:
        if kind != self._compressed:
            raise CodecError(f"not made by this codec: kind {kind!r} where {self._plain!r} is expected")
        return memoryview(_decompress(rest))


class _Signed:
    """Puts a signature before what another codec makes, and shows that codec nothing that it did not sign."""

    def __init__(self, codec: _Framed, key: bytes) -> None:
        self._codec = codec
        self._key = key

    def encode(self, value: Any) -> bytes:
        data = self._codec.encode(value)
        return hmac.digest(self._key, data, "sha256") + data

    def decode(self, data: bytes) -> Any:
        signature, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if not hmac.compare_digest(signature, hmac.digest(self._key, rest, "sha256")):
            raise CodecError("not signed with this key")
        return self._codec.decode(rest)


def _zstd() -> Any:
    """Return the module that compresses; raises MissingDependency."""
    from hasten.cache import _zstd as module

    return module


def _decompress(data: memoryview) -> bytes:
    try:
        module = _zstd()
    except MissingDependency as error:
        raise CodecError(f"compressed by another process; {error}") from error
    content: bytes = module.decompress(data)
    return content


# ---- the kinds


def _check_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise CodecError(f"{type(value).__qualname__} where bytes is annotated")
    return value


def _dump_pickle(value: Any) -> bytes:
    return pickle.dumps(value, protocol=5)  # the highest of the Pythons that may share a store


def _by_msgspec(annotation: Any, known: Exact) -> tuple[Callable[[Any], bytes], Callable[[memoryview], Any]]:
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(annotation).decode
    try:
        decode(b"\xc1")  # what annotations it cannot decode, it says when it is used
    except msgspec.MsgspecError:
        pass
    except TypeError as error:
        raise refusal(annotation, str(error)) from error

    def dump(value: Any) -> bytes:
        known.check(value)
        # As text times keep their offset; MessagePack's own kind of them has UTC only.
        data = encode(msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE) if known.has_times else value)
        if known.must_prove:
            _prove(value, decode(data))
        return data

    return dump, decode


def _by_pydantic(annotation: Any) -> tuple[Callable[[Any], bytes], Callable[[memoryview], Any]]:
    import pydantic  # the user's: the annotation has a model of it

    try:
        adapter = pydantic.TypeAdapter(annotation)
    except Exception as error:  # a schema error of any kind
        raise refusal(annotation, str(error).partition("\n")[0]) from error

    def load(data: memoryview) -> Any:
        return adapter.validate_json(bytes(data))

    def dump(value: Any) -> bytes:
        data = adapter.dump_json(value, by_alias=True, round_trip=True, warnings=False)
        _prove(value, adapter.validate_json(data))
        return data

    return dump, load


def _prove(value: Any, restored: Any) -> None:
    if type(restored) is not type(value) or restored != value:
        raise CodecError(f"{type(value).__qualname__}: what is decoded differs from what was encoded")


def _has_model(annotation: Any, seen: dict[int, Any]) -> bool:
    """Whether a pydantic model is in an annotation; without importing pydantic: who has a model has imported it."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or id(annotation) in seen:
        return False
    seen[id(annotation)] = annotation
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return True
    cls = typing.get_origin(annotation) or annotation
    inner = [*typing.get_args(annotation), getattr(annotation, "__value__", None)]  # of `type Name = ...`
    if isinstance(cls, type) and hasattr(cls, "__annotations__"):
        with contextlib.suppress(NameError, TypeError):
            inner += typing.get_type_hints(cls).values()
    return any(_has_model(part, seen) for part in inner)
