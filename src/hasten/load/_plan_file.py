"""Plans as TOML files: keys and types, each error with the file and the key it stands at."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hasten._core.durations import parse_duration
from hasten._core.errors import ConfigurationError
from hasten.load._parameters import Parameter, Range, Values, Zipf
from hasten.load._request_kind import RequestKind

_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
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
    connections: int = 1000
    seed: int = 1


class _RequestTable(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    name: str = ""
    method: str = "GET"
    weight: float = 1.0
    expect: list[int] = []
    headers: dict[str, str] = {}
    body: str = ""
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
    parameters = {
        name: _parameter(value, source, f"{place}.parameters.{name}") for name, value in table.parameters.items()
    }
    return RequestKind(
        name=table.name or f"{table.method} {table.path}",
        method=table.method,
        path=table.path,
        weight=table.weight,
        expect=tuple(table.expect),
        headers=tuple(table.headers.items()),
        body=table.body,
        parameters=parameters,
    )


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
            problem = re.sub(r"`(\w+)`", lambda found: _TOML_TYPES.get(found[1], found[1]), problem)
            problem = problem[0].lower() + problem[1:]
        where = _joined(place, path)
        raise ConfigurationError(f"{source}: {where}" if where else source, problem) from error


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place and key and not key.startswith("[") else place + key
