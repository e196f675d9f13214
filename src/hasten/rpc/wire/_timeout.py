"""The grpc-timeout field (gRPC over HTTP/2, Timeout): at most eight digits and a unit.

Sent with three significant digits, always rounded down: a server never works longer than its caller waits, and calls
whose remaining time differs a little send equal bytes, which peers' header caches find again. grpc-core keeps three
digits as well, but rounds up.
"""

from bisect import bisect_right

_UNITS = {ord("n"): (1, 10**9), ord("u"): (1, 10**6), ord("m"): (1, 10**3)} | {
    ord("S"): (1, 1),
    ord("M"): (60, 1),
    ord("H"): (3600, 1),
}
"""A unit as (numerator, denominator) of seconds: a quotient of integers is rounded once, and rightly."""
_MOST_DIGITS = 8

# One row a decade: up to `end` seconds, three digits and `suffix` make the value; a step of the last digit is
# `numerator / denominator` seconds. From 1e8 s on, seconds have no room in eight digits; from 6e9 s on, minutes.
_ROWS: tuple[tuple[float, int, int, bytes], ...] = (
    (1e-6, 1, 10**9, b"n"),
    (1e-5, 1, 10**8, b"0n"),
    (1e-4, 1, 10**7, b"00n"),
    (1e-3, 1, 10**6, b"u"),
    (1e-2, 1, 10**5, b"0u"),
    (1e-1, 1, 10**4, b"00u"),
    (1e0, 1, 10**3, b"m"),
    (1e1, 1, 10**2, b"0m"),
    (1e2, 1, 10, b"00m"),
    (1e3, 1, 1, b"S"),
    (1e4, 10, 1, b"0S"),
    (1e5, 10**2, 1, b"00S"),
    (1e6, 10**3, 1, b"000S"),
    (1e7, 10**4, 1, b"0000S"),
    (1e8, 10**5, 1, b"00000S"),
    (6e8, 60 * 10**4, 1, b"0000M"),
    (6e9, 60 * 10**5, 1, b"00000M"),
    (3.6e10, 3600 * 10**4, 1, b"0000H"),
    (3.6e11, 3600 * 10**5, 1, b"00000H"),
)
_ENDS = tuple(row[0] for row in _ROWS)


def encode_timeout(seconds: float) -> bytes:
    """Return what grpc-timeout says for `seconds`: never more, and less by under 1 % from 100 ns up.

    Nothing left, or no number, is `0n`; less than a nanosecond is `1n`, because zero would mean expired; what has no
    room is `99999999H`, 11,400 years. Costs about 0.5 µs.
    """
    if not seconds > 0:
        return b"0n"
    index = bisect_right(_ENDS, seconds)
    if index == len(_ROWS):
        return b"99999999H"
    _, numerator, denominator, suffix = _ROWS[index]
    # One more than the product says, then down to what holds: a product of floats may be off by one either way.
    digits = int(seconds * denominator / numerator) + 1
    while digits * numerator / denominator > seconds and digits > 1:
        digits -= 1
    return b"%d%b" % (digits, suffix)


def decode_timeout(value: bytes) -> float:
    """Return the seconds that grpc-timeout says.

    Raises:
      ValueError: it is not one to eight digits and a unit of `HMSmun`.
    """
    unit = _UNITS.get(value[-1]) if value else None
    digits = value[:-1]
    if unit is None or len(digits) > _MOST_DIGITS or not digits.isdigit():
        raise ValueError(f"{value[:20]!r} is not one to eight digits and a unit of HMSmun")
    numerator, denominator = unit
    return int(digits) * numerator / denominator
