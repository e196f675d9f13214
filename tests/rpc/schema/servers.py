"""The service of protos/shop/stock.proto, and servers of grpc.aio with or without reflection; no generated code."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from hasten.rpc.schema._protoc import compile_files

PROTOS = Path(__file__).with_name("protos")
STOCK = PROTOS / "shop" / "stock.proto"
SERVICE = "shop.Stock"

Files = list[descriptor_pb2.FileDescriptorProto]


FILES: Files = compile_files([STOCK], [PROTOS])
"""Descriptors of the test's service and of all it imports."""


@contextlib.asynccontextmanager
async def serving(*handlers: grpc.GenericRpcHandler) -> AsyncIterator[int]:
    """Serve `handlers` in the running loop; yield the port on 127.0.0.1."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def reflection(files: Files, *, services: Iterable[str] = (SERVICE,), version: str = "v1") -> grpc.GenericRpcHandler:
    """Return grpcio-reflection's service for `files`, under the name of either version."""
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    servicer: Any = ReflectionServicer(service_names=list(services), pool=pool)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    name = f"grpc.reflection.{version}.ServerReflection"
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
