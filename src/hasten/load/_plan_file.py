"""Plans as TOML files: keys and types, each error with the file and the key it stands at."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hasten._core.durations import parse_duration
from hasten._core.errors import ConfigurationError
from hasten.load._parameters import Parameter, Range, Values, Zipf
from hasten.load._request_kind import RequestKind
from hasten.load._status_names import status_code

_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPES = re.compile(r"`(\w+(?: \| \w+)*)`")
_TOML_TYPES = {
    "float": "a number",
    "int": "an integer",
    "str": "a string",
    "array": "a list",
    "object": "a table",
}
_Table = TypeVar("_Table")


class _PlanTable(msgspec.Struct, forbid_unknown_fields=True):
    rate: float
    duration: str
    request: list[dict[str, Any]]
    target: str = ""
    warmup: str = "2s"
    arrivals: str = "poisson"
    timeout: str = "10s"
    connections: int | msgspec.UnsetType = msgspec.UNSET
    seed: int = 1
    proto: list[str] = []
    proto_path: list[str] = []


class _RequestTable(msgspec.Struct, forbid_unknown_fields=True):
    path: str = ""
    name: str = ""
    method: str = "GET"
    weight: float = 1.0
    expect: list[int | str] | str = []
    headers: dict[str, str] = {}
    body: str = ""
    data: str | dict[str, Any] = ""
    parameters: dict[str, Any] = {}


class _ParameterTable(msgspec.Struct, forbid_unknown_fields=True):
    range: list[int] | None = None
    zipf: list[int] | None = None
    exponent: float | None = None
    values: list[str | int | float] | None = None


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a plan, as `Plan` takes them, from the TOML file at `path`; values are not yet
    checked.

    Raises:
      ConfigurationError: the file cannot be read, is no TOML, or a key is unknown, missing or of another
        type.
    """
    source = str(path)
    table = _converted(_load(path), _PlanTable, source, "")
    settings = msgspec.structs.asdict(table)
    kinds = settings.pop("request")
    settings["requests"] = tuple(_request(raw, source, f"request[{index}]") for index, raw in enumerate(kinds))
    for key in ("duration", "warmup", "timeout"):
        settings[key] = parse_duration(settings[key], f"{source}: {key}")
    if settings["connections"] is msgspec.UNSET:
        settings["connections"] = None
    for key in ("proto", "proto_path"):
        settings[key] = tuple(str(path.parent / name) for name in settings[key])
    return settings


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"not valid TOML: {error}") from error


def _request(raw: dict[str, Any], source: str, place: str) -> RequestKind:
    table = _converted(raw, _RequestTable, source, place)
    rpc = "/" in table.method
    if not rpc and not table.path:
        raise ConfigurationError(f"{source}: {place}.path", "missing")
    parameters = {
        name: _parameter(value, source, f"{place}.parameters.{name}") for name, value in table.parameters.items()
    }
    return RequestKind(
        name=table.name or (table.method if rpc else f"{table.method} {table.path}"),
        method=table.method,
        path=table.path,
        weight=table.weight,
        expect=_expected(table.expect, f"{source}: {place}.expect", rpc=rpc),
        headers=tuple(table.headers.items()),
        body=table.body,
        data=table.data if isinstance(table.data, str) else json.dumps(table.data, default=_iso),
        parameters=parameters,
    )


def _expected(given: list[int | str] | str, place: str, *, rpc: bool) -> tuple[int, ...]:
    """Return statuses by their numbers: HTTP's are written as such, gRPC's by name, a single one alone if you like."""
    statuses = []
    for position, status in enumerate([given] if isinstance(given, str) else given):
        where = place if isinstance(given, str) else f"{place}[{position}]"
        if rpc != isinstance(status, str):
            problem = "expected a gRPC status by its name" if rpc else "expected an integer, got a string"
            raise ConfigurationError(where, problem, "for example NOT_FOUND" if rpc else "")
        statuses.append(status if isinstance(status, int) else status_code(status, where))
    return tuple(statuses)


def _iso(value: Any) -> str:
    """Return a TOML date or time as protobuf's JSON form writes it (RFC 3339)."""
    text: str = value.isoformat()
    return text


def _parameter(raw: Any, source: str, place: str) -> Parameter:
    table = _converted(raw, _ParameterTable, source, place)
    given = [key for key in ("range", "zipf", "values") if getattr(table, key) is not None]
    if len(given) != 1:
        raise ConfigurationError(f"{source}: {place}", "needs exactly one of range, zipf, values")
    if table.exponent is not None and table.zipf is None:
        raise ConfigurationError(f"{source}: {place}.exponent", "belongs to zipf")
    if table.values is not None:
        return Values(tuple(str(value) for value in table.values))
    bounds = table.range if table.range is not None else (table.zipf or [])
    if len(bounds) != 2:
        raise ConfigurationError(f"{source}: {place}.{given[0]}", "needs two integers, low and high")
    if table.range is not None:
        return Range(bounds[0], bounds[1])
    return Zipf(bounds[0], bounds[1], 1.0 if table.exponent is None else table.exponent)


def _converted(raw: Any, kind: type[_Table], source: str, place: str) -> _Table:
    """Convert a TOML table strictly; msgspec's `Expected … - at $.path` becomes `source: place.path: …`."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        problem, path = (match["problem"], match["path"] or "") if match else (str(error), "")
        if unknown := _UNKNOWN.fullmatch(problem):
            path, problem = _joined(path, unknown[1]), "unknown key"
        elif missing := _MISSING.fullmatch(problem):
            path, problem = _joined(path, missing[1]), "missing"
        else:
            problem = _TYPES.sub(_toml_types, problem)
            problem = problem[0].lower() + problem[1:]
        where = _joined(place, path)
        raise ConfigurationError(f"{source}: {where}" if where else source, problem) from error


def _toml_types(found: re.Match[str]) -> str:
    """Return msgspec's `int | str` as `an integer or a string`."""
    return " or ".join(_TOML_TYPES.get(name, name) for name in found[1].split(" | "))


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place and key and not key.startswith("[") else place + key
