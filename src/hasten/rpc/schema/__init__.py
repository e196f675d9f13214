"""What the messages of a gRPC method look like, without generated code: from a server's reflection or .proto files.

    schema = await Schema.from_reflection(channel)      or Schema.from_proto(["stock.proto"])
    method = schema.method("shop.Stock/Get")
    method.request_bytes({"product_id": 7})             and method.response_text(reply)

Descriptors come from the server (reflection) or from protoc; each `Schema` keeps them in a pool of its own, so that two
servers with different versions of a file do not meet. Nothing but protobuf is needed to read them.
"""

try:
    import google.protobuf as _protobuf  # noqa: F401 - the modules below import its parts
except ModuleNotFoundError as error:
    if error.name not in ("google", "google.protobuf"):
        raise
    from hasten._core.errors import MissingDependency

    raise MissingDependency("protobuf", "grpc") from error

from hasten.rpc.schema._method import MethodSchema
from hasten.rpc.schema._schema import Schema

__all__ = ("MethodSchema", "Schema")
