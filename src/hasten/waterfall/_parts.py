"""A request that was traced, and the rows of what was done for it: plain data."""

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The request that was sent.

    Attributes:
      method, url: As given.
      traceparent: That it carried.
      status: Of the response.
      started: CLOCK_MONOTONIC seconds when it was sent, the connection being there.
      first_byte, seconds: Until the response's head was there, and all of it.
      size_bytes: Of the response's body.
    """

    method: str
    url: str
    traceparent: str
    status: int
    started: float
    first_byte: float
    seconds: float
    size_bytes: int


class Bar(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a row, in seconds from the request's sending."""

    start: float
    seconds: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the waterfall.

    Attributes:
      depth: How far within others it is; 0 is the client.
      service: Who; empty for the lines of an account, which belong to the row above.
      name: Method and route, gRPC method, topic; of an account's line where: `orders.py:41 place_order`.
      kind: As `Work.kind`; `client`; of an account's line its kind of time.
      outcome: Status.
      bars: When.
      seconds: In all.
      placed: Its clock is another machine's: it was put into the middle of what it is within.
    """

    depth: int
    service: str
    name: str
    kind: str
    outcome: str = ""
    bars: tuple[Bar, ...] = ()
    seconds: float = 0.0
    placed: bool = False


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """A request with all that was done for it.

    Attributes:
      sent: What was sent.
      rows: Each below what it is within.
      seconds: Of the whole picture: work that went on behind the response is in it.
      asked: Admin ports that were asked.
      notes: What a reader must know: services that said nothing. Whole sentences.
    """

    sent: Sent
    rows: tuple[Row, ...]
    seconds: float
    asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
