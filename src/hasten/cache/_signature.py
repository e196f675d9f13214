"""Generates what a cached function becomes: functions with the parameters of the original.

Python itself then binds the arguments: nothing is packed into `*args`, defaults are filled in, and a wrong call raises
the TypeError that it always raised, at the call. A hit of a function of one int costs 0.18 µs (a dict behind an async
function: 0.09), of an int and a str 0.21, of an instance and an int 0.6; `Signature.bind` alone takes 2 µs.

From `async def load_product(product_id: int, lang="en")` comes

    async def load_product(product_id, lang=_default_1):
        key = (product_id if _type(product_id) is _int else _key_of(product_id, 'load_product(product_id)'), ...)
        entry = _get(key)
        if entry is not None:
            now = _monotonic()
            if now < entry.calm_until and now < _memory.trusted_until and entry.epoch is _memory.epoch:
                entry.visited = True
                _counts.hits += 1
                return entry.value
        return await _load(key, _partial(_function, product_id, lang), _tags)

and, with the same parameters, `peek`, `refresh`, `invalidate` and `key`. The names with underscores are free variables,
which cost 10 ns more than globals of our own: the functions' globals are the original's, where FastAPI and others look
up the names in annotations.
"""

import inspect
import linecache
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from inspect import Parameter
from itertools import count
from keyword import iskeyword
from pathlib import Path
from time import monotonic
from typing import Any, Literal
from uuid import UUID

from hasten._core.errors import ConfigurationError
from hasten.cache._annotations import parameters_of, plain_type
from hasten.cache._checks import checked_tags
from hasten.cache._instances import instance_keys, key_of_class
from hasten.cache._keys import BYTES_TAG, FALSE, TRUE, UUID_TAG, key_of
from hasten.cache._region import Region

Receiver = Literal["", "self", "cls"]
"""What a function's first parameter is: an argument like the others, an instance, a class."""

_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_DIRECTORY = Path(__file__).parent
"""Where generated code says it stands, so that the ledger takes it for a part of hasten."""

# Keys of exact types, without a call. `type(x)`, as `x.__class__` of a proxy is what it stands for.
_INLINE: dict[Any, str] = {
    int: "{x} if {_}type({x}) is {_}int else {other}",
    str: "{x} if {_}type({x}) is {_}str else {other}",
    bytes: "({_}bytes_tag, {x}) if {_}type({x}) is {_}bytes else {other}",
    bool: "{_}true if {x} is True else {_}false if {x} is False else {other}",
    UUID: "({_}uuid_tag, {x}.int) if {_}type({x}) is {_}UUID else {other}",
}

_TEMPLATE = """\
async def {name}({parameters}):
    {key} = {key_expression}
{hit}
    return await {_}load({key}, {_}partial({_}function, {arguments}), {tags_expression})

def {_}peek({parameters}):
    {key} = {key_expression}
{hit}
    {entry} = {_}region_peek({key})
    return None if {entry} is None else {entry}.value

async def {_}refresh({parameters}):
    return await {_}region_refresh({key_expression}, {_}partial({_}function, {arguments}), {tags_expression})

async def {_}invalidate({parameters}):
    return await {_}region_invalidate({key_expression})

def {_}key({parameters}):
    return {key_expression}
"""
_HIT = """\
    {entry} = {_}get({key})
    if {entry} is not None:
        {now} = {_}monotonic()
        if {now} < {entry}.calm_until and {now} < {_}memory.trusted_until and {entry}.epoch is {_}memory.epoch:
            {entry}.visited = True
            {_}counts.hits += 1
            return {entry}.value"""


@dataclass(frozen=True, slots=True)
class Generated:
    """The functions made for one cached function; all have its parameters."""

    call: Callable[..., Any]
    peek: Callable[..., Any]
    refresh: Callable[..., Any]
    invalidate: Callable[..., Any]
    key: Callable[..., Hashable]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be generated.

    Attributes:
      region: Where the values live.
      receiver: What the first parameter is.
      key: Takes some of the parameters, by their names, and returns what tells the values apart.
      tags: Takes some of the parameters and returns the tags of the value; or the tags themselves.
      shared: Other processes have the values too, or are told of their keys.
    """

    function: Callable[..., Any]
    region: Region[Any]
    receiver: Receiver = ""
    key: Callable[..., Any] | None = None
    tags: Callable[..., Iterable[str]] | tuple[str, ...] = ()
    shared: bool = False
    parameters: list[Parameter] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", parameters_of(self.function))


def generate(plan: Plan) -> Generated:
    """Make a cached function and what belongs to it.

    Raises:
      ConfigurationError: `key` or `tags` wants an argument that the function does not have.
    """
    name = _identifier(plan.function.__name__)
    mark = _mark(name, *(parameter.name for parameter in plan.parameters))
    names = _Names(plan, mark)
    own = {"_": mark, "key": f"{mark}key_", "entry": f"{mark}entry", "now": f"{mark}now"}
    body = _TEMPLATE.format(
        **own,
        name=name,
        hit=_HIT.format(**own),
        parameters=names.declarations(),
        arguments=names.arguments(),
        key_expression=names.key(),
        tags_expression=names.tags(),
    )
    made = _compiled(plan.function, body, names.free, (name, *(f"{mark}{verb}" for verb in _VERBS)))
    update_wrapper(made[0], plan.function)
    made[0].__code__ = made[0].__code__.replace(co_qualname=plan.function.__qualname__)
    for verb, function in zip(_VERBS, made[1:], strict=True):
        _name(function, plan.function, verb)
    return Generated(*made)


_VERBS = ("peek", "refresh", "invalidate", "key")


def _name(function: Callable[..., Any], of: Callable[..., Any], verb: str) -> None:
    """Name a verb's function `load_product.peek`, as its errors then say."""
    function.__name__ = verb
    function.__qualname__ = f"{of.__qualname__}.{verb}"
    function.__module__ = of.__module__


class _Names:
    """The parts of the generated source, and the objects that its free variables stand for."""

    def __init__(self, plan: Plan, mark: str) -> None:
        region = plan.region
        self._plan = plan
        self._mark = mark
        self.free: dict[str, object] = {}
        self._bind(get=region.entries.get, monotonic=monotonic, memory=region.memory, counts=region.counts)
        self._bind(load=region.load, partial=partial, function=plan.function, key_of=key_of)
        self._bind(region_peek=region.peek, region_refresh=region.refresh, region_invalidate=region.invalidate)

    def _bind(self, **objects: object) -> None:
        self.free.update({f"{self._mark}{name}": thing for name, thing in objects.items()})

    def declarations(self) -> str:
        """Return the parameters as a `def` has them, with free variables for the defaults."""
        # The signature's own text, of bare parameters: it knows where `/` and `*` go.
        bare = []
        for position, parameter in enumerate(self._plan.parameters):
            default = parameter.default
            if default is not Parameter.empty:
                self._bind(**{f"default_{position}": default})
                default = _Default(f"{self._mark}default_{position}")
            bare.append(parameter.replace(annotation=Parameter.empty, default=default))
        return str(inspect.Signature(bare))[1:-1]

    def arguments(self) -> str:
        """Return what hands the parameters on."""
        return ", ".join(map(_argument, self._plan.parameters))

    def key(self) -> str:
        """Return the expression of the key: of one parameter its key, of several a tuple, or what `key=` returns."""
        plan = self._plan
        if plan.key is not None:
            self._bind(user_key=plan.key)
            call = f"{self._mark}user_key({self._some_arguments(plan.key, 'key')})"
            return f"{self._mark}key_of({call}, {f'{plan.region.name} key='!r})"
        keys = [self._key_of(position, parameter) for position, parameter in enumerate(plan.parameters)]
        return keys[0] if len(keys) == 1 else f"({', '.join(keys)})"

    def _key_of(self, position: int, parameter: Parameter) -> str:
        plan, mark, name = self._plan, self._mark, parameter.name
        said = f"{plan.function.__name__}({name})"
        if position == 0 and plan.receiver == "self":
            self._bind(key_of_self=instance_keys(plan.function.__name__, shared=plan.shared))
            return f"{mark}key_of_self({name})"
        if position == 0 and plan.receiver == "cls":
            self._bind(key_of_class=key_of_class)
            return f"{mark}key_of_class({name}, {said!r})"
        other = f"{mark}key_of({name}, {said!r})"
        # The annotation says which type to look for first; a value of another one has its key all the same.
        inline = None if parameter.kind in _VARIABLE else _INLINE.get(plain_type(plan.function, name, _INLINE))
        if inline is None:
            return other
        self._bind(type=type, int=int, str=str, bytes=bytes, UUID=UUID)
        self._bind(true=TRUE, false=FALSE, bytes_tag=BYTES_TAG, uuid_tag=UUID_TAG)
        return inline.format(x=name, _=mark, other=other)

    def tags(self) -> str:
        """Return the expression of the tags, evaluated when there is no hit."""
        tags = self._plan.tags
        if isinstance(tags, tuple):
            self._bind(tags=tags)
            return f"{self._mark}tags"
        self._bind(user_tags=tags, checked_tags=checked_tags)
        call = f"{self._mark}user_tags({self._some_arguments(tags, 'tags')})"
        return f"{self._mark}checked_tags({call}, {f'{self._plan.region.name} tags='!r})"

    def _some_arguments(self, taker: Callable[..., Any], option: str) -> str:
        """Return what hands a callable of the user's the parameters that it names."""
        where = f"cache region {self._plan.region.name}, {option}="
        try:
            wanted = parameters_of(taker)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(where, "has no parameters to be seen", "use a lambda or a function") from error
        known = [parameter.name for parameter in self._plan.parameters]
        for parameter in wanted:
            if parameter.kind in _VARIABLE or (parameter.name not in known and parameter.default is Parameter.empty):
                problem = f"takes {str(parameter).partition('=')[0]}, which is no argument of the function"
                raise ConfigurationError(where, problem, f"it may take, by name, {', '.join(known) or 'nothing'}")
        return ", ".join(_named_argument(parameter) for parameter in wanted if parameter.name in known)


class _Default:
    """Stands in a signature for a default; its repr is source."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __repr__(self) -> str:
        return self._source


def _argument(parameter: Parameter) -> str:
    match parameter.kind:
        case Parameter.VAR_POSITIONAL:
            return f"*{parameter.name}"
        case Parameter.VAR_KEYWORD:
            return f"**{parameter.name}"
        case Parameter.KEYWORD_ONLY:
            return f"{parameter.name}={parameter.name}"
        case _:
            return parameter.name


def _named_argument(parameter: Parameter) -> str:
    name = parameter.name
    return name if parameter.kind is Parameter.POSITIONAL_ONLY else f"{name}={name}"


def _identifier(name: str) -> str:
    return name if name.isidentifier() and not iskeyword(name) else "cached"


def _mark(*taken: str) -> str:
    """Return a beginning that none of the names has: the free variables' own."""
    mark = "_"
    while any(name.startswith(mark) for name in taken):
        mark += "_"
    return mark


def _compiled(
    function: Callable[..., Any], body: str, free: dict[str, object], names: Sequence[str]
) -> tuple[Callable[..., Any], ...]:
    """Return the functions that `body` defines, with `free` as their free variables and the globals of `function`."""
    lines = [f"def {names[-1]}_factory({', '.join(free)}):"]
    lines += [f"    {line}" if line else "" for line in body.splitlines()]
    lines += [f"    return {', '.join(names)}", ""]
    source = "\n".join(lines)
    filename = _remembered(function, source)
    made: dict[str, Callable[..., tuple[Callable[..., Any], ...]]] = {}
    exec(compile(source, filename, "exec"), function.__globals__, made)
    return made[f"{names[-1]}_factory"](**free)


def _remembered(function: Callable[..., Any], source: str) -> str:
    """Give generated source to linecache, which shows it in tracebacks; return the name of its file."""
    base = f"{_DIRECTORY}/<cached {function.__module__}.{function.__qualname__}"
    for number in count(1):
        name = f"{base}>" if number == 1 else f"{base} {number}>"
        known = linecache.cache.get(name)
        if known is None or "".join(known[2]) == source:  # type: ignore[misc]
            break
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return name
