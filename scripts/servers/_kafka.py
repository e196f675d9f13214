"""Apache Kafka: one node in KRaft mode, broker and controller in one Java process, every port on loopback.

Maven copies the jars once into the cache of the user. Beside them lie what else a start would take its time for:
a formatted storage folder, which each run copies, and an archive of the classes that a start loads, which halves
the processor time until it answers (3.8 s without, 2.1 s with it).
"""

import contextlib
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peers import end, last_words, on_path, say, start, switched_on
from servers._server import Command, Running, Server, ServerFailed, connect, free_ports, receive

HERE = Path(__file__).parent / "kafka"
POM = HERE / "pom.xml"
VERSION = ET.parse(POM).findtext("version", "")
INSTALL_WITHIN = 900.0  # seconds for each step; all take 30 with nothing fetched before
ARCHIVE_WITHIN = 60.0  # seconds to write the archive at the end; 9 on a busy machine

# Below the place
JARS = "lib"
STORAGE = "storage"
ARCHIVE = "classes.jsa"

# One compiler, one collector without threads of its own; no file outside of the run's folder.
JAVA_OPTIONS = ("-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
COPY_JARS = ("-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime")
CLUSTER = "aGFzdGVuLXRlc3RzLWthZg"  # the same for all: 16 bytes in base64

METADATA = 3  # an API of Kafka's protocol, of which version 1 is asked for
REQUEST = struct.Struct(">ihhihi")  # size, API, version, correlation, no client id, no topics
RESPONSE = struct.Struct(">iii")  # size, correlation, number of brokers


# ---- starting it


def java(place: Path, *arguments: str) -> Command:
    """Return how Java runs a class of Kafka's; the archive is only good for the same jars in the same order."""
    jars = sorted(f"{JARS}/{jar.name}" for jar in (place / JARS).iterdir())
    options = [*JAVA_OPTIONS, "-cp", ":".join(jars)]
    return Command([on_path("java") or "java", *options, *arguments], folder=place)


def write_properties(ports: Sequence[int], folder: Path) -> Path:
    """Write what a run needs, and return the file."""
    broker, controller = ports
    places = {
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "log.dirs": str(folder / "data"),
    }
    folder.mkdir(exist_ok=True)
    file = folder / "server.properties"
    file.write_text((HERE / file.name).read_text() + "".join(f"{key}={value}\n" for key, value in places.items()))
    return file


def broker(place: str, ports: Sequence[int], folder: Path, archive: str) -> Command:
    if not (folder / "data").exists():
        shutil.copytree(Path(place, STORAGE), folder / "data")
    options = (
        f"{archive}={ARCHIVE}",
        f"-XX:ErrorFile={folder / 'crash.log'}",
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
    )
    return java(Path(place), *options, "kafka.Kafka", str(write_properties(ports, folder)))


def commands(place: str, ports: Sequence[int], folder: Path) -> list[Command]:
    return [broker(place, ports, folder, "-XX:SharedArchiveFile")]


def training_commands(place: str, ports: Sequence[int], folder: Path) -> list[Command]:
    """Return a run that writes the archive of the classes that it has loaded, when it ends."""
    return [broker(place, ports, folder, "-XX:ArchiveClassesAtExit")]


def ready(ports: Sequence[int]) -> bool:
    """Return whether the metadata names a broker: it does when the controller lets the broker serve."""
    with connect(ports[0]) as connection:
        connection.sendall(REQUEST.pack(REQUEST.size - 4, METADATA, 1, 0, -1, 0))
        _, _, brokers = RESPONSE.unpack(receive(connection, RESPONSE.size))
    return bool(brokers)


# ---- installing it


@dataclass(frozen=True, slots=True)
class KafkaJars:
    """Kafka from the jars that Maven fetches, in the user's cache."""

    def folder(self) -> Path:
        """Return where it is kept; other jars make it another folder."""
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        recipe = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
        return caches / "hasten" / f"kafka-{VERSION}-{recipe}"

    def find(self) -> str | None:
        return str(self.folder()) if self.folder().exists() and on_path("java") else None

    def can_be_installed(self) -> bool:
        return not (self.folder().exists() or self._lacking() or switched_on("HASTEN_NO_INSTALL"))

    def remedy(self) -> str:
        if lacking := self._lacking():
            return f"no {lacking} on PATH; install Java 17 or newer and Maven"
        if switched_on("HASTEN_NO_INSTALL"):
            return f"no Kafka {VERSION} in {self.folder()}: HASTEN_NO_INSTALL forbids to fetch it"
        return f"no Kafka {VERSION} in {self.folder()}: `scripts/services run --with kafka` fetches it with mvn"

    def _lacking(self) -> str | None:
        needed = ("java",) if self.folder().exists() else ("java", "mvn")
        return next((one for one in needed if on_path(one) is None), None)

    def install(self) -> None:
        """Put it in its place; a failure is said and leaves it missing."""
        began = time.monotonic()
        target = self.folder()
        say(f"fetching Kafka {VERSION} with mvn, once: it is kept in {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".kafka-", dir=target.parent) as workshop:
            try:
                made = make(Path(workshop))
            except ServerFailed as error:
                say(f"Kafka {VERSION} cannot be fetched: {error}")
                return
            with contextlib.suppress(OSError):  # another run of this script put its own there first: as good
                made.rename(target)
        say(f"Kafka {VERSION} fetched in {time.monotonic() - began:.0f} s")


def make(workshop: Path) -> Path:
    """Return a folder in `workshop` with all that a start needs.

    Raises:
      ServerFailed: a step failed; the message is what it said.
    """
    place = workshop / "kafka"
    place.mkdir()
    copy = Command([on_path("mvn") or "mvn", *COPY_JARS, f"-DoutputDirectory={place / JARS}", "-f", str(POM)])
    run_step(copy, workshop / "mvn.log")
    properties = write_properties(free_ports(2), workshop / "format")
    tool = ("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(properties))
    run_step(java(place, *tool), workshop / "format.log")
    (workshop / "format" / "data").rename(place / STORAGE)
    with Running(TRAINING, str(place), workshop / "training") as trained:
        trained.stop(ARCHIVE_WITHIN)
    return place


def run_step(command: Command, log: Path) -> None:
    process = start(command.arguments, log, folder=command.folder)
    try:
        process.wait(INSTALL_WITHIN)
    except subprocess.TimeoutExpired:
        raise ServerFailed(f"{command.arguments[0]} does not end within {INSTALL_WITHIN:.0f} s") from None
    finally:
        end(process)
    if process.returncode:
        raise ServerFailed(first_error(log))


def first_error(log: Path) -> str:
    """Return Maven's first error, which says more than its last; of other programs the last words."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in lines if line.startswith("[ERROR]")), last_words(log))


KAFKA = Server(
    name="kafka",
    origin=KafkaJars(),
    variable="HASTEN_TEST_KAFKA",
    url="{place}",
    commands=commands,
    ready=ready,
    ports=2,
    on_demand=True,
)
TRAINING = Server(
    name="kafka",
    origin=KAFKA.origin,
    variable=KAFKA.variable,
    url=KAFKA.url,
    commands=training_commands,
    ready=ready,
    ports=2,
)
