"""scripts/services: foreign peers are built once, kept, and handed to the command."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PEERS = SCRIPTS / "peers"
GO_PEERS = ("H2SPEC", "GO_INTEROP_CLIENT", "GO_INTEROP_SERVER", "GRPCURL")
PRINT_PEERS = (
    "import json, os; print(json.dumps({n: v for n, v in os.environ.items() if n.startswith('HASTEN_TEST_')}))"
)

# In place of the builders: they note that they ran, in a file beside them, and make what the real ones make.
GO = """#!/bin/sh
echo "$@" >> "$0.runs"
while [ "$1" != -o ]; do shift; done
echo "$0" > "$2"
"""
NPM = """#!/bin/sh
echo "$@" >> "$0.runs"
/bin/mkdir node_modules
"""
FAILING = """#!/bin/sh
echo fetching
echo no such version >&2
exit 1
"""
ENDLESS = """#!/bin/sh
echo $$ > "$0.pid"
exec /bin/sleep 60
"""
SERVERS = {
    "HASTEN_TEST_REDIS_URL": "redis://127.0.0.1:1/0",
    "HASTEN_TEST_REDIS_CLUSTER_URL": "redis+cluster://127.0.0.1:1",
    "HASTEN_TEST_MEMCACHED_URL": "memcached://127.0.0.1:1",
    "HASTEN_TEST_POSTGRES_URL": "postgresql://127.0.0.1:1",
}
"""Given, so that none is started."""


DEBIAN = {
    f"HASTEN_TEST_{name.upper().replace('-', '_')}": f"/{name}"
    for name in ("h2load", "nghttp", "prometheus", "promtool", "prometheus-alertmanager", "amtool", "chromium")
}
"""Given, so that none is installed."""
NODE_PEERS = ("AXE_CORE", "GRPC_JS")


class Machine:
    """A machine whose PATH holds only what a test puts there; its servers and Debian's peers are given.

    Without apt-get on PATH nothing can be installed.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        self.cache = folder / "cache"
        self.script = SCRIPTS / "services"

    def put(self, executable: str, program: str) -> None:
        file = self.path / executable
        file.write_text(program)
        file.chmod(0o755)

    def runs(self, executable: str) -> int:
        """Return how often an executable has run."""
        noted = self.path / f"{executable}.runs"
        return len(noted.read_text().splitlines()) if noted.exists() else 0

    def kept(self) -> list[str]:
        return sorted(folder.name for folder in (self.cache / "hasten-peers").iterdir())

    def environment(self, **changes: str) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("HASTEN_")}
        return others | SERVERS | DEBIAN | {"PATH": str(self.path), "XDG_CACHE_HOME": str(self.cache)} | changes

    def services(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.script), *arguments]
        return subprocess.run(command, env=self.environment(**changes), capture_output=True, text=True, timeout=50)

    def peers(self, **changes: str) -> dict[str, str]:
        """Return what a command gets, by the peer's name as the variable has it."""
        done = self.services("run", "--", sys.executable, "-c", PRINT_PEERS, **changes)
        seen: dict[str, str] = json.loads(done.stdout)
        return {name.removeprefix("HASTEN_TEST_"): value for name, value in seen.items()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def builders(machine: Machine) -> None:
    """Put builders on the machine."""
    machine.put("go", GO)
    machine.put("npm", NPM)


@pytest.mark.usefixtures("builders")
def test_peers_are_built_and_given_by_path(machine: Machine) -> None:
    """The command finds each peer's path in HASTEN_TEST_<NAME>, in the cache, and those of Node as folders."""
    peers = machine.peers()
    for name in GO_PEERS:
        path = Path(peers[name])
        assert path.is_relative_to(machine.cache / "hasten-peers")
        assert path.name == name.lower().replace("_", "-")
        assert path.read_text().strip() == str(machine.path / "go")
    assert all(Path(peers[name], "node_modules").is_dir() for name in NODE_PEERS)
    assert (peers["H2LOAD"], peers["NGHTTP"]) == ("/h2load", "/nghttp")


@pytest.mark.usefixtures("builders")
def test_peers_are_built_once(machine: Machine) -> None:
    """A second run builds nothing, needs no builder, and gives the same paths."""
    first = machine.peers()
    (machine.path / "npm").unlink()
    assert machine.peers() == first
    assert (machine.runs("go"), machine.runs("npm")) == (len(GO_PEERS), len(NODE_PEERS))


@pytest.mark.usefixtures("builders")
def test_each_peer_is_one_line(machine: Machine) -> None:
    """A build is said in one line when it ends, and in no line on the next run."""
    first = machine.services("run", "--", sys.executable, "-c", "")
    assert len(re.findall(r"^services: \S+ \S+ built in \d+ s$", first.stderr, re.MULTILINE)) == len(GO_PEERS) + len(
        NODE_PEERS
    )
    assert "buil" not in machine.services("run", "--", sys.executable, "-c", "").stderr


@pytest.mark.usefixtures("builders")
def test_other_pins_are_built_anew(machine: Machine, tmp_path: Path) -> None:
    """Another version of any module that a peer is built from makes another peer; the others stay."""
    machine.script = Path(shutil.copytree(SCRIPTS, tmp_path / "scripts")) / "services"
    first = machine.peers()
    versions = tmp_path / "scripts" / "peers" / "versions.toml"
    changed = re.sub(r'("github.com/spf13/cobra" = )".*"', r'\1"v1.0.0"', versions.read_text())
    versions.write_text(changed)
    second = machine.peers()
    assert {name for name, path in second.items() if path != first[name]} == {"H2SPEC"}
    assert machine.runs("go") == len(GO_PEERS) + 1


@pytest.mark.usefixtures("builders")
def test_given_peer_is_used_and_not_built(machine: Machine) -> None:
    """A path in the environment reaches the command unchanged and nothing is built for it."""
    assert machine.peers(HASTEN_TEST_H2SPEC="/mine/h2spec")["H2SPEC"] == "/mine/h2spec"
    assert machine.runs("go") == len(GO_PEERS) - 1


@pytest.mark.usefixtures("builders")
def test_nothing_is_built_where_that_is_forbidden(machine: Machine) -> None:
    """With HASTEN_NO_INSTALL=1 no builder runs, and the reason says why the peer is missing."""
    done = machine.services("run", "--", sys.executable, "-c", PRINT_PEERS, HASTEN_NO_INSTALL="1")
    assert "HASTEN_TEST_H2SPEC" not in json.loads(done.stdout)
    assert re.search(r"^services: h2spec is missing: .*HASTEN_NO_INSTALL", done.stderr, re.MULTILINE)
    assert (machine.runs("go"), machine.runs("npm")) == (0, 0)


def test_without_a_builder_peers_are_missing(machine: Machine) -> None:
    """Where Go or Node is not installed the command runs without their peers, each with its reason."""
    done = machine.services("run", "--", sys.executable, "-c", PRINT_PEERS)
    assert set(json.loads(done.stdout)) == {*SERVERS, *DEBIAN}
    assert re.search(r"^services: grpcurl is missing: .*no go on PATH", done.stderr, re.MULTILINE)
    assert re.search(r"^services: grpc-js is missing: .*no npm on PATH", done.stderr, re.MULTILINE)


def test_failed_build_is_one_line(machine: Machine) -> None:
    """A build that fails says the builder's last words, leaves its peer missing and nothing in the cache."""
    machine.put("go", FAILING)
    machine.put("npm", NPM)
    done = machine.services("run", "--", sys.executable, "-c", PRINT_PEERS)
    assert re.search(r"^services: grpcurl \S+ cannot be built: fetching \| no such version$", done.stderr, re.MULTILINE)
    assert "HASTEN_TEST_GRPC_JS" in json.loads(done.stdout)
    assert [name for name in machine.kept() if not name.startswith(("axe-core-", "grpc-js-"))] == []


def test_missing_peer_fails_where_servers_are_required(machine: Machine) -> None:
    """With HASTEN_REQUIRE_SERVICES=1 a missing peer ends the run before the command, with exit code 3."""
    machine.put("go", GO)
    done = machine.services("run", "--", sys.executable, "-c", "print('ran')", HASTEN_REQUIRE_SERVICES="1")
    assert (done.returncode, done.stdout) == (3, "")
    assert "services: grpc-js is missing" in done.stderr
    machine.put("npm", NPM)
    done = machine.services("run", "--", sys.executable, "-c", "print('ran')", HASTEN_REQUIRE_SERVICES="1")
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_interruption_ends_builds(machine: Machine) -> None:
    """SIGTERM while peers are built ends the builders and leaves nothing of them in the cache."""
    pids = machine.path / "go.pid"
    os.mkfifo(pids)
    machine.put("go", ENDLESS)
    command = [sys.executable, str(machine.script), "run", "--", sys.executable, "-c", "print('ran')"]
    given = {f"HASTEN_TEST_{name}": "/given" for name in (*GO_PEERS[1:], *NODE_PEERS)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=machine.environment(**given), stdout=pipe, stderr=pipe, text=True) as process:
        pid = int(pids.read_text())  # the builder runs
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=40)
    assert (process.returncode, printed) == (128 + signal.SIGTERM, "")
    assert not Path(f"/proc/{pid}").exists()
    assert machine.kept() == []


@pytest.mark.usefixtures("builders")
def test_list_shows_peers(machine: Machine) -> None:
    """`services list` tells for a peer its place, what is given, or that a run builds it; it builds nothing."""
    assert re.search(
        r"^h2spec +missing: .*`scripts/services run` builds it", machine.services("list").stdout, re.MULTILINE
    )
    assert machine.runs("go") == 0
    path = machine.peers()["H2SPEC"]
    listed = dict(line.split(maxsplit=1) for line in machine.services("list").stdout.splitlines())
    assert (listed["h2spec"], listed["h2load"]) == (path, "HASTEN_TEST_H2LOAD=/h2load")


def test_every_version_is_pinned() -> None:
    """Each peer names one exact version of each module that it is built from."""
    go = tomllib.loads((PEERS / "versions.toml").read_text())
    manifests = [json.loads((PEERS / name.lower() / "package.json").read_text()) for name in NODE_PEERS]
    node = {package: version for manifest in manifests for package, version in manifest["dependencies"].items()}
    versions = [version for peer in go.values() for version in peer["modules"].values()]
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+(\+incompatible)?", version) for version in versions)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in node.values())
