"""A function's parameters and annotations, also where names in them are not defined yet, or for type checkers only."""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Hashable
from inspect import Parameter
from typing import Annotated, Any, NewType, get_args, get_origin


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """Return a function's parameters; their annotations are not looked up and may be of any form."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return list(inspect.signature(function, annotation_format=Format.FORWARDREF).parameters.values())
    return list(inspect.signature(function).parameters.values())


def annotation_of(function: Callable[..., Any], name: str) -> Any:
    """Return one of a function's annotations as a type; None without one.

    Raises:
      Exception: it cannot be looked up; NameError where it is imported for type checkers only.
    """
    annotations = raw_annotations(function)
    if name not in annotations:
        return None
    # By itself: another one may be undefined. get_type_hints wants a function, and its globals.
    probe = types.FunctionType(raw_annotations.__code__, function.__globals__)
    probe.__annotations__ = {"it": annotations[name]}
    return typing.get_type_hints(probe, include_extras=True)["it"]


def raw_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's annotations as they stand there: types, or texts."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(function)


def plain_type(function: Callable[..., Any], name: str, known: Collection[type]) -> Any:
    """Return the type that a parameter is annotated with, without None, constraints and new names.

    Args:
      known: Types that are known by their names in annotations that cannot be looked up.
    """
    try:
        annotation = annotation_of(function, name)
    except Exception:
        annotation = raw_annotations(function).get(name)
        return {kind.__name__: kind for kind in known}.get(annotation) if isinstance(annotation, str) else None
    while isinstance(annotation, NewType) or get_origin(annotation) is Annotated:
        annotation = annotation.__supertype__ if isinstance(annotation, NewType) else get_args(annotation)[0]
    alternatives = [kind for kind in get_args(annotation) if kind is not type(None)]
    if get_origin(annotation) in {typing.Union, types.UnionType} and len(alternatives) == 1:
        annotation = alternatives[0]
    return annotation if isinstance(annotation, Hashable) else None
