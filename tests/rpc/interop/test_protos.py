"""The generated code of the repository is what scripts/protos makes of the .proto files."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.rpc.interop.protos import service_pb2_grpc

ROOT = Path(__file__).parents[3]
FOLDERS = ("benchmarks", "examples", "tests")


@pytest.fixture
def same_generator() -> None:
    """Skip where grpcio-tools is not of the version that generated the code; fail where CI pins it."""
    installed, generated = version("grpcio-tools"), service_pb2_grpc.GRPC_GENERATED_VERSION
    if installed == generated:
        return
    reason = f"the code is of grpcio-tools {generated}, {installed} is installed; run scripts/protos"
    if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
        pytest.fail(reason)
    pytest.skip(reason)


def generated_below(root: Path) -> dict[str, str]:
    """Return the text of every generated file, by its path from `root`."""
    found = [file for folder in FOLDERS for file in (root / folder).rglob("*_pb2*.py*") if file.suffix != ".pyc"]
    return {str(file.relative_to(root)): file.read_text() for file in found}


@pytest.mark.usefixtures("same_generator")
def test_generating_changes_nothing(tmp_path: Path) -> None:
    """Generating all code again makes the same files, no more and no fewer."""
    command = [sys.executable, str(ROOT / "scripts" / "protos"), "--to", str(tmp_path)]
    subprocess.run(command, check=True, timeout=50)
    committed = generated_below(ROOT)
    assert "tests/rpc/interop/protos/service_pb2_grpc.pyi" in committed
    assert generated_below(tmp_path) == committed


def test_error_in_a_proto_file_fails(tmp_path: Path) -> None:
    """An error that protoc finds is the script's exit code, and nothing is written."""
    copy = tmp_path / "repository"
    folder = copy / "tests" / "rpc" / "interop"
    folder.mkdir(parents=True)
    (folder / "broken.proto").write_text('syntax = "proto3"; message {')
    script = copy / "scripts" / "protos"
    script.parent.mkdir()
    script.write_bytes((ROOT / "scripts" / "protos").read_bytes())
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "broken.proto:1" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["broken.proto"]
