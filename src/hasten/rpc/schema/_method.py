"""One method: its requests from JSON, its responses as JSON."""

import json
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, EncodeError, Message

from hasten._core.errors import ConfigurationError
from hasten.rpc.schema._json_errors import explain


@dataclass(frozen=True, slots=True)
class MethodSchema:
    """A method's messages and how many of them go each way.

    Attributes:
      name: `package.Service/Method`.
      request, response: Message classes.
      client_streaming: It takes a stream of requests.
      server_streaming: It gives a stream of responses.
    """

    name: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool
    _pool: descriptor_pool.DescriptorPool

    @property
    def path(self) -> str:
        """The method's path on the wire."""
        return f"/{self.name}"

    def request_bytes(self, data: str | dict[str, Any], where: str = "data") -> bytes:
        """Return one request as it goes over the wire; 8 µs for two fields.

        Args:
          data: The request in protobuf's JSON form, as text or parsed; fields by their own names or in camelCase.
          where: What holds the data, for the error message.
        Raises:
          ConfigurationError: it is no JSON, or no such message; the field is named.
        """
        value = _loaded(data, where) if isinstance(data, str) else data
        message = self.request()
        self._check_object(value, where)
        try:
            json_format.ParseDict(value, message, descriptor_pool=self._pool)
            return message.SerializeToString()
        except json_format.ParseError as error:
            raise explain(error, where) from error
        except EncodeError as error:
            raise ConfigurationError(where, " ".join(str(error).split())) from error
        except OverflowError as error:  # json reads 1e999 as infinity
            raise ConfigurationError(where, "a number is out of range") from error

    def response_text(self, data: bytes) -> str:
        """Return one response as JSON text in one line, fields by their own names.

        Raises:
          ConfigurationError: the bytes are no such message: the schema is not the server's.
        """
        try:
            message = self.response.FromString(data)
            return json_format.MessageToJson(
                message, indent=None, preserving_proto_field_name=True, ensure_ascii=False, descriptor_pool=self._pool
            )
        except (DecodeError, json_format.SerializeToJsonError, TypeError) as error:
            problem = f"the response is no {self.response.DESCRIPTOR.full_name}"
            raise ConfigurationError(self.name, problem, "are the .proto files the server's?") from error

    def _check_object(self, value: Any, where: str) -> None:
        """Refuse what is no object, but for well-known types: their JSON may be a text, a number or a list."""
        full_name = self.request.DESCRIPTOR.full_name
        if not isinstance(value, dict) and not full_name.startswith("google.protobuf."):
            raise ConfigurationError(where, f"{json.dumps(value)} is no JSON object", f"write a {full_name}: {{...}}")


def method_schema(method: descriptor.MethodDescriptor, pool: descriptor_pool.DescriptorPool) -> MethodSchema:
    """Return what `method`, found in `pool`, looks like."""
    return MethodSchema(
        name=f"{method.containing_service.full_name}/{method.name}",
        request=message_factory.GetMessageClass(method.input_type),
        response=message_factory.GetMessageClass(method.output_type),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        _pool=pool,
    )


def _loaded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(where, f"not valid JSON: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(where, "not valid JSON: nested too deeply") from error
