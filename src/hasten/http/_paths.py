"""Paths of rules, written as in Starlette's routes: `/products/{id}`, `/files/{name:path}`."""

import re
from collections.abc import Callable

_CONVERTERS = {  # those of Starlette's routes
    "str": "[^/]+",
    "path": ".*",
    "int": "[0-9]+",
    "float": r"[0-9]+(?:\.[0-9]+)?",
    "uuid": "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}",
}
_PARAMETER = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_]+))?}")


def path_pattern(path: str, wrong: Callable[[str, str], Exception]) -> re.Pattern[str]:
    """Return what matches a whole path, with its parameters as groups.

    Args:
      path: With parameters of the kinds str, int, float, uuid and path.
      wrong: Makes the error of whose path it is, from what is wrong and what to do.
    """
    if not path.startswith("/"):
        raise wrong("the path does not begin with /", "write it as in the app's routes")
    parts, position, names = [], 0, set()
    for match in _PARAMETER.finditer(path):
        name, kind = match[1], match[2] or "str"
        if kind not in _CONVERTERS or name in names:
            raise wrong(f"{match[0]} cannot be matched", f"the kinds are {', '.join(_CONVERTERS)}, each name once")
        names.add(name)
        parts += [re.escape(path[position : match.start()]), f"(?P<{name}>{_CONVERTERS[kind]})"]
        position = match.end()
    rest = path[position:]
    if "{" in rest or "}" in rest or any("\\{" in part for part in parts):
        raise wrong("a brace without its other half", "write parameters as {name} or {name:int}")
    return re.compile("".join(parts) + re.escape(rest), re.DOTALL)
