"""Schemas from a running server: either version of reflection, and servers that do not tell."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.rpc.schema import Schema
from tests.rpc.schema.servers import FILES, SERVICE, reflection, serving

Asked = reflection_pb2.ServerReflectionRequest
Answer = reflection_pb2.ServerReflectionResponse
Behaviour = Callable[[AsyncIterator[Asked], "grpc.aio.ServicerContext[Asked, Answer]"], AsyncIterator[Answer]]


def schema_of(*handlers: grpc.GenericRpcHandler, metadata: tuple[tuple[str, str], ...] = ()) -> Schema:
    """Return what a server of `handlers` tells about itself."""

    async def main() -> Schema:
        async with serving(*handlers) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            return await Schema.from_reflection(channel, metadata=metadata, timeout=20.0)

    return asyncio.run(main())


def behaving(behaviour: Behaviour) -> grpc.GenericRpcHandler:
    """Return a reflection service (v1) that does what `behaviour` does."""
    handler = grpc.stream_stream_rpc_method_handler(
        behaviour, request_deserializer=Asked.FromString, response_serializer=Answer.SerializeToString
    )
    return grpc.method_handlers_generic_handler(
        "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
    )


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(version: str) -> None:
    """Services and messages are read from a server with either version of reflection, imported files included."""
    schema = schema_of(reflection(FILES, version=version))
    assert schema.services == ("shop.Stock",)
    get = schema.method("shop.Stock/Get")
    assert get.request_bytes({"lines": [{"quantity": 2}], "at": "1970-01-01T00:00:00Z"}) == b"\x1a\x02\x10\x02\x3a\x00"


def test_service_that_is_not_described() -> None:
    """A service that the server lists and does not describe is refused by its name; the others are there."""
    schema = schema_of(reflection(FILES, services=(SERVICE, "shop.Secret")))
    assert schema.services == ("shop.Secret", "shop.Stock")
    assert schema.method("shop.Stock/Get").name == "shop.Stock/Get"
    with pytest.raises(ConfigurationError, match=r"^method: shop\.Secret has no usable definition: "):
        schema.method("shop.Secret/Get")


def test_no_reflection() -> None:
    """A server without reflection is said to have none, and what to give instead."""
    with pytest.raises(ConfigurationError, match=r"^reflection: the server does not offer it; give its \.proto files"):
        schema_of()


def test_metadata_is_sent() -> None:
    """Metadata goes with the call, so that a server that wants to know who asks answers."""

    async def asks_who(
        requests: AsyncIterator[Asked], context: "grpc.aio.ServicerContext[Asked, Answer]"
    ) -> AsyncIterator[Answer]:
        if ("authorization", "me") not in [tuple(pair) for pair in context.invocation_metadata() or ()]:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        async for _ in requests:
            yield Answer(list_services_response=reflection_pb2.ListServiceResponse())

    assert schema_of(behaving(asks_who), metadata=(("authorization", "me"),)).services == ()
    with pytest.raises(ConfigurationError, match=r"^reflection: the server refuses it with UNAUTHENTICATED: who are y"):
        schema_of(behaving(asks_who))


def test_server_that_ends_the_call() -> None:
    """A server that ends the call before it has answered is refused."""

    async def ends(
        requests: AsyncIterator[Asked], context: "grpc.aio.ServicerContext[Asked, Answer]"
    ) -> AsyncIterator[Answer]:
        async for _ in requests:  # one, so that the client's write does not fail
            return
        yield Answer()

    with pytest.raises(ConfigurationError, match=r"^reflection: the server ended the call too soon; "):
        schema_of(behaving(ends))


def test_descriptors_that_cannot_be_read() -> None:
    """A server whose descriptors are no descriptors is refused."""

    async def garbles(
        requests: AsyncIterator[Asked], context: "grpc.aio.ServicerContext[Asked, Answer]"
    ) -> AsyncIterator[Answer]:
        async for request in requests:
            if request.list_services:
                name = reflection_pb2.ServiceResponse(name="a.B")
                yield Answer(list_services_response=reflection_pb2.ListServiceResponse(service=[name]))
            else:
                files = reflection_pb2.FileDescriptorResponse(file_descriptor_proto=[b"\xff"])
                yield Answer(file_descriptor_response=files)

    with pytest.raises(ConfigurationError, match=r"^reflection: the server's answer cannot be read; "):
        schema_of(behaving(garbles))


def test_nobody_listens() -> None:
    """A server that is not there is unreachable, which is no fault of the caller's words."""

    async def main() -> None:
        async with serving() as port:
            pass
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await Schema.from_reflection(channel)

    with pytest.raises(TargetUnreachable, match=r"^reflection: UNAVAILABLE: "):
        asyncio.run(main())
