"""Field tables of AMQP 0-9-1, as RabbitMQ writes them; pure.

    Python        written as          read from
    bool          t                   t
    int           I, l if larger      b B s u I i l L T (a timestamp stays a number of seconds)
    float         d                   f d
    Decimal       -                   D
    str           S                   S if UTF-8
    bytes         x                   x, S if not UTF-8
    dict          F                   F
    list          A                   A
    None          V                   V

Source: AMQP 0-9-1 section 4.2.5, with RabbitMQ's errata on the letters of the integers.
"""

import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

MOST_NESTED = 16
"""Tables and lists in each other; RabbitMQ's own (x-death) have two."""
_LONG = struct.Struct(">I")
_FIXED: dict[int, struct.Struct] = {
    ord(letter): struct.Struct(f">{code}")
    for letter, code in {
        "t": "?",
        "b": "b",
        "B": "B",
        "s": "h",
        "u": "H",
        "I": "i",
        "i": "I",
        "l": "q",
        "L": "q",
        "T": "Q",
        "f": "f",
        "d": "d",
    }.items()
}
_INT_32 = range(-(2**31), 2**31)
_INT_64 = range(-(2**63), 2**63)


class Garbled(ValueError):
    """Raised when bytes are not what AMQP has in their place; the peer's fault."""


# ---- writing


def short_text(text: str | bytes) -> bytes:
    """Return a short string: its length in one byte, and its bytes.

    Raises:
      ValueError: it has more than 255 bytes.
    """
    data = text.encode() if isinstance(text, str) else text
    if len(data) > 255:
        raise ValueError(f"{data[:40].decode(errors='replace')}...: {len(data)} bytes, where AMQP has room for 255")
    return bytes((len(data),)) + data


def long_text(text: str | bytes) -> bytes:
    """Return a long string: its length in four bytes, and its bytes."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return _LONG.pack(len(data)) + data


def encode_table(table: Mapping[str, Any]) -> bytes:
    """Return a table with its length before it.

    Raises:
      ValueError: a name is too long, a number is too large, or a value is of none of the types above.
    """
    return long_text(b"".join(short_text(name) + encode_value(value) for name, value in table.items()))


def encode_value(value: Any) -> bytes:
    """Return a value with its type's letter before it.

    Raises:
      ValueError: there is no way to write it.
    """
    encode = _ENCODERS.get(type(value))
    if encode is None:
        raise ValueError(f"a {type(value).__name__} has no place in a table of AMQP")
    return encode(value)


def _encode_int(value: int) -> bytes:
    if value in _INT_32:
        return b"I" + struct.pack(">i", value)
    if value in _INT_64:
        return b"l" + struct.pack(">q", value)
    raise ValueError(f"{value} has more than 64 bits")


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    bool: lambda value: b"t\1" if value else b"t\0",
    int: _encode_int,
    float: lambda value: b"d" + struct.pack(">d", value),
    str: lambda value: b"S" + long_text(value),
    bytes: lambda value: b"x" + long_text(value),
    dict: lambda value: b"F" + encode_table(value),
    list: lambda value: b"A" + long_text(b"".join(encode_value(each) for each in value)),
    type(None): lambda value: b"V",
}

# ---- reading


def decode_table(data: bytes, at: int = 0, nested: int = 0) -> tuple[dict[str, Any], int]:
    """Return the table that begins at a place, and the place behind it.

    Raises:
      Garbled: there is none.
    """
    begin, end = _bounds(data, at)
    table: dict[str, Any] = {}
    while begin < end:
        name, begin = decode_short(data, begin)
        table[name], begin = decode_value(data, begin, nested)
    if begin != end:
        raise Garbled("a table whose last value is longer than the table")
    return table, end


def decode_short(data: bytes, at: int) -> tuple[str, int]:
    """Return the short string at a place, what is not UTF-8 left out, and the place behind it.

    Raises:
      Garbled: there is none.
    """
    if at >= len(data) or at + 1 + data[at] > len(data):
        raise Garbled("a short string that is cut off")
    end = at + 1 + data[at]
    return str(data[at + 1 : end], "utf-8", "ignore"), end


def decode_value(data: bytes, at: int, nested: int = 0) -> tuple[Any, int]:
    """Return the value at a place, its type's letter first, and the place behind it.

    Raises:
      Garbled: there is none.
    """
    if at >= len(data):
        raise Garbled("a value that is cut off")
    letter, at = data[at], at + 1
    fixed = _FIXED.get(letter)
    if fixed is not None:
        if at + fixed.size > len(data):
            raise Garbled("a number that is cut off")
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if letter in b"FA" and nested >= MOST_NESTED:
        raise Garbled(f"more than {MOST_NESTED} tables and lists in each other")
    decode = _DECODERS.get(letter)
    if decode is None:
        raise Garbled(f"a value of the unknown type {bytes((letter,))!r}")
    return decode(data, at, nested)


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Return where that begins and ends which has its length in four bytes before it."""
    if at + 4 > len(data):
        raise Garbled("a length that is cut off")
    begin = at + 4
    end = begin + int(_LONG.unpack_from(data, at)[0])
    if end > len(data):
        raise Garbled("a length that is greater than what there is")
    return begin, end


def _decode_text(data: bytes, at: int, _: int) -> tuple[Any, int]:
    begin, end = _bounds(data, at)
    try:
        return str(data[begin:end], "utf-8"), end
    except UnicodeDecodeError:
        return data[begin:end], end


def _decode_bytes(data: bytes, at: int, _: int) -> tuple[Any, int]:
    begin, end = _bounds(data, at)
    return data[begin:end], end


def _decode_list(data: bytes, at: int, nested: int) -> tuple[Any, int]:
    begin, end = _bounds(data, at)
    values = []
    while begin < end:
        value, begin = decode_value(data, begin, nested + 1)
        values.append(value)
    if begin != end:
        raise Garbled("a list whose last value is longer than the list")
    return values, end


def _decode_decimal(data: bytes, at: int, _: int) -> tuple[Any, int]:
    if at + 5 > len(data):
        raise Garbled("a decimal that is cut off")
    scale, digits = struct.unpack_from(">Bi", data, at)
    return Decimal(digits).scaleb(-scale), at + 5


_DECODERS: dict[int, Callable[[bytes, int, int], tuple[Any, int]]] = {
    ord("S"): _decode_text,
    ord("x"): _decode_bytes,
    ord("F"): lambda data, at, nested: decode_table(data, at, nested + 1),
    ord("A"): _decode_list,
    ord("D"): _decode_decimal,
    ord("V"): lambda data, at, nested: (None, at),
}
