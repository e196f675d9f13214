"""gRPC requests as bytes: JSON text with values filled in, then the method's message."""

import random
from typing import TYPE_CHECKING

from hasten.load._parameters import extremes, json_escaped, sampler
from hasten.load._request_kind import RequestKind
from hasten.load._template_text import fill, split_template
from hasten.rpc.schema import MethodSchema

if TYPE_CHECKING:
    from hasten.load._client import Render

Piece = bytes | int  # literal bytes, or the index of the parameter whose value stands here


class GrpcTemplate:
    """Makes the messages of one kind of call; made once when nothing varies, else anew for each, about 20 µs."""

    __slots__ = ("_draws", "_method", "_pieces", "_place", "render")

    head_only = False
    idempotent = False  # a channel sends a call again by itself where it is safe to

    def __init__(self, kind: RequestKind, method: MethodSchema, source: random.Random, place: str) -> None:
        self._method = method
        self._place = place
        self._draws = [sampler(parameter, source) for parameter in kind.parameters.values()]
        names = list(kind.parameters)
        split = split_template(kind.data or "{}", names)
        self._pieces: list[Piece] = [
            names.index(part) if index % 2 else part.encode() for index, part in enumerate(split)
        ]
        self.render: Render = self._filled
        if not self._draws:
            message = self._filled(0)
            self.render = lambda _number: message

    def _filled(self, _number: int) -> bytes:
        values = [draw() for draw in self._draws]
        text = b"".join([piece if isinstance(piece, bytes) else values[piece][2] for piece in self._pieces])
        return self._method.request_bytes(text.decode(), self._place)


def check_data(kind: RequestKind, method: MethodSchema, place: str) -> None:
    """Make a message of the extremes of every parameter, so that no request of the run can turn out to be wrong.

    Raises:
      ConfigurationError: the data is no request of the method, or a value does not fit its field.
    """
    data = kind.data or "{}"
    ends = {name: [json_escaped(value) for value in extremes(each)] for name, each in kind.parameters.items()}
    usual = {name: values[0] for name, values in ends.items()}
    method.request_bytes(fill(data, usual), place)
    for name, values in ends.items():
        for value in values[1:]:
            method.request_bytes(fill(data, {**usual, name: value}), place)
