"""Descriptors from a running server: gRPC server reflection, version v1 and, where that is absent, v1alpha."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.rpc.schema._reflection_messages import reflection_messages

File = descriptor_pb2.FileDescriptorProto
Metadata = tuple[tuple[str, str | bytes], ...]

_VERSIONS = ("v1", "v1alpha")
_REMEDY = "give its .proto files instead (--proto FILE)"
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(slots=True)
class Reflected:
    """What a server told about itself.

    Attributes:
      services: Names, as the server lists them.
      files: By their names.
      failures: Services that it lists and does not describe, with the reason it gives.
    """

    services: tuple[str, ...]
    files: dict[str, File] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


async def reflect(
    channel: grpc.aio.Channel,
    *,
    metadata: Metadata,
    timeout: float,  # noqa: ASYNC109 - a gRPC deadline: the server is told
) -> Reflected:
    """Ask a server for its services and for the files that describe them.

    Args:
      channel: To the server, of grpc.aio or of hasten.rpc.
      metadata: Sent with the call, for a server that wants to know who asks.
      timeout: Seconds for all questions together.
    Raises:
      ConfigurationError: the server offers no reflection, or refuses it.
      TargetUnreachable: it does not answer.
    Cancellation: cancels the call.
    """
    for version in _VERSIONS:
        try:
            return await _read_all(_Stream(channel, version, metadata, timeout))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise _translated(error) from error
        except DecodeError as error:
            raise ConfigurationError("reflection", "the server's answer cannot be read", _REMEDY) from error
    raise ConfigurationError("reflection", "the server does not offer it", _REMEDY)


async def _read_all(stream: "_Stream") -> Reflected:
    try:
        listed = await stream.ask(list_services="*")
        reflected = Reflected(tuple(service.name for service in listed.list_services_response.service))
        for service in reflected.services:
            answer = await stream.ask(file_containing_symbol=service)
            if answer.HasField("error_response"):
                reflected.failures[service] = _reason(answer)
            _keep(answer, reflected.files)
        await _complete(stream, reflected.files)
        return reflected
    finally:
        stream.cancel()


async def _complete(stream: "_Stream", files: dict[str, File]) -> None:
    """Ask for imported files that did not come with those that import them."""
    asked: set[str] = set()
    while wanted := _imported(files.values()) - files.keys() - asked:
        for name in sorted(wanted):
            asked.add(name)
            _keep(await stream.ask(file_by_filename=name), files)


class _Stream:
    """One reflection call: a question, its answer, the next question."""

    def __init__(self, channel: grpc.aio.Channel, version: str, metadata: Metadata, timeout: float) -> None:
        self._request, response = reflection_messages()
        method: Any = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=self._request.SerializeToString,
            response_deserializer=response.FromString,
        )
        self._call = method(timeout=timeout, metadata=metadata)

    async def ask(self, **question: str) -> Any:
        """Return the answer to one question.

        Raises:
          grpc.aio.AioRpcError: the call has failed.
          ConfigurationError: the server has ended it.
        """
        with contextlib.suppress(asyncio.InvalidStateError):  # it is over: reading tells how it ended
            await self._call.write(self._request(**question))
        answer = await self._call.read()
        if answer is grpc.aio.EOF:
            raise ConfigurationError("reflection", "the server ended the call too soon", _REMEDY)
        return answer

    def cancel(self) -> None:
        """End the call; nothing more is asked."""
        self._call.cancel()


def _keep(answer: Any, files: dict[str, File]) -> None:
    for serialized in answer.file_descriptor_response.file_descriptor_proto:
        file = File.FromString(serialized)
        files.setdefault(file.name, file)


def _imported(files: Iterable[File]) -> set[str]:
    return {name for file in files for name in file.dependency}


def _reason(answer: Any) -> str:
    error = answer.error_response
    return error.error_message or f"error {error.error_code}"


def _translated(error: grpc.aio.AioRpcError) -> Exception:
    name, details = error.code().name, " ".join((error.details() or "").split())
    said = f"{name}: {details}" if details else name
    if error.code() in _AWAY:
        return TargetUnreachable("reflection", said)
    return ConfigurationError("reflection", f"the server refuses it with {said}", _REMEDY)
