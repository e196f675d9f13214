"""What py-spy writes, read: by example, by what could have been written, and by what could not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hasten.profiling import CaptureOptions, Frame
from hasten.profiling._names import named_frame
from hasten.profiling._pyspy_output import Seen, parse_raw
from hasten.profiling._pyspy_weights import Looks, weighed
from hasten.profiling._thread_times import ThreadTimes

PACKAGES = "/app/.venv/lib/python3.11/site-packages"
PYTHON = "/usr/lib/python3.13"

# ---- reading


def test_a_line_is_a_stack() -> None:
    """Frames are told apart from the thread, and function, file and line from each other."""
    text = (
        "thread (4711): MainThread;<module> (/app/main.py:9);Basket.load (/app/a b/basket.py:41) 116\n"
        f"thread (0x7F00AA): worker;get ({PACKAGES}/httpx/_api.py:3);clock_nanosleep (/usr/lib/libc.so.6) 2\n"
        "thread (12);<module> (<string>:1) 1\n"
    )
    seen, unreadable = parse_raw(text)
    assert unreadable == 0
    assert seen == [
        Seen(
            (Frame("<module>", "/app/main.py", 9), Frame("Basket.load", "/app/a b/basket.py", 41)),
            116,
            4711,
            "MainThread",
        ),
        Seen(
            (Frame("httpx.get", f"{PACKAGES}/httpx/_api.py", 3), Frame("libc.clock_nanosleep", "/usr/lib/libc.so.6")),
            2,
            0x7F00AA,
            "worker",
        ),
        Seen((Frame("python.<module>", "<string>", 1),), 1, 12),
    ]


def test_names_hold_whatever_separates() -> None:
    """Semicolons, brackets, figures and ends of lines in a thread's name are of the name."""
    seen, unreadable = parse_raw("thread (7): a;b (c) 5\nline 7;x;load (/m.py:4);run (/app/a;b (old)/m.py:3) 9\n")
    assert unreadable == 0
    assert seen == [
        Seen((Frame("load", "/m.py", 4), Frame("run", "/app/a;b (old)/m.py", 3)), 9, 7, "a;b (c) 5\nline 7;x")
    ]


def test_command_lines_of_processes_are_left_behind() -> None:
    """Of processes the ids stay, whatever their command lines hold."""
    text = (
        'process 19:"python -c \nx = "a"; y = 3\nimport z\n";process 20:"python -m z";thread (20): M;f (/z.py:1) 4\n'
        'process 19:"python";thread (19);g (/z.py:2) 5\n'
    )
    assert parse_raw(text, processes=True) == (
        [Seen((Frame("f", "/z.py", 1),), 4, 20, "M", (19, 20)), Seen((Frame("g", "/z.py", 2),), 5, 19, "", (19,))],
        0,
    )


@pytest.mark.parametrize(
    ("text", "read", "unreadable"),
    [
        ("", 0, 0),
        ("\n", 0, 0),
        ("{}", 0, 1),
        ("thread (7): M;f (/z.py:1)\n", 0, 1),  # without a count
        ("thread (7): M 3\n", 0, 1),  # without a frame
        ("thread (x);f (/z.py:1) 3\n", 0, 1),
        ("thread (7);f (/z.py:1) 3\nthread (8);f (/z.py", 1, 1),  # cut
        ("thread (7);f (/z.py:1) 99999999999999999999\n", 0, 1),
        ("thread (7);f (/z.py:1) \u0663\n", 0, 1),  # a figure, of another script
    ],
)
def test_what_does_not_read_is_counted(text: str, read: int, unreadable: int) -> None:
    """Damaged entries are left out, and only they."""
    seen, counted = parse_raw(text)
    assert (len(seen), counted) == (read, unreadable)


names = st.from_regex(r"[a-zA-Z_<][\w.<>]{0,20}", fullmatch=True)
paths = st.from_regex(r"/[\w /()\-]{0,30}\.py", fullmatch=True)
frames = st.builds(Frame, names, paths, st.integers(0, 999_999))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def written(frame: Frame) -> str:
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.line else f"{frame.function} ({frame.file})"


@given(
    st.lists(
        st.tuples(st.lists(frames, min_size=1, max_size=5), st.integers(0, 10**9), st.integers(1, 10**6)), max_size=5
    )
)
def test_what_was_seen_is_what_is_read(stacks: list[tuple[list[Frame], int, int]]) -> None:
    """Every stack of any functions and paths comes back as it was, with its thread and its count."""
    lines = [f"thread ({thread}): T;{';'.join(map(written, stack))} {count}\n" for stack, count, thread in stacks]
    seen, unreadable = parse_raw("".join(lines))
    assert unreadable == 0
    assert [(one.frames, one.samples, one.thread, one.name) for one in seen] == [
        (tuple(stack), count, thread, "T") for stack, count, thread in stacks
    ]


@given(
    st.lists(
        st.one_of(texts, st.sampled_from(["thread (", "thread (7)", 'process 7:"', '";', ";", " (", ")", " 3", "\n"]))
    )
)
@example(['process 7:"', '";', "thread (7)", ";", "f (/x.py:1)", " 3"])
def test_no_text_is_too_odd(parts: list[str]) -> None:
    """Whatever is written there is read or counted, and never an error."""
    for processes in (False, True):
        seen, unreadable = parse_raw("".join(parts), processes=processes)
        assert unreadable >= 0
        assert all(one.frames and one.samples >= 0 for one in seen)
        weighed(seen, CaptureOptions(engine="py-spy", threads=True), Looks(seconds=1.0))


# ---- naming


@pytest.mark.parametrize(
    ("function", "file", "name"),
    [
        ("Basket.load", "/app/basket.py", "Basket.load"),
        ("AsyncClient.get", f"{PACKAGES}/httpx/_client.py", "httpx.AsyncClient.get"),
        ("inner", f"{PACKAGES}/six.py", "six.inner"),
        ("load", "/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml.load"),
        ("Runner.run", f"{PYTHON}/asyncio/runners.py", "asyncio.Runner.run"),
        ("Thread.run", "/opt/python/lib/python3.14t/threading.py", "threading.Thread.run"),
        ("_run_module_as_main", "<frozen runpy>", "python._run_module_as_main"),
        ("Loop.run_forever", "uvloop/loop.pyx", "uvloop.Loop.run_forever"),
        ("dumps", f"{PACKAGES}/orjson/orjson.cpython-311-x86_64-linux-gnu.so", "orjson.dumps"),
        ("ffi_call", f"{PACKAGES}/_cffi_backend.cpython-311-x86_64-linux-gnu.so", "_cffi_backend.ffi_call"),
        ("simplequeue_get", f"{PYTHON}/lib-dynload/_queue.cpython-313-x86_64-linux-gnu.so", "_queue.simplequeue_get"),
        ("time_sleep", "/opt/lib/libpython3.11.so.1.0", "libpython3.11.time_sleep"),
        ("task_step", "/build/Modules/_asynciomodule.c", "_asynciomodule.task_step"),
        ("get_impl", "/build/Modules/clinic/_queuemodule.c.h", "_queuemodule.get_impl"),
        ("0x7fe4c9e4524a", "/usr/lib/x86_64-linux-gnu/libc.so.6", "[libc.so.6]"),
        ("0x7fc4a7dd7b48", "[vdso]", "[vdso]"),
        ("0x7fc4a7dd7b48", "", "[unknown]"),
        ("clock_gettime", "[vdso]", "vdso.clock_gettime"),
    ],
)
def test_functions_are_called_as_the_ledger_calls_them(function: str, file: str, name: str) -> None:
    """Own code by its qualified name, libraries' with the package, C's with the library, none by an address."""
    assert named_frame(function, file, 3).function == name


# ---- weighing


def test_running_threads_weigh_what_the_kernel_has_counted() -> None:
    """All samples of a thread are its CPU time; a thread that the kernel does not know weighs by samples."""
    busy, idle, unknown = Frame("busy"), Frame("idle"), Frame("unknown")
    seen = [Seen((busy,), 60, 1), Seen((busy, busy), 20, 1), Seen((idle,), 40, 2), Seen((unknown,), 5, 3)]
    options = CaptureOptions(engine="py-spy", clock="cpu")
    stacks, notes = weighed(
        seen, options, Looks(seconds=1.0, threads={1: ThreadTimes(0.8, 0.1), 2: ThreadTimes(0.002, 0.9)})
    )
    assert [(stack.frames, stack.count) for stack in stacks] == [
        ((busy,), 60),
        ((busy, busy), 20),
        ((unknown,), 5),
        ((idle,), 40),
    ]
    assert [stack.seconds for stack in stacks] == pytest.approx([0.6, 0.2, 0.05, 0.002])
    assert notes == []


def test_a_machine_that_is_too_busy_is_told() -> None:
    """Where the busy threads waited for a core for long, shares are not what they seem."""
    looks = Looks(seconds=5.0, threads={1: ThreadTimes(2.0, 3.0), 2: ThreadTimes(0.01, 9.0)})
    _, notes = weighed([Seen((Frame("f"),), 3, 1)], CaptureOptions(engine="py-spy", clock="cpu"), looks)
    assert notes == [
        "Threads that ran for 2.0 s waited 2.0 s or more for a core: the machine is too busy for shares that are exact."
    ]


def test_samples_of_the_wall_clock_weigh_the_time_between_two_looks() -> None:
    """A thread that lives all the time is in each look, so that it weighs what was passed, late looks or not."""
    frame = Frame("f")
    options = CaptureOptions(engine="py-spy", clock="wall")
    for looks in (Looks(seconds=2.0, late=1.5), Looks(seconds=0.55)):
        (stack,), _ = weighed([Seen((frame,), 50, 1)], options, looks)
        assert stack.seconds == pytest.approx(looks.seconds)
    (stack,), _ = weighed([Seen((frame,), 50, 1)], options, Looks(seconds=2.0))  # began at half of the time
    assert stack.seconds == pytest.approx(0.5)


def test_the_reader_is_told_what_is_to_be_known() -> None:
    """Lateness, failed looks, an early end, unknown CPU times and an empty profile are said in whole sentences."""
    options = CaptureOptions(engine="py-spy", clock="cpu", rate=200)
    _, notes = weighed([Seen((Frame("f"),), 3, 1)], options, Looks(seconds=2.0, late=1.25, failed=4, ended=True))
    assert notes == [
        "The process ended after 2.0 s.",
        "py-spy was 1.2 s behind at 200 looks a second, and held up the process: take a lower rate, like 100.",
        "4 looks of py-spy failed: it could not read the process's memory as it changed.",
        "Seconds are of samples: py-spy takes some threads for running that have just slept.",
    ]
    assert weighed([], options, Looks(seconds=1.0)) == (
        (),
        ["No thread was running: the process waited all the time, which the wall clock shows."],
    )


def test_stacks_beyond_the_bound_are_left_out_and_told() -> None:
    """What an engine keeps is bounded; the stacks with the fewest seconds go."""
    seen = [Seen((Frame(f"f{number}"),), 1 + (number < 5), 1) for number in range(20_010)]
    stacks, notes = weighed(seen, CaptureOptions(engine="py-spy"), Looks(seconds=1.0))
    assert len(stacks) == 20_000
    assert {stack.frames[0].function for stack in stacks} >= {f"f{number}" for number in range(5)}
    assert notes[-1].startswith("10 stacks with the fewest seconds were left out, 0.0% of the time.")


def test_the_same_stack_in_threads_of_one_name_is_one() -> None:
    """With `threads` stacks are told apart by the threads' names, without it not at all; processes have numbers."""
    seen = [Seen((Frame("f"),), 2, number, name, (9, 40)) for number, name in ((1, "a"), (2, "b"), (3, "a"))]
    stacks, notes = weighed(seen, CaptureOptions(engine="py-spy", threads=True), Looks(seconds=9.0))
    above = (Frame("process 1"), Frame("process 2"))
    assert {(stack.frames, stack.count) for stack in stacks} == {
        ((*above, Frame("thread a"), Frame("f")), 4),
        ((*above, Frame("thread b"), Frame("f")), 2),
    }
    assert notes == ["Process 1 is PID 9, process 2 is PID 40."]
    (stack,), _ = weighed(seen, CaptureOptions(engine="py-spy"), Looks(seconds=9.0))
    assert (stack.frames, stack.count) == ((*above, Frame("f")), 6)
