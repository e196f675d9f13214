"""scripts/services: what it installs is started by nobody else, fetched once, and missed in one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peers import install_packages, tools
from servers import KAFKA, SERVERS, KafkaJars

SCRIPT = Path(__file__).parents[2] / "scripts" / "services"

# In place of apt-get: it does what the scripts of packages do to start a service, and notes what they call.
APT_GET = """#!/bin/sh
for option; do
  case $option in DPkg::Path=*) PATH=${option#DPkg::Path=}; esac
done
for command in invoke-rc.d deb-systemd-invoke; do
  readlink -f "$(command -v $command)" >> "$NOTES"
  $command rabbitmq-server start || exit 1
done
command -v dpkg >> "$NOTES"
"""

FAILING_MVN = """#!/bin/sh
echo "[INFO] Scanning"
echo "[ERROR] Could not resolve kafka_2.13"
echo "[ERROR] Re-run Maven with -X"
exit 1
"""
# In place of mvn: the option -DoutputDirectory=FOLDER names where jars go.
MVN = """#!/bin/sh
for option; do
  case $option in -DoutputDirectory=*) folder=${option#-DoutputDirectory=}; esac
done
/bin/mkdir "$folder" && : > "$folder/kafka.jar"
"""
ENDLESS_MVN = """#!/bin/sh
echo $$ > "$0.pid"
exec /bin/sleep 60
"""
OLD_JAVA = """#!/bin/sh
echo "class file version 61.0 is not known"
exit 1
"""


class Machine:
    """A machine whose PATH holds only what a test puts there; everything but Kafka is given."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        self.cache = folder / "cache"

    def put(self, executable: str, program: str) -> None:
        file = self.path / executable
        file.write_text(program)
        file.chmod(0o755)

    def environment(self, **changes: str) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("HASTEN_")}
        given = {one.variable: "given" for one in (*SERVERS, *tools()) if one is not KAFKA}
        places = {"PATH": str(self.path), "XDG_CACHE_HOME": str(self.cache)}
        return others | given | places | changes

    def services(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *arguments]
        return subprocess.run(command, env=self.environment(**changes), capture_output=True, text=True, timeout=50)

    def messages(self, **changes: str) -> list[str]:
        """Return what `fetch` says of Kafka."""
        said = self.services("fetch", "--with", "kafka", **changes).stderr.splitlines()
        return [line for line in said if "afka" in line]

    def kept(self) -> list[Path]:
        return list((self.cache / "hasten").iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_packages_start_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While packages are installed, the commands that their scripts start services with do nothing."""
    (tmp_path / "apt-get").write_text(APT_GET)
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    install_packages(["rabbitmq-server"])
    *services, dpkg = (tmp_path / "notes").read_text().splitlines()[-3:]
    assert services == [str(Path("/bin/true").resolve())] * 2
    assert dpkg == shutil.which("dpkg", path="/usr/sbin:/usr/bin:/sbin:/bin")


@pytest.mark.parametrize(("there", "lacking"), [((), "java"), (("java",), "mvn")])
def test_kafka_needs_java_and_maven(machine: Machine, there: tuple[str, ...], lacking: str) -> None:
    """Where Java or Maven is missing Kafka is missing, which one line says; where it is required that is exit 3."""
    for executable in there:
        machine.put(executable, OLD_JAVA)
    remedy = "install Java 17 or newer and Maven, or set HASTEN_TEST_KAFKA"
    assert machine.messages() == [f"services: kafka is missing: no {lacking} on PATH; {remedy}"]
    assert machine.services("fetch", "--with", "kafka").returncode == 0
    assert machine.services("fetch", "--with", "kafka", HASTEN_REQUIRE_SERVICES="1").returncode == 3


def test_kafka_is_not_fetched_where_that_is_forbidden(machine: Machine) -> None:
    """With HASTEN_NO_INSTALL=1 Maven is not run, and the line says so."""
    machine.put("java", OLD_JAVA)
    machine.put("mvn", FAILING_MVN)
    (line,) = machine.messages(HASTEN_NO_INSTALL="1")
    assert re.search(r"kafka is missing: .*HASTEN_NO_INSTALL forbids", line)


def test_kafka_that_cannot_be_fetched_is_one_line(machine: Machine) -> None:
    """When Maven or Java fails, its error is said and nothing is left in the cache."""
    machine.put("java", OLD_JAVA)
    machine.put("mvn", FAILING_MVN)
    assert "services: Kafka 4.1.0 cannot be fetched: [ERROR] Could not resolve kafka_2.13" in machine.messages()
    assert machine.kept() == []
    machine.put("mvn", MVN)
    said = "services: Kafka 4.1.0 cannot be fetched: class file version 61.0 is not known"
    assert said in machine.messages()
    assert machine.kept() == []


def test_kafka_is_fetched_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the cache is used, and neither Maven nor the network is needed for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.cache))
    place = KafkaJars().folder()
    place.mkdir(parents=True)
    machine.put("java", OLD_JAVA)
    assert machine.messages() == []
    listed = machine.services("list").stdout.splitlines()
    assert f"{'kafka':<24}{place}" in listed


def test_interruption_ends_maven(machine: Machine) -> None:
    """SIGTERM while Kafka is fetched ends Maven and leaves nothing in the cache."""
    pids = machine.path / "mvn.pid"
    os.mkfifo(pids)
    machine.put("java", OLD_JAVA)
    machine.put("mvn", ENDLESS_MVN)
    command = [sys.executable, str(SCRIPT), "fetch", "--with", "kafka"]
    with subprocess.Popen(command, env=machine.environment(), stderr=subprocess.DEVNULL) as process:
        pid = int(pids.read_text())  # Maven runs
        process.send_signal(signal.SIGTERM)
        process.wait(40)
    assert process.returncode == 128 + signal.SIGTERM
    assert not Path(f"/proc/{pid}").exists()
    assert machine.kept() == []
