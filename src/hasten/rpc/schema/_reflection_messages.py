"""The messages of gRPC server reflection, as far as services and files are asked for.

Built here from a descriptor of our own, so that grpcio-reflection need not be installed to talk to a server that
offers it. v1 and v1alpha differ in their package's name only, which is not on the wire: one pair serves both.

Source: grpc/grpc, src/proto/grpc/reflection/v1/reflection.proto.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "hasten.reflection"
_Field = descriptor_pb2.FieldDescriptorProto
_FIELDS = {
    "Request": (
        ("file_by_filename", 3, "string"),
        ("file_containing_symbol", 4, "string"),
        ("list_services", 7, "string"),
    ),
    "Response": (
        ("file_descriptor_response", 4, "Files"),
        ("list_services_response", 6, "Services"),
        ("error_response", 7, "Error"),
    ),
    "Files": (("file_descriptor_proto", 1, "bytes*"),),
    "Services": (("service", 1, "Service*"),),
    "Service": (("name", 1, "string"),),
    "Error": (("error_code", 1, "int32"), ("error_message", 2, "string")),
}
_ONEOFS = {"Request": "message_request", "Response": "message_response"}
_TYPES = {"string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES, "int32": _Field.TYPE_INT32}


def reflection_messages() -> tuple[Any, Any]:
    """Return the classes of a reflection request and of its response."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    request, response = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("Request", "Response"))
    return message_factory.GetMessageClass(request), message_factory.GetMessageClass(response)


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="hasten/reflection.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        oneof = _ONEOFS.get(name)
        if oneof is not None:
            message.oneof_decl.add(name=oneof)
        for field_name, number, kind in fields:
            field = message.field.add(name=field_name, number=number)
            _set_type(field, kind)
            if oneof is not None:
                field.oneof_index = 0
    return file


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    """Give a field its type: a scalar's or a message's name, with * when it is repeated."""
    field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
    name = kind.removesuffix("*")
    if name in _TYPES:
        field.type = _TYPES[name]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{name}"
