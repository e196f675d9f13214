"""scripts/services: real servers are started for a command and ended with it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "services"
VARIABLE = "HASTEN_TEST_REDIS_URL"
OTHERS = {
    "HASTEN_TEST_REDIS_CLUSTER_URL": "redis+cluster://127.0.0.1:1",
    "HASTEN_TEST_MEMCACHED_URL": "memcached://127.0.0.1:1",
    "HASTEN_TEST_POSTGRES_URL": "postgresql://127.0.0.1:1",
}
PRINT_URL = f"import os; print(os.environ.get({VARIABLE!r}, ''))"
PING = f"""
import os, socket, urllib.parse
url = urllib.parse.urlsplit(os.environ[{VARIABLE!r}])
with socket.create_connection((url.hostname, url.port)) as connection:
    connection.sendall(b"PING\\r\\n")
    print(connection.recv(16).decode().strip())
"""
WAIT_FOR_END = "import sys; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def redis_installed() -> None:
    """Skip where redis-server is not on PATH; fail where every server is required."""
    if shutil.which("redis-server") is None:
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail("redis-server is not on PATH")
        pytest.skip("redis-server is not on PATH")


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which no Redis is given, nothing required, installed or built, with `changes`.

    The other servers count as given, so that each test starts one at most.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HASTEN_")}
    return {**kept, **OTHERS, "HASTEN_NO_INSTALL": "1", **changes}


def services(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment(**changes), capture_output=True, text=True, timeout=50)


def about_redis(messages: str) -> list[str]:
    return [line for line in messages.splitlines() if line.startswith("services: redis ")]


def started_pid(messages: str) -> int:
    """Return the pid that the line `services: redis started (pid N, URL)` names."""
    line = next(line for line in messages.splitlines() if "redis started" in line)
    return int(line.split("(pid ")[1].split(",")[0])


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("redis_installed")
def test_started_server_answers_and_is_ended() -> None:
    """The command finds a server that answers; afterwards its process and its port are gone."""
    done = services("run", "--", sys.executable, "-c", PING + f"print(os.environ[{VARIABLE!r}])")
    answer, url = done.stdout.splitlines()
    assert answer == "+PONG"
    assert f"redis ended (pid {started_pid(done.stderr)})" in done.stderr
    assert not alive(started_pid(done.stderr))
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", urlsplit(url).port))


@pytest.mark.usefixtures("redis_installed")
def test_data_lies_in_a_temporary_folder(tmp_path: Path) -> None:
    """Servers write below TMPDIR and leave nothing behind."""
    done = services("run", "--", sys.executable, "-c", PING, TMPDIR=str(tmp_path))
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())


ASK_ALL = """
import os, socket, sys, urllib.parse
url = urllib.parse.urlsplit(os.environ[sys.argv[1]])
for place in url.netloc.split(","):
    host, port = place.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sys.argv[2].encode() + b"\\r\\n")
        answer = connection.recv(4096).decode()
    print(next(line for line in answer.splitlines() if line.startswith(sys.argv[3])))
"""


@pytest.mark.usefixtures("redis_installed")
def test_redis_cluster_is_formed_and_ended() -> None:
    """The command finds three nodes of a cluster that has all slots; afterwards their processes are gone."""
    variable = "HASTEN_TEST_REDIS_CLUSTER_URL"
    question = (variable, "CLUSTER INFO", "cluster_slots_ok")
    done = services("run", "--", sys.executable, "-c", ASK_ALL, *question, **{variable: "", VARIABLE: "redis://given"})
    assert done.stdout.splitlines() == ["cluster_slots_ok:16384"] * 3
    (ended,) = (line for line in done.stderr.splitlines() if "redis-cluster ended" in line)
    pids = [int(pid) for pid in ended.partition("(pid ")[2].rstrip(")").split()]
    assert len(pids) == 3
    assert not any(map(alive, pids))


@pytest.mark.skipif(shutil.which("memcached") is None, reason="memcached is not on PATH")
def test_memcached_answers_and_is_ended() -> None:
    """The command finds a Memcached that answers; afterwards its process is gone."""
    variable = "HASTEN_TEST_MEMCACHED_URL"
    question = (variable, "version", "VERSION")
    done = services("run", "--", sys.executable, "-c", ASK_ALL, *question, **{variable: "", VARIABLE: "redis://given"})
    assert done.stdout.startswith("VERSION")
    (ended,) = (line for line in done.stderr.splitlines() if "memcached ended" in line)
    assert not alive(int(ended.partition("(pid ")[2].rstrip(")")))


@pytest.mark.parametrize("code", [0, 1, 5])
def test_exit_code_passes_through(code: int) -> None:
    """The exit code is the command's own."""
    url = "redis://127.0.0.1:1/0"
    done = services("run", "--", sys.executable, "-c", f"raise SystemExit({code})", HASTEN_TEST_REDIS_URL=url)
    assert done.returncode == code


def test_command_ended_by_a_signal() -> None:
    """A command that a signal ends gives 128 plus its number, as in a shell."""
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = services("run", "--", sys.executable, "-c", program, HASTEN_TEST_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 128 + signal.SIGKILL


def test_given_url_is_used_and_nothing_is_started() -> None:
    """A URL in the environment reaches the command unchanged and no server is started."""
    url = "redis://127.0.0.1:1/7"
    done = services("run", "--", sys.executable, "-c", PRINT_URL, HASTEN_TEST_REDIS_URL=url)
    assert done.stdout.strip() == url
    assert about_redis(done.stderr) == [f"services: redis is given: {VARIABLE}={url}"]


def test_missing_server_leaves_its_variable_unset(tmp_path: Path) -> None:
    """A server that is nowhere and may not be installed is named, and the command runs without its URL."""
    done = services("run", "--", sys.executable, "-c", PRINT_URL, PATH=str(tmp_path))
    assert (done.returncode, done.stdout.strip()) == (0, "")
    (line,) = about_redis(done.stderr)
    assert line.startswith("services: redis is missing: no redis-server on PATH")


def test_missing_server_fails_where_servers_are_required(tmp_path: Path) -> None:
    """With HASTEN_REQUIRE_SERVICES=1 a missing server ends the run before the command, with exit code 3."""
    command = ("run", "--", sys.executable, "-c", "print('ran')")
    done = services(*command, PATH=str(tmp_path), HASTEN_REQUIRE_SERVICES="1")
    assert (done.returncode, done.stdout) == (3, "")
    assert "services: HASTEN_REQUIRE_SERVICES is set: nothing is run" in done.stderr


def test_server_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    """A server that ends at once is a failure that gives its last words, not a traceback."""
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho starting\necho no memory left\nexit 4\n")
    broken.chmod(0o755)
    done = services("run", "--", sys.executable, "-c", "print('ran')", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1] == "services: redis ended with code 4: no memory left"


def test_command_that_is_not_found() -> None:
    """A command that does not exist gives 127, as in a shell, and one line."""
    done = services("run", "--", "no-such-command", HASTEN_TEST_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 127
    assert done.stderr.splitlines()[-1] == "services: cannot run no-such-command: No such file or directory"


@pytest.mark.usefixtures("redis_installed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_command_and_servers(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the command, then what was started, and the exit code says which it was."""
    command = [sys.executable, str(SCRIPT), "run", "--", sys.executable, "-c", WAIT_FOR_END]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        _, messages = process.communicate(timeout=40)
    assert process.returncode == 128 + number
    assert f"redis ended (pid {started_pid(messages)})" in messages
    assert not alive(started_pid(messages))


def listed_redis(**changes: str) -> str:
    """Return what `services list` says after the name."""
    line = next(line for line in services("list", **changes).stdout.splitlines() if line.startswith("redis "))
    return line.removeprefix("redis").strip()


def test_list_names_the_place_of_each_server(tmp_path: Path) -> None:
    """`services list` tells for a server its executable, the URL that is given, or what to do."""
    executable = tmp_path / "redis-server"
    executable.touch(mode=0o755)
    assert listed_redis(PATH=str(tmp_path)) == str(executable)
    assert listed_redis(HASTEN_TEST_REDIS_URL="redis://host/0") == f"{VARIABLE}=redis://host/0"
    executable.unlink()
    assert listed_redis(PATH=str(tmp_path)).startswith("missing: no redis-server on PATH")


def test_no_command_is_a_usage_error() -> None:
    """`services run` without a command exits 2 and says so."""
    done = services("run", "--")
    assert done.returncode == 2
    assert "no COMMAND given" in done.stderr
