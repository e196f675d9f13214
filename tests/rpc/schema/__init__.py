"""hasten.rpc.schema: methods and messages from reflection and from .proto files."""
