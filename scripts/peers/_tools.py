"""The peers: what each is called, how it is found, and how it is built."""

import hashlib
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from peers._machine import on_path, switched_on

HERE = Path(__file__).parent
DEBIAN = {
    "nghttp2-client": ("h2load", "nghttp"),
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "amtool"),
    "chromium": ("chromium",),
}
"""Packages and the executables that tests want of them."""
GO_LANGUAGE = "1.21"  # any later one does too: Go raises it to what the modules ask for


def variable(name: str) -> str:
    """Return the environment variable that gives tests the peer's path."""
    return f"HASTEN_TEST_{name.upper().replace('-', '_')}"


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hasten-peers"


@dataclass(frozen=True, slots=True)
class DebianTool:
    """An executable of a Debian package, which has the executable's variable."""

    name: str
    package: str

    @property
    def variable(self) -> str:
        return variable(self.name)

    def find(self) -> str | None:
        return on_path(self.name)

    def remedy(self) -> str:
        return f"no {self.name} on PATH; apt-get install {self.package}, or set {self.variable}"


@dataclass(frozen=True, slots=True)
class BuiltTool:
    """A peer that is built from source once and then kept in the cache.

    Attributes:
      name: Short name, as in `services list`.
      version: Its version.
      builder: The executable that builds it.
      arguments: The builder's arguments; it runs in the folder that holds the manifest.
      manifest: Name and text of the file that tells the builder what to fetch.
      product: What tests get, relative to that folder; "." for the folder itself.
    """

    name: str
    version: str
    builder: str
    arguments: tuple[str, ...]
    manifest: tuple[str, str]
    product: str

    @property
    def variable(self) -> str:
        return variable(self.name)

    @property
    def folder(self) -> Path:
        """Return where it is kept once built; another manifest or another command makes it another folder."""
        recipe = json.dumps([self.arguments, self.manifest])
        return cache_folder() / f"{self.name}-{self.version}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    def find(self) -> str | None:
        path = self.folder / self.product
        return str(path) if path.exists() else None

    def can_be_built(self) -> bool:
        return on_path(self.builder) is not None and not switched_on("HASTEN_NO_INSTALL")

    def remedy(self) -> str:
        if self.can_be_built():
            how = f"`scripts/services run` builds it with {self.builder}"
        elif on_path(self.builder):
            how = "HASTEN_NO_INSTALL forbids to build it"
        else:
            how = f"no {self.builder} on PATH to build it with"
        return f"no {self.name} {self.version} in {cache_folder()}: {how}; or set {self.variable}"


Tool = DebianTool | BuiltTool


def tools() -> tuple[Tool, ...]:
    """Return the peers at the pinned versions."""
    pinned = tomllib.loads((HERE / "versions.toml").read_text())
    go = (go_tool(name, entry["package"], entry["modules"]) for name, entry in pinned.items())
    debian = (DebianTool(name, package) for package, names in DEBIAN.items() for name in names)
    return (*go, npm_tool("grpc-js", "@grpc/grpc-js"), npm_tool("axe-core", "axe-core"), *debian)


def go_tool(name: str, package: str, modules: dict[str, str]) -> BuiltTool:
    required = "".join(f"require {module} {version}\n" for module, version in modules.items())
    return BuiltTool(
        name=name,
        version=next(iter(modules.values())),
        builder="go",
        arguments=("build", "-mod=mod", "-ldflags=-s -w", "-o", name, package),
        manifest=("go.mod", f"module hasten.invalid/peer\n\ngo {GO_LANGUAGE}\n\n{required}"),
        product=name,
    )


def npm_tool(name: str, package: str) -> BuiltTool:
    """Return the peer whose product is a folder with node_modules in it; `package` names its version."""
    manifest = (HERE / name.replace("-", "_") / "package.json").read_text()
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    return BuiltTool(
        name=name,
        version=json.loads(manifest)["dependencies"][package],
        builder="npm",
        arguments=("install", "--no-package-lock", "--ignore-scripts", *quiet),
        manifest=("package.json", manifest),
        product=".",
    )
