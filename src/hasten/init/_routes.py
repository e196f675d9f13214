"""The routes that an app really has, seen by importing it in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from hasten.init._app import App

_SECONDS = 60.0
_PROBE = """
import json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the app prints is not the answer
from hasten._core.targets import import_app
from hasten.monitor._routes import routes_of
app = import_app(sys.argv[1])
try:
    operations = app.openapi()["paths"]
except Exception:
    operations = {}
found = []
for route in routes_of(app):
    get = operations.get(route.path, {}).get("get")
    bare = get is not None and "{" not in route.path and not get.get("security") and not any(
        parameter.get("required") for parameter in get.get("parameters", ())
    )
    known = route.path in operations
    found.append({"path": route.path, "methods": list(route.methods), "known": known, "bare": bare})
out.write(json.dumps(found))
out.close()
os._exit(0)  # threads that the app has started at import are nobody's
"""


class Route(msgspec.Struct, frozen=True):
    """A route of an app.

    Attributes:
      path: Its template.
      methods: That it answers, in capitals.
      known: Whether it stands in the app's OpenAPI document: it is the app's own, no page of documentation.
      bare: Whether it can be asked by GET as it stands, without parameters, body or credentials.
    """

    path: str
    methods: tuple[str, ...]
    known: bool
    bare: bool


class Seen(msgspec.Struct, frozen=True):
    """What importing an app has shown.

    Attributes:
      routes: In the app's order; none where it does not import.
      problem: Why it does not; empty where it does.
    """

    routes: tuple[Route, ...] = ()
    problem: str = ""


def routes_of(root: Path, app: App) -> Seen:
    """Import the app in another process, in the project's folder, and return what it has."""
    paths = [str(root / app.source) if app.source else str(root), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", _PROBE, app.target]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Seen(problem=f"importing it takes more than {_SECONDS:.0f} s")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return Seen(problem=(said[-1] if said else f"exit {done.returncode}").rpartition("ConfigurationError: ")[2])
    return Seen(routes=msgspec.json.decode(done.stdout, type=tuple[Route, ...]))
