"""Schemas from .proto files and from descriptors: methods are found by name, or the nearest are told."""

import importlib.util
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from hasten._core.errors import ConfigurationError, MissingDependency
from hasten.rpc.schema import Schema
from tests.rpc.schema.servers import FILES, PROTOS, STOCK

SCHEMA = Schema(FILES)


def test_proto_files() -> None:
    """A .proto file gives its services; what it imports is looked for in the folders given."""
    schema = Schema.from_proto([STOCK], [PROTOS])
    assert schema.services == ("shop.Stock",)
    assert schema.method("shop.Stock/Get").request_bytes({"product_id": 1}) == b"\x08\x01"


def test_proto_file_beside_its_imports(tmp_path: Path) -> None:
    """A file's own folder is looked through without being given."""
    (tmp_path / "line.proto").write_text((PROTOS / "shop" / "line.proto").read_text())
    service = 'syntax = "proto3"; import "line.proto"; service Top { rpc Go(shop.Line) returns (shop.Line); }'
    (tmp_path / "top.proto").write_text(service)
    schema = Schema.from_proto([str(tmp_path / "top.proto")])
    assert schema.method("Top/Go").request_bytes({"quantity": 1}) == b"\x10\x01"


def test_wrong_proto_files(tmp_path: Path) -> None:
    """A file or folder that is absent, and a file that does not compile, are refused by name; the error's line too."""
    wrong = tmp_path / "wrong.proto"
    wrong.write_text('syntax = "proto3";\nmessage A { in32 x = 1; }\n')
    absent = tmp_path / "absent"
    cases: list[tuple[list[Path], list[Path], str]] = [
        ([], [], "proto: no .proto file given"),
        ([absent], [], f"{absent}: no such .proto file"),
        ([STOCK], [absent], f"{absent}: no such folder of .proto files"),
        ([wrong], [], f'{wrong}:2:13: "in32" is not defined'),
        ([STOCK], [], f"{STOCK}: imports shop/line.proto, which is not found; name the folder "),
    ]
    for paths, include, message in cases:
        with pytest.raises(ConfigurationError) as caught:
            Schema.from_proto(paths, include)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


def test_without_grpcio_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without grpcio-tools a .proto file is refused with what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"^grpcio-tools is not installed; run: pip install 'hasten\[proto\]'$"):
        Schema.from_proto([STOCK], [PROTOS])


def test_without_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without protobuf the package says what to install."""
    for name in [name for name in sys.modules if name.startswith(("hasten.rpc.schema", "google.protobuf"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(MissingDependency, match=r"^protobuf is not installed; run: pip install 'hasten\[grpc\]'$"):
        importlib.import_module("hasten.rpc.schema")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shop.Stock", "method: 'shop.Stock' is no method; write package.Service/Method"),
        ("shop.Stok/Get", "method: there is no service 'shop.Stok'; did you mean shop.Stock?"),
        ("Stock/Get", "method: there is no service 'Stock'; did you mean shop.Stock?"),
        ("bank.Account/Get", "method: there is no service 'bank.Account'; there is shop.Stock"),
        ("shop.Stock/get", "method: shop.Stock has no method 'get'; did you mean Get?"),
        ("shop.Stock/Delete", "method: shop.Stock has no method 'Delete'; there is Get, Watch, Count, Chat, Find"),
        ("shop.Stock/", "method: shop.Stock has no method ''; there is Get, Watch, "),
    ],
)
def test_unknown_method(name: str, message: str) -> None:
    """A name that means no method is refused with the nearest one, or with all there are."""
    with pytest.raises(ConfigurationError) as caught:
        SCHEMA.method(name)
    assert str(caught.value).startswith(message)


def test_many_services_are_not_all_named() -> None:
    """An error message names eight services and how many more there are."""
    file = descriptor_pb2.FileDescriptorProto(name="many.proto", package="many", syntax="proto3")
    for number in range(11):
        file.service.add(name=f"S{number}")
    with pytest.raises(ConfigurationError, match=r"; there is many\.S0, .* and 3 more$"):
        Schema([file]).method("other/X")


def test_services_without_a_definition() -> None:
    """A service whose file is missing or cannot be built spoils no other, and is refused with the reason."""
    broken = descriptor_pb2.FileDescriptorProto(name="broken.proto", package="a", syntax="proto3")
    broken.service.add(name="Broken").method.add(name="Go", input_type=".a.No", output_type=".a.No")
    alone = descriptor_pb2.FileDescriptorProto(name="alone.proto", dependency=["nowhere.proto"], syntax="proto3")
    alone.service.add(name="Alone")
    ring = descriptor_pb2.FileDescriptorProto(name="ring.proto", dependency=["ring.proto"], syntax="proto3")
    ring.service.add(name="Ring")
    schema = Schema([*FILES, broken, alone, ring], services=["listed.Only"])
    assert schema.services == ("Alone", "Ring", "a.Broken", "listed.Only", "shop.Stock")
    assert schema.method("shop.Stock/Get").name == "shop.Stock/Get"
    reasons = {
        "a.Broken/Go": r"method: a\.Broken has no usable definition: .*; give its \.proto files",
        "Alone/Go": r"method: Alone has no usable definition: nowhere\.proto is missing; ",
        "Ring/Go": r"method: Ring has no usable definition: ring\.proto imports itself; ",
        "listed.Only/Go": r"method: listed\.Only has no usable definition: no file defines it; ",
    }
    for name, reason in reasons.items():
        with pytest.raises(ConfigurationError, match=f"^{reason}"):
            schema.method(name)


def test_files_of_protobuf_itself_need_not_be_given() -> None:
    """What protobuf brings along (timestamps, wrappers, ...) is known without its file."""
    own = [file for file in FILES if not file.name.startswith("google/protobuf/")]
    get = Schema(own).method("shop.Stock/Get")
    assert get.request_bytes({"at": "1970-01-01T00:00:01Z"}) == b"\x3a\x02\x08\x01"
