"""Descriptors from .proto files, by the protoc of grpcio-tools, which runs as a process of its own: it ends its process
when it dislikes a file, and writes to its standard error past Python.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import descriptor_pb2

from hasten._core.errors import ConfigurationError, MissingDependency

_SECONDS = 60.0
_LOCATED = re.compile(r"(.+?:\d+:\d+): (.*)")
_MISSING = re.compile(r"(\S+): File not found\.?")


def compile_files(paths: Sequence[Path], include: Sequence[Path]) -> list[descriptor_pb2.FileDescriptorProto]:
    """Return the descriptors of .proto files and of all that they import.

    Args:
      paths: The files; at least one.
      include: Folders where imports are looked for, each file's own after them.
    Raises:
      ConfigurationError: a path does not exist, or a file does not compile: the first error is named with its line.
      MissingDependency: grpcio-tools is not installed.
    """
    if importlib.util.find_spec("grpc_tools") is None:
        raise MissingDependency("grpcio-tools", "proto")
    _check(paths, include)
    folders = [folder.resolve() for folder in include]
    files = [path.resolve() for path in paths]
    folders += [file.parent for file in files if not any(file.is_relative_to(folder) for folder in folders)]
    with TemporaryDirectory() as directory:
        output = Path(directory, "descriptors")
        command = [sys.executable, "-m", "grpc_tools.protoc", "--include_imports", f"--descriptor_set_out={output}"]
        command += [f"-I{folder}" for folder in dict.fromkeys(folders)]
        command += [str(file) for file in files]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise _failure(done.stderr, {str(file): str(path) for file, path in zip(files, paths, strict=True)})
        return list(descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file)


def _check(paths: Sequence[Path], include: Sequence[Path]) -> None:
    if not paths:
        raise ConfigurationError("proto", "no .proto file given")
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(str(path), "no such .proto file")
    for folder in include:
        if not folder.is_dir():
            raise ConfigurationError(str(folder), "no such folder of .proto files")


def _failure(output: str, given: dict[str, str]) -> ConfigurationError:
    """Return protoc's first line that is no warning as an error at its file, line and column.

    Args:
      output: What protoc wrote.
      given: The files as protoc names them, with the paths that the caller knows them by.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip() and "warning:" not in line]
    line = lines[0] if lines else "protoc gave no reason"
    for file, path in given.items():
        line = line.replace(file, path)
    if located := _LOCATED.fullmatch(line):
        return ConfigurationError(located[1], located[2].rstrip("."))
    if missing := _MISSING.fullmatch(line):
        problem = f"imports {missing[1]}, which is not found"
        return ConfigurationError(next(iter(given.values())), problem, "name the folder it is below (--proto-path DIR)")
    return ConfigurationError(next(iter(given.values())), f"does not compile: {line}")
