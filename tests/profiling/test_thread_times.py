"""CPU time of threads: as the kernel counts it, of a process or of all that it has started."""

import os
import threading
import time
from pathlib import Path

import pytest

from hasten.profiling._thread_times import thread_times

pytestmark = pytest.mark.may_block


def thread(proc: Path, pid: int, number: int, *, schedstat: str = "", stat: str = "", children: str = "") -> None:
    folder = proc / str(pid) / "task" / str(number)
    folder.mkdir(parents=True)
    for name, text in (("schedstat", schedstat), ("stat", stat), ("children", children)):
        if text:
            folder.joinpath(name).write_text(text)


def test_nanoseconds_where_the_kernel_has_them(tmp_path: Path) -> None:
    """The scheduler's account goes before the clock's ticks."""
    thread(tmp_path, 7, 7, schedstat="1500000000 12 3\n", stat="7 (a) S" + " 0" * 40)
    thread(tmp_path, 7, 8, schedstat="250 0 1\n")
    assert thread_times(7, proc=tmp_path) == {7: (1.5, 1.2e-8), 8: (2.5e-7, 0.0)}


def test_ticks_where_it_has_not(tmp_path: Path) -> None:
    """User's and system's ticks are taken of a thread whose name holds what separates the fields."""
    fields = " ".join(map(str, range(4, 14)))  # of which 14 and 15 are the times
    thread(tmp_path, 7, 7, stat=f"7 (odd) (na me) S {fields} 300 50 0 0")
    assert thread_times(7, proc=tmp_path) == {7: (350 / os.sysconf("SC_CLK_TCK"), 0.0)}


def test_children_and_theirs_are_added_when_wanted(tmp_path: Path) -> None:
    """Whoever a process has started counts, and whoever those have."""
    thread(tmp_path, 7, 7, schedstat="1 0 0", children="9 ")
    thread(tmp_path, 9, 9, schedstat="2 0 0", children="11 7 ")
    thread(tmp_path, 11, 11, schedstat="3 0 0")
    assert set(thread_times(7, proc=tmp_path)) == {7}
    assert set(thread_times(7, children=True, proc=tmp_path)) == {7, 9, 11}


def test_nothing_is_known_of_what_is_not_there(tmp_path: Path) -> None:
    """A process that has ended, or a system that does not tell, is no error."""
    thread(tmp_path, 7, 7, stat="7 (cut")
    assert thread_times(7, proc=tmp_path) == {}
    assert thread_times(8, children=True, proc=tmp_path) == {}


def test_this_process_is_told_as_it_is() -> None:
    """The figures are those of the threads themselves."""
    before = thread_times(os.getpid())[threading.get_native_id()]
    assert before.since(None) == before
    end = time.thread_time() + 0.2
    while time.thread_time() < end:
        pass
    assert thread_times(os.getpid())[threading.get_native_id()].since(before).spent > 0.1
