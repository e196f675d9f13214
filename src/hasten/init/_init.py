"""Puts a project's files together: which there are, and what is left to do by hand."""

import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.init._deployment import REQUIREMENT, compose_file, docker_files, kubernetes_files, workflow_file
from hasten.init._module_edit import add_installation, decode, installation
from hasten.init._objectives import objectives, requests
from hasten.init._project import PYPROJECT, REQUIREMENTS, Project, read_project
from hasten.init._proposal import GROUPS, FileChange, Group, Proposal, edited, made, read
from hasten.init._pyproject_edit import Settings, depends_on, edit
from hasten.init._routes import Route, routes_of
from hasten.init._templates import marked, plain_files, render
from hasten.init._timing import Timing

_SLO, _PLAN, _WORKFLOW = "slo.toml", "plan.toml", ".github/workflows/hasten.yaml"
_REACHED = "admin= and admin_token= from HASTEN_ADMIN and HASTEN_ADMIN_TOKEN, or nobody reaches the admin port"
_OTHER_COMPOSE = ("compose.yml", "docker-compose.yaml", "docker-compose.yml")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted.

    Attributes:
      app: `module:attribute`; empty for the only one there is.
      service: Its name; empty for the project's.
      groups: Which files.
      force: Files of somebody else are written over, too.
      timing: Of a process's end.
      grpc_port: That the app serves besides HTTP; 0 for none.
    """

    app: str = ""
    service: str = ""
    groups: Collection[Group] = GROUPS
    force: bool = False
    timing: Timing = Timing()
    grpc_port: int = 0


def propose(root: Path, options: Options) -> Proposal:
    """Return what adding hasten to a project would write; nothing is written, and the app is imported elsewhere.

    Raises:
      ConfigurationError: the project has no app or several, or a file of it cannot be read.
      MissingDependency: Compose is wanted, whose rules for Prometheus need PyYAML.
    """
    project = read_project(root, options.app, options.service)
    return _Proposing(project, options).all()


def propose_example(root: Path, *, force: bool) -> Proposal:
    """Return what writing the two-service starter into a folder would write.

    Raises:
      ConfigurationError: a file there cannot be read.
    """
    root = root.absolute()
    changes = [made(root, path, "example", text, force=force) for path, text in plain_files("example").items()]
    return Proposal(root=root, app="", changes=tuple(changes))


class _Proposing:
    """Collects the changes of a project, and what is to be said about them."""

    def __init__(self, project: Project, options: Options) -> None:
        self._project = project
        self._options = options
        self._changes: list[FileChange] = []
        self._notes: list[str] = []

    def all(self) -> Proposal:
        """Return everything that is wanted."""
        groups = self._options.groups
        if "slo" in groups:
            self._measure()
        if "pyproject" in groups:
            self._depend()
        if "app" in groups:
            self._install()
        if "docker" in groups:
            for path, text in docker_files(self._project, self._options.timing, self._options.grpc_port).items():
                self._add(path, "docker", text)
        if "compose" in groups:
            self._compose()
        if "kubernetes" in groups:
            for path, text in kubernetes_files(self._project, self._options.timing, self._options.grpc_port).items():
                self._add(path, "kubernetes", text)
        if "github" in groups:
            self._add(_WORKFLOW, "github", workflow_file(self._project))
            if not self._is_there(_PLAN):
                self._notes.append(f"{_WORKFLOW}: hasten gate sends plan.toml, which is not there: write it")
        self._notes += self._warnings()
        project = self._project
        return Proposal(
            root=project.root, app=project.app.target, changes=tuple(self._changes), notes=tuple(self._notes)
        )

    # ---- the groups

    def _measure(self) -> None:
        """Add slo.toml and plan.toml, with the routes that the app has."""
        routes: tuple[Route, ...] = ()
        service, target = self._project.service, self._project.app.target
        if not (self._stays(_SLO) and self._stays(_PLAN)):
            seen = routes_of(self._project.root, self._project.app)
            routes = seen.routes
            if seen.problem:
                self._notes.append(f"{target} does not import here, so its routes are not in slo.toml: {seen.problem}")
        text = render("slo.toml", service=service, target=target, objectives=objectives(service, routes))
        self._add(_SLO, "slo", marked(text))
        asked = requests(routes)
        if asked:
            self._add(_PLAN, "slo", marked(render("plan.toml", requests=asked)))
        elif not self._is_there(_PLAN):
            self._notes.append("plan.toml: no route can be asked as it stands: write one (docs/reference/plan.md)")

    def _depend(self) -> None:
        """Add the dependency, and the tables of pyproject.toml."""
        before = read(self._project.root, PYPROJECT)
        text = (before or b"").decode()
        app = "" if self._names_app(text) else self._project.app.target
        settings = Settings(requirement=REQUIREMENT, app=app, plan=_PLAN if self._is_there(_PLAN) else "")
        result = edit(text, settings)
        left = list(result.left)
        if self._project.needs != PYPROJECT:  # the first of them is about the dependency
            left = left[1:]
            self._require()
        self._notes += left
        if result.text != text or before is not None:
            self._changes.append(edited(PYPROJECT, "pyproject", before, result.text.encode()))

    def _require(self) -> None:
        """Add the dependency to requirements.txt."""
        if self._project.needs != REQUIREMENTS:
            self._notes.append(f"add {REQUIREMENT!r} to what the project needs")
            return
        before = read(self._project.root, REQUIREMENTS) or b""
        lines = before.decode(errors="replace").splitlines()
        after = before
        if not depends_on(lines, "hasten"):
            ending = b"\r\n" if b"\r\n" in before else b"\n"
            after += (b"" if not before or before.endswith(b"\n") else ending) + REQUIREMENT.encode() + ending
        self._changes.append(edited(REQUIREMENTS, "pyproject", before, after))

    def _install(self) -> None:
        """Add hasten.install to the app's module."""
        app, service = self._project.app, self._project.service
        if app.installed:
            reached = "" if app.reached else f"; in a container it needs {_REACHED}"
            self._notes.append(f"{app.installed} calls hasten.install already{reached}")
            return
        slo = self._is_there(_SLO)
        before = read(self._project.root, app.file) if app.file else None
        after = None
        if before is not None:
            source, encoding = decode(before)
            added = add_installation(source, app.attribute, service, slo=slo)
            after = None if added is None else added.encode(encoding)
        if before is not None and after is not None:
            self._changes.append(edited(app.file, "app", before, after))
            return
        lines = " ".join(installation(app.attribute, service, slo=slo).split())
        self._notes.append(f"{app.file or app.target}: not plainly safe to edit; add behind the app: {lines}")

    def _compose(self) -> None:
        """Add compose.yaml, and what Prometheus runs by: as hasten monitor writes it, from slo.toml as it will be."""
        from hasten.monitor.deploy import files  # needs PyYAML, which not everybody has
        from hasten.monitor.deploy._yaml import HEAD
        from hasten.monitor.slo import parse_slo

        root = self._project.root
        other = next((name for name in _OTHER_COMPOSE if (root / name).exists()), None)
        if other is not None:
            self._notes.append(f"{other} is there: Compose would take compose.yaml in its place, so none is written")
            return
        slo = self._content(_SLO)
        if slo is None:
            raise ConfigurationError("--only", "compose needs slo.toml, which is not there", "add slo to it")
        self._add("compose.yaml", "compose", compose_file(self._project, self._options.timing, self._options.grpc_port))
        for path, text in files(parse_slo(slo, str(root / _SLO))).items():
            if path.startswith("prometheus/"):
                path = f"deploy/{path}"
                change = made(root, path, "compose", text, force=self._options.force, generated=HEAD)
                self._changes.append(change)

    # ---- what is there

    def _add(self, path: str, group: Group, text: str) -> None:
        self._changes.append(made(self._project.root, path, group, text, force=self._options.force))

    def _content(self, path: str) -> bytes | None:
        """Return what will be in a file."""
        for change in self._changes:
            if change.path == path:
                return change.before if change.state == "kept" else change.after
        return read(self._project.root, path)

    def _is_there(self, path: str) -> bool:
        return self._content(path) is not None

    def _stays(self, path: str) -> bool:
        """Tell whether a file would stay, whatever its new text."""
        return made(self._project.root, path, "slo", "", force=self._options.force).state == "kept"

    def _names_app(self, text: str) -> bool:
        tools = tomllib.loads(text).get("tool", {})
        return bool(tools.get("fastapi", {}).get("entrypoint") == self._project.app.target)

    # ---- what else is to be known

    def _warnings(self) -> Iterator[str]:
        changed = {change.path for change in self._changes if change.is_written}
        if self._project.locked and PYPROJECT in changed:
            yield "uv.lock does not know the new dependency yet: run uv lock"
        if any(path.startswith("deploy/") for path in changed) and _discovers_packages(self._project.root):
            yield "setuptools would take the folder deploy for a package: name yours in [tool.setuptools] packages"


def _discovers_packages(root: Path) -> bool:
    """Tell whether setuptools looks for packages among the project's folders by itself."""
    document = tomllib.loads((read(root, PYPROJECT) or b"").decode())
    system: dict[str, str] = document.get("build-system", {})
    is_built = bool(system) or ("project" in document and not (root / "uv.lock").exists())  # uv builds none without it
    built = system.get("build-backend", "setuptools") if is_built else ""
    named = document.get("tool", {}).get("setuptools", {})
    return (
        built.startswith("setuptools") and not {"packages", "py-modules"} & set(named) and not (root / "src").is_dir()
    )
