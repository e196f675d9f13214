"""Texts with `{name}` where a parameter's value goes."""

import re
from collections.abc import Container, Mapping

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def split_template(text: str, names: Container[str]) -> list[str]:
    """Split `text` at the placeholders of `names`: literal, name, literal, ..., literal."""
    pieces = [""]
    position = 0
    for match in PLACEHOLDER.finditer(text):
        if match[1] in names:
            pieces[-1] += text[position : match.start()]
            pieces += [match[1], ""]
            position = match.end()
    pieces[-1] += text[position:]
    return pieces


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with each placeholder of a name in `values` replaced; all other braces stay."""
    return "".join(values[part] if index % 2 else part for index, part in enumerate(split_template(text, values)))
