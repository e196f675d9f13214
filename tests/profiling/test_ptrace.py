"""Who may trace whom: every reason for which Linux refuses is told with what must be granted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hasten.profiling._ptrace import allow_tracers, exists, resume_stopped, why_refused

pytestmark = pytest.mark.may_block

PID = 4711
ALL = "000001ffffffffff"
NONE = "0000000000000000"
WITHIN = "; or profile it from within: hasten profile URL --engine ledger"


def system(
    folder: Path,
    *,
    theirs: int = 1000,
    ours: int = 1000,
    capabilities: str = NONE,
    scope: str = "",
    state: str = "S (sleeping)",
    tracer: int = 0,
) -> Path:
    """Return a /proc that tells of two processes: PID, and the one that would trace it."""
    for name, user in (("self", ours), (str(PID), theirs)):
        folder.joinpath(name).mkdir(parents=True)
        folder.joinpath(name, "status").write_text(
            f"Name:\tpython: odd\nState:\t{state}\nTracerPid:\t{tracer}\n"
            f"Uid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t{capabilities}\n"
        )
    if scope:
        folder.joinpath("sys/kernel/yama").mkdir(parents=True)
        folder.joinpath("sys/kernel/yama/ptrace_scope").write_text(f"{scope}\n")
    return folder


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"theirs": 987654}, ("it is user 987654's", "run as that user or as root", "CAP_SYS_PTRACE")),
        ({"theirs": 0}, ("it is user root's", "run as that user or as root")),
        ({"theirs": 33, "ours": 0}, ("user 33's", "root has no CAP_SYS_PTRACE", "--cap-add SYS_PTRACE", "Kubernetes")),
        ({"scope": "1"}, ("ptrace_scope is 1", "hasten.install(app, profile=True)", "CAP_SYS_PTRACE", "sysctl")),
        ({"scope": "2"}, ("ptrace_scope is 2", "CAP_SYS_PTRACE", "run as root")),
        ({"scope": "3"}, ("ptrace_scope is 3", "nobody", "next boot")),
        ({"scope": "3", "capabilities": ALL}, ("ptrace_scope is 3",)),
        ({"scope": "0"}, ("the system refuses", "run as root", "--cap-add SYS_PTRACE")),
        ({}, ("the system refuses", "--cap-add SYS_PTRACE")),
        ({"capabilities": ALL, "theirs": 33, "ours": 0}, ("in spite of CAP_SYS_PTRACE", "container")),
        ({"tracer": 12}, ("process 12 traces it already", "end that first")),
    ],
)
def test_each_refusal_says_what_must_be_granted(
    settings: dict[str, object], words: tuple[str, ...], tmp_path: Path
) -> None:
    """Whatever is in the way, one line says it, what removes it, and that there is an engine that needs no leave."""
    reason = why_refused(PID, proc=system(tmp_path, **settings))  # type: ignore[arg-type]
    assert all(word in reason for word in words), reason
    assert reason.endswith(WITHIN)
    assert "\n" not in reason


def test_what_does_not_run_is_said_so(tmp_path: Path) -> None:
    """A process that has ended, or never was, is no question of leave."""
    proc = system(tmp_path, state="Z (zombie)")
    assert why_refused(PID, proc=proc) == "it has ended"
    assert why_refused(PID + 1, proc=proc) == "no such process runs"


def test_what_the_kernel_says_oddly_is_borne(tmp_path: Path) -> None:
    """A status without the lines that are looked for still gives a reason."""
    proc = system(tmp_path)
    proc.joinpath(str(PID), "status").write_text("State:\tR\nUid:\n")
    assert why_refused(PID, proc=proc).endswith(WITHIN)


def test_existence_is_of_processes_that_run(tmp_path: Path) -> None:
    """A zombie does not run any more; where there is no /proc, nothing is said against a process."""
    proc = system(tmp_path / "a")
    assert exists(PID, proc=proc)
    assert not exists(PID + 1, proc=proc)
    assert not exists(PID, proc=system(tmp_path / "b", state="Z (zombie)"))
    assert exists(PID, proc=tmp_path / "nowhere")
    assert exists(os.getpid())


def test_a_process_lets_itself_be_traced_where_that_can_be_said() -> None:
    """The call takes effect where there is Yama, and does no harm elsewhere."""
    script = "from hasten.profiling._ptrace import allow_tracers; print(allow_tracers())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.strip() == str(Path("/proc/sys/kernel/yama/ptrace_scope").exists())
    assert said.stderr == ""


def test_other_systems_have_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux nothing is called."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allow_tracers() is False


def test_a_process_that_was_left_stopped_goes_on() -> None:
    """What a killed tracer leaves stopped is resumed; what runs gets no signal."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        os.kill(process.pid, signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        resume_stopped(process.pid)
        _, status = os.waitpid(process.pid, os.WCONTINUED)
        assert os.WIFCONTINUED(status)
        resume_stopped(process.pid)
        assert os.waitpid(process.pid, os.WCONTINUED | os.WNOHANG) == (0, 0)
        process.kill()
