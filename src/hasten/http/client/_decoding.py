"""Bodies as the types that callers ask for."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Decoders:
    """Decodes JSON, with one decoder for each type, made when it is first asked for.

    A pydantic model decodes itself; everything else that `msgspec.json.Decoder` takes is decoded by it.
    """

    __slots__ = ("_decoders",)

    def __init__(self) -> None:
        self._decoders: dict[Any, Callable[[bytes], Any]] = {}

    def decode(self, content: bytes, kind: type[T]) -> T:
        """Return a body as a `kind`.

        Raises:
          ValueError: it is none (msgspec's and pydantic's errors are).
        """
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = _decoder(kind)
        value: T = decoder(content)
        return value


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    validate = getattr(kind, "model_validate_json", None)
    decode: Callable[[bytes], Any] = validate if validate is not None else msgspec.json.Decoder(kind).decode
    return decode
