"""What protobuf says about JSON that is no such message, in one line that begins with the field.

protobuf nests its messages: `Failed to parse lines field: Failed to parse quantity field: Value out of range: -1..`
becomes `data.lines.quantity: out of range: -1`.
"""

import difflib
import re

from google.protobuf.json_format import ParseError

from hasten._core.errors import ConfigurationError

_OUTER = re.compile(r"Failed to parse (\S+) field: ")
_AT = re.compile(r" at \"?\w+(?:\.\w+|\[[^\]]*\])*\"?$")
_UNKNOWN = re.compile(
    r'Message type "([\w.]+)" has no field named "(.*?)"(?: at "(\w.*?)")?\.\s*Available Fields[^[]*(\[.*?\])'
)
_REWORDED = (
    (re.compile(r"invalid literal for int\(\) with base 10: (.*)"), r"\1 is no integer"),
    (re.compile(r"Couldn't parse integer: (.*)"), r"\1 is no integer"),
    (re.compile(r"could not convert string to float: (.*)"), r"\1 is no number"),
    (re.compile(r"expected string or bytes-like object, got '(\w+)'"), r"expected text, got \1"),
    (re.compile(r"'(\w+)' object is not iterable"), r"expected an object, got \1"),
    (re.compile(r"Value out of range: (.*)"), r"out of range: \1"),
    (re.compile(r"Expected true or false without quotes"), "expected true or false"),
)


def explain(error: ParseError, where: str) -> ConfigurationError:
    """Return an error that names the field below `where` and what is wrong with it."""
    text = str(error)
    if unknown := _UNKNOWN.search(text):
        return _unknown_field(unknown, where)
    fields = []
    while outer := _OUTER.match(text):
        fields.append(outer[1])
        text = text[outer.end() :]
    problem = _AT.sub("", " ".join(text.split()).rstrip("."))
    for pattern, words in _REWORDED:
        if match := pattern.fullmatch(problem):
            problem = match.expand(words)
            break
    return ConfigurationError(".".join([where, *fields]), problem[:1].lower() + problem[1:] if fields else problem)


def _unknown_field(match: re.Match[str], where: str) -> ConfigurationError:
    """Name the field with its path below the message, and the nearest that exists."""
    message, name, place = match[1], match[2], match[3] or ""
    path = place.partition(".")[2]
    known = re.findall(r"'([^']*)'", match[4])
    near = difflib.get_close_matches(name, known, 1)
    remedy = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}" if known else "it has none"
    return ConfigurationError(".".join(part for part in (where, path, name) if part), f"no field of {message}", remedy)
