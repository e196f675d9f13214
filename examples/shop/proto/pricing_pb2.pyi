from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetPricesRequest(_message.Message):
    __slots__ = ("product_ids",)
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    product_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, product_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class GetPricesReply(_message.Message):
    __slots__ = ("prices", "rates")
    PRICES_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[Price]
    rates: _containers.RepeatedCompositeFieldContainer[ExchangeRate]
    def __init__(self, prices: _Optional[_Iterable[_Union[Price, _Mapping]]] = ..., rates: _Optional[_Iterable[_Union[ExchangeRate, _Mapping]]] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("product_id", "list_cents", "amount_cents", "currency")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    LIST_CENTS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_CENTS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    list_cents: int
    amount_cents: int
    currency: str
    def __init__(self, product_id: _Optional[int] = ..., list_cents: _Optional[int] = ..., amount_cents: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class ExchangeRate(_message.Message):
    __slots__ = ("currency", "per_euro")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PER_EURO_FIELD_NUMBER: _ClassVar[int]
    currency: str
    per_euro: float
    def __init__(self, currency: _Optional[str] = ..., per_euro: _Optional[float] = ...) -> None: ...
