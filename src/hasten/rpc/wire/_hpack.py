"""HPACK (RFC 7541) without a dynamic table, and the cache that makes a header block one dict look-up.

We announce SETTINGS_HEADER_TABLE_SIZE 0, and never index what we send. A peer's block then says the same thing
whenever it comes, so that it is remembered by its raw bytes: 0.24 µs a look-up where `hpack.Decoder` takes 34 µs for
the 212 bytes of a grpcio client. A value that changes with every call (a deadline, a traceparent) would defeat that;
for such blocks the part before the first changing field is remembered instead, and only the rest is parsed.

Until the peer has acknowledged our settings it may use a table of 4,096 bytes. Whatever needs it goes through
`hpack.Decoder`; a block may be remembered if decoding it neither reads nor changes the table: no index above 61, and
`01` literals or a size update only when the table's size is 0 already.
"""

import math
import re
from collections.abc import Callable, Container
from typing import Generic, Protocol, TypeVar

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from hasten.rpc._limits import Limits
from hasten.rpc.wire._frames import ConnectionViolation, ErrorCode

Field = tuple[bytes, bytes]
Fields = list[Field]


class _Listed(Protocol):
    size: int


Head = TypeVar("Head", bound=_Listed)

STATIC_TABLE: tuple[Field, ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_LAST_STATIC = 61
TABLE_SIZE_ZERO = b"\x20"
"""A dynamic table size update to 0, which must start our first block (RFC 7541 section 4.2)."""
FIELD_OVERHEAD = 32
"""What each field counts beside its bytes towards the size of a header list (RFC 9113 section 6.5.2)."""
_NAME_BYTES = bytes(range(0x21, 0x7F)).translate(None, bytes(range(ord("A"), ord("Z") + 1)) + b":")
_find_forbidden = re.compile(rb"[\0\r\n]").search

LONGEST_PLAIN = 0x7E
"""Longest name whose length is one byte, of which the rest of a block is read without decoding it."""

_MOST_PREFIX_LENGTHS = 16
_MOST_PREFIXES = 256


def is_name(name: bytes) -> bool:
    """Whether a regular field may have this name (RFC 9113 section 8.2.1)."""
    return bool(name) and not name.translate(None, _NAME_BYTES)


def are_values(fields: Fields) -> bool:
    """Whether no value has a NUL or a line break, which others take for the end of it (RFC 9113 section 8.2.1)."""
    return _find_forbidden(b" ".join([value for _, value in fields])) is None


def encode_string(value: bytes) -> bytes:
    """Return a string literal without Huffman coding (RFC 7541 section 5.2)."""
    length = len(value)
    if length < 0x7F:
        return bytes((length,)) + value
    return _encode_long_length(length) + value


def _encode_long_length(length: int) -> bytes:
    encoded = bytearray((0x7F,))
    length -= 0x7F
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def encode_field(name: bytes, value: bytes) -> bytes:
    """Return a literal field without indexing, new name (RFC 7541 section 6.2.2)."""
    return b"\x00" + encode_string(name) + encode_string(value)


def decode_integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """Return an integer (RFC 7541 section 5.1) and the position behind it.

    Raises:
      IndexError: the block ends within it.
      ValueError: it has more than five continuation bytes (2^35).
    """
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in range(0, 35, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("integer too long")


def parse_stateless(
    block: bytes, position: int, starts: list[int] | None = None, most: float = math.inf
) -> tuple[Fields, int] | None:
    """Return the fields of a block from `position` on, and how many bytes were Huffman coded.

    None when the block needs the dynamic table. A plain field takes 0.3 µs.

    Args:
      starts: Where each field starts is appended here.
      most: Fields, of which one in each byte can be said.

    Raises:
      OversizedHeaderListError: there are more.
      IndexError, ValueError: the block is malformed.
      HPACKError: a Huffman string is malformed.
    """
    fields: Fields = []
    huffman_bytes = 0
    end = len(block)
    while position < end:
        if starts is not None:
            starts.append(position)
        first = block[position]
        if first == 0x00 or first == 0x40:  # a new name: what the peers we know send for nearly every field
            name_length = block[position + 1]
            value_at = position + name_length + 2
            if name_length < 0x7F and block[value_at] < 0x7F:
                name = block[position + 2 : value_at]
                position = value_at + block[value_at] + 1
                fields.append((name, block[value_at + 1 : position]))
                continue
        parsed = _parse_field(block, position)
        if parsed is None:
            return None
        field, position, coded = parsed
        fields.append(field)
        huffman_bytes += coded
        if len(fields) > most:
            raise OversizedHeaderListError(f"more than {most} fields")
    if position != end:
        raise IndexError("the last field ends early")
    return fields, huffman_bytes


def plain_fields(rest: bytes) -> Fields:
    """Return the fields of what `HeaderBlocks.split` has left.

    Without those whose value is none (see `are_values`): `split` does not look at values, which would cost each call
    0.5 µs. Where a block is decoded at once, its request is malformed.
    """
    parsed = parse_stateless(rest, 0)
    fields = parsed[0] if parsed is not None else []
    return fields if are_values(fields) else [each for each in fields if are_values([each])]


def _parse_field(block: bytes, position: int) -> tuple[Field, int, int] | None:
    first = block[position]
    if first & 0x80:
        index, position = decode_integer(block, position, 0x7F)
        return (STATIC_TABLE[index], position, 0) if 0 < index <= _LAST_STATIC else None
    if first & 0x60 == 0x20:  # a size update
        return None
    index, position = decode_integer(block, position, 0x3F if first & 0x40 else 0x0F)
    if index > _LAST_STATIC:
        return None
    name, coded = STATIC_TABLE[index][0], 0
    if not index:
        name, position, coded = _parse_string(block, position)
    value, position, more = _parse_string(block, position)
    return (name, value), position, coded + more


def _parse_string(block: bytes, position: int) -> tuple[bytes, int, int]:
    """Return a string literal (RFC 7541 section 5.2), the position behind it, and its bytes of Huffman code."""
    is_coded = block[position] & 0x80
    length, position = decode_integer(block, position, 0x7F)
    end = position + length
    value = block[position:end]
    if len(value) < length:
        raise IndexError("a string ends early")
    return (decode_huffman(value), end, length) if is_coded else (value, end, 0)


def _refuse_growth(block: bytes) -> None:
    """Raise ValueError when a block starts with an update of the table's size to more than the 0 that we announced."""
    position = 0
    while position < len(block) and block[position] & 0xE0 == 0x20:
        size, position = decode_integer(block, position, 0x1F)
        if size:
            raise ValueError("dynamic table size update above SETTINGS_HEADER_TABLE_SIZE")


class HeaderBlocks(Generic[Head]):
    """One connection's decoder: header blocks in, heads out; a head is what one side makes of a block's fields.

    Attributes:
      known: Whole blocks and their heads; the caller looks here first and calls `decode` on a miss.
      decoded_bytes: Bytes that went through Huffman or the dynamic table, for the connection's budget.

    Args:
      blank: The head of no fields.
      extend: Returns a new head, that of a prefix with the fields behind it.
      fixed: Names of the fields that are the same in all calls of a method.
      plain: Names of fields that a head only keeps, as a user's metadata; none is longer than `LONGEST_PLAIN`.
    """

    def __init__(
        self,
        limits: Limits,
        blank: Head,
        extend: Callable[[Head, Fields], Head],
        fixed: frozenset[bytes],
        plain: Container[bytes] = (),
    ) -> None:
        self.known: dict[bytes, Head] = {}
        self.decoded_bytes = 0
        self._blank = blank
        self._extend = extend
        self._fixed = fixed
        self._plain = plain
        self._entries = limits.header_cache_entries
        self._prefix_entries = min(_MOST_PREFIXES, limits.header_cache_entries)
        self._block_bytes = limits.header_cache_block_bytes
        self._most_bytes = limits.header_list_hard_bytes
        self._most_fields = limits.header_list_hard_bytes // FIELD_OVERHEAD
        self._prefixes: dict[int, dict[bytes, Head]] = {}
        self._decoder = Decoder(max_header_list_size=limits.header_list_hard_bytes)
        self._acknowledged = False
        self._stateless = False

    def split(self, block: bytes) -> tuple[Head, bytes, int] | None:
        """Return the head of a block's remembered beginning, the rest of it, and the rest's size as a header list.

        None unless the rest is nothing but short literal fields with names of `plain`. It need not be parsed then
        before somebody asks for it, and most handlers never do: 0.7 µs where `decode` takes 1.6.
        """
        for length, prefixes in self._prefixes.items():
            head = prefixes.get(block[:length])
            if head is not None:
                size = self._plain_size(block, length)
                return None if size < 0 else (head, block[length:], size)
        return None

    def _plain_size(self, block: bytes, position: int) -> int:
        end, size, plain = len(block), 0, self._plain
        try:
            while position < end:
                value_at = position + block[position + 1] + 2
                if block[position] & 0xBF or block[value_at] >= 0x7F or block[position + 2 : value_at] not in plain:
                    return -1
                size += value_at - position - 2 + block[value_at] + FIELD_OVERHEAD
                position = value_at + block[value_at] + 1
        except IndexError:
            return -1
        return size if position == end else -1

    def settings_acknowledged(self) -> None:
        """Note that the peer knows our SETTINGS_HEADER_TABLE_SIZE of 0.

        Its next block must empty its table (RFC 7541 section 4.2); since grpc-core is late with that now and then, what
        counts is when it does.
        """
        self._acknowledged = True

    def decode(self, block: bytes) -> Head:
        """Return the head of a block that is not in `known`.

        Raises:
          ConnectionViolation: COMPRESSION_ERROR, the block is malformed; ENHANCE_YOUR_CALM, its list is too large.
        """
        try:
            if len(block) > self._most_bytes:  # before anything is spent on it
                raise OversizedHeaderListError("more bytes than its list may have")
            head = self._decode(block)
            if head.size > self._most_bytes:
                raise OversizedHeaderListError("more bytes than allowed")
        except OversizedHeaderListError as error:
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "header list too large") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionViolation(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from error
        return head

    def _decode(self, block: bytes) -> Head:
        if not self._stateless:
            return self._decode_stateful(block)
        for length, prefixes in self._prefixes.items():
            head = prefixes.get(block[:length])
            if head is not None:
                return self._decode_rest(head, block, length)
        return self._decode_stateless(block)

    def _decode_stateful(self, block: bytes) -> Head:
        if self._acknowledged:
            _refuse_growth(block)
        fields = self._through_decoder(block)
        self._stateless = self._acknowledged and self._decoder.header_table_size == 0
        return self._extend(self._blank, fields)

    def _through_decoder(self, block: bytes) -> Fields:
        self.decoded_bytes += len(block)
        fields = [(bytes(field[0]), bytes(field[1])) for field in self._decoder.decode(block, raw=True)]
        if self._stateless and self._decoder.header_table_size:
            raise ValueError("the table grew above SETTINGS_HEADER_TABLE_SIZE")
        return fields

    def _decode_rest(self, head: Head, block: bytes, start: int) -> Head:
        parsed = parse_stateless(block, start, most=self._most_fields)
        if parsed is None:
            return self._extend(self._blank, self._through_decoder(block))
        fields, coded = parsed
        self.decoded_bytes += coded
        return self._extend(head, fields)

    def _decode_stateless(self, block: bytes) -> Head:
        starts: list[int] = []
        parsed = parse_stateless(block, 1 if block[:1] == TABLE_SIZE_ZERO else 0, starts, self._most_fields)
        if parsed is None:
            return self._extend(self._blank, self._through_decoder(block))
        fields, coded = parsed
        self.decoded_bytes += coded
        head = self._extend(self._blank, fields)
        if len(block) <= self._block_bytes:
            self._remember(block, fields, starts, head)
        return head

    def _remember(self, block: bytes, fields: Fields, starts: list[int], head: Head) -> None:
        for number, (name, _) in enumerate(fields):
            if name not in self._fixed:
                if number:
                    self._remember_prefix(block[: starts[number]], self._extend(self._blank, fields[:number]))
                return
        if len(self.known) >= self._entries:
            self.known.clear()
        self.known[block] = head

    def _remember_prefix(self, prefix: bytes, head: Head) -> None:
        prefixes = self._prefixes.get(len(prefix))
        if prefixes is None:
            if len(self._prefixes) >= _MOST_PREFIX_LENGTHS:
                self._prefixes.clear()
            prefixes = self._prefixes[len(prefix)] = {}
        if len(prefixes) >= self._prefix_entries:
            prefixes.clear()
        prefixes[prefix] = head
