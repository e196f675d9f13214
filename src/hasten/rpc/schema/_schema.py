"""The services of a server, by name."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import descriptor, descriptor_pb2, descriptor_pool

from hasten._core.errors import ConfigurationError
from hasten.rpc.schema._method import MethodSchema, method_schema
from hasten.rpc.schema._protoc import compile_files
from hasten.rpc.schema._reflection import Metadata, reflect

if TYPE_CHECKING:
    import grpc

_SHOWN = 8  # names in an error message
_WELL_KNOWN = (
    *("any", "api", "descriptor", "duration", "empty", "field_mask"),
    *("source_context", "struct", "timestamp", "type", "wrappers"),
)


class Schema:
    """What the services of a server, or of .proto files, look like.

    Attributes:
      services: Names of all services, sorted.
    """

    def __init__(
        self,
        files: Iterable[descriptor_pb2.FileDescriptorProto],
        *,
        services: Iterable[str] = (),
        failures: Mapping[str, str] | None = None,
    ) -> None:
        """Take descriptors in any order.

        Args:
          files: With all that they import, but for protobuf's own (google/protobuf/*.proto), which are known.
          services: Names that exist besides those the files define.
          failures: Why a service has no definition, by its name.
        """
        self._failures = dict(failures or {})
        self._pool = descriptor_pool.DescriptorPool()
        self._services: dict[str, descriptor.ServiceDescriptor] = {}
        loader = _Loader(self._pool, files)
        for file in loader.files.values():
            problem = loader.add(file.name)
            for service in file.service:
                name = f"{file.package}.{service.name}" if file.package else service.name
                if problem:
                    self._failures[name] = problem
                else:
                    self._services[name] = self._pool.FindServiceByName(name)
        self.services = tuple(sorted({*self._services, *self._failures, *services}))

    @classmethod
    async def from_reflection(
        cls,
        channel: "grpc.aio.Channel",
        *,
        metadata: Metadata = (),
        timeout: float = 10.0,  # noqa: ASYNC109 - a gRPC deadline: the server is told
    ) -> "Schema":
        """Ask the server at the other end of `channel`, which may be grpc.aio's or hasten.rpc's.

        Args:
          channel: Left open.
          metadata: Sent with the call, for a server that wants to know who asks.
          timeout: Seconds.
        Raises:
          ConfigurationError: the server offers no reflection, or refuses it.
          TargetUnreachable: it does not answer.
        Source: grpc.reflection.v1.ServerReflection, else v1alpha.
        """
        found = await reflect(channel, metadata=metadata, timeout=timeout)
        return cls(found.files.values(), services=found.services, failures=found.failures)

    @classmethod
    def from_proto(cls, paths: Iterable[str | Path], include: Iterable[str | Path] = ()) -> "Schema":
        """Compile .proto files; this blocks for about 0.2 s.

        Args:
          paths: At least one file.
          include: Folders where imports are looked for, before each file's own.
        Raises:
          ConfigurationError: a path does not exist, or a file does not compile.
          MissingDependency: grpcio-tools is not installed.
        """
        return cls(compile_files([Path(path) for path in paths], [Path(folder) for folder in include]))

    def method(self, name: str, where: str = "method") -> MethodSchema:
        """Return the method that `name`, of the form `package.Service/Method`, means.

        Raises:
          ConfigurationError: there is none; the nearest, or all, are named. `where` is named as its place.
        """
        service_name, slash, method_name = name.removeprefix("/").partition("/")
        if not slash:
            raise ConfigurationError(where, f"{name!r} is no method", "write package.Service/Method")
        service = self._service(service_name, where)
        method = service.methods_by_name.get(method_name)
        if method is None:
            problem = f"{service_name} has no method {method_name!r}"
            raise ConfigurationError(where, problem, _suggestion(method_name, [each.name for each in service.methods]))
        return method_schema(method, self._pool)

    def _service(self, name: str, where: str) -> descriptor.ServiceDescriptor:
        found = self._services.get(name)
        if found is not None:
            return found
        if name in self.services:
            reason = self._failures.get(name, "no file defines it")
            raise ConfigurationError(where, f"{name} has no usable definition: {reason}", "give its .proto files")
        known = [service for service in self.services if not service.startswith("grpc.reflection.")]
        raise ConfigurationError(where, f"there is no service {name!r}", _suggestion(name, known))


class _Loader:
    """Adds files to a pool, each after what it imports.

    Attributes:
      files: By name.
    """

    def __init__(
        self, pool: descriptor_pool.DescriptorPool, files: Iterable[descriptor_pb2.FileDescriptorProto]
    ) -> None:
        self.files = {file.name: file for file in files}
        self._pool = pool
        self._problems: dict[str, str] = {}  # of every file tried, "" when it was added

    def add(self, name: str) -> str:
        """Add a file with its imports; return why it cannot be added, "" if it can."""
        if name in self._problems:
            return self._problems[name]
        self._problems[name] = f"{name} imports itself"
        file = self.files.get(name) or _well_known(name)
        self._problems[name] = f"{name} is missing" if file is None else self._add(file)
        return self._problems[name]

    def _add(self, file: descriptor_pb2.FileDescriptorProto) -> str:
        for imported in file.dependency:
            if problem := self.add(imported):
                return problem
        try:
            self._pool.Add(file)
        except TypeError as error:
            return " ".join(str(error).split())
        return ""


def _well_known(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    """Return one of the files that come with protobuf."""
    stem = name.removeprefix("google/protobuf/").removesuffix(".proto")
    if name != f"google/protobuf/{stem}.proto" or stem not in _WELL_KNOWN:
        return None
    file = descriptor_pb2.FileDescriptorProto()
    importlib.import_module(f"google.protobuf.{stem}_pb2").DESCRIPTOR.CopyToProto(file)
    return file


def _suggestion(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]}?"
    if not known:
        return "there is none at all"
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"there is {', '.join(known[:_SHOWN])}{more}"
