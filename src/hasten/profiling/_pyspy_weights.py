"""From what py-spy has seen to stacks with seconds: what a sample weighs, and what a reader must know. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from hasten.profiling._options import CaptureOptions
from hasten.profiling._profile import Frame, Stack
from hasten.profiling._pyspy_output import Seen
from hasten.profiling._thread_times import ThreadTimes

_MOST_STACKS = 20_000
_MOST_PROCESSES = 20  # that a note names
_TOO_BUSY = 0.3  # of the CPU time is waited for: at 1.0 hotspots were seen up to 15 points off, at 0.01 within 2
_TINY = 0.05  # CPU seconds
_SHORT = 1.2  # so much longer than asked are the times between two looks at most, without py-spy saying so


class Looks(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a recording besides its samples.

    Attributes:
      seconds: How long it took.
      late: Seconds that it was behind at the end; 0.0 if it kept up.
      failed: Looks at a process that it could not make.
      ended: The process ended before the recording did.
      threads: What each thread has spent and waited meanwhile; empty where it is not known.
    """

    seconds: float
    late: float = 0.0
    failed: int = 0
    ended: bool = False
    threads: Mapping[int, ThreadTimes] = {}


def weighed(seen: Sequence[Seen], options: CaptureOptions, looks: Looks) -> tuple[tuple[Stack, ...], list[str]]:
    """Return the stacks, those with the most seconds first, and notes for the reader."""
    each = _seconds_each(seen, options, looks)
    numbers = {process: number for number, process in enumerate(sorted({p for s in seen for p in s.processes}), 1)}
    sums: dict[tuple[Frame, ...], tuple[float, int]] = {}
    for one in seen:
        frames = (*_above(one, numbers, threads=options.threads), *one.frames)
        seconds, count = sums.get(frames, (0.0, 0))
        sums[frames] = (seconds + one.samples * each[one.thread], count + one.samples)
    stacks = sorted((Stack(frames, *spent) for frames, spent in sums.items()), key=lambda stack: -stack.seconds)
    notes = [*_of_looks(seen, options, looks), *_of_seconds(seen, options, looks), *_of_processes(numbers)]
    if len(stacks) > _MOST_STACKS:
        notes.append(_left_out(stacks))
    return tuple(stacks[:_MOST_STACKS]), notes


def on_cpu(options: CaptureOptions) -> bool:
    """Tell whether samples are of running threads alone, and so of CPU time."""
    return options.clock == "cpu" and not options.idle


def _seconds_each(seen: Sequence[Seen], options: CaptureOptions, looks: Looks) -> dict[int, float]:
    """Return by thread what one sample of it weighs."""
    counts = _counts(seen)
    usual = 1 / options.rate
    if not on_cpu(options) and not options.gil:
        usual = _between_looks(max(counts.values(), default=0), usual, looks)
    known = looks.threads if on_cpu(options) and not options.gil else {}
    return {thread: known[thread].spent / count if thread in known else usual for thread, count in counts.items()}


def _between_looks(most: int, usual: float, looks: Looks) -> float:
    """Return the seconds between two looks: a thread that lives all the time is in each of them."""
    if looks.late or most * usual > looks.seconds / _SHORT:
        return looks.seconds / max(most, 1)
    return usual  # every thread began meanwhile, or ended


def _counts(seen: Iterable[Seen]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for one in seen:
        counts[one.thread] += one.samples
    return counts


def _above(one: Seen, numbers: Mapping[int, int], *, threads: bool) -> list[Frame]:
    """Return the frames of a stack's processes and thread: by numbers and names, which are alike in the next run."""
    frames = [Frame(f"process {numbers[process]}") for process in one.processes]
    if threads:
        frames.append(Frame(f"thread {one.name}" if one.name else "thread without a name"))
    return frames


def _of_looks(seen: Sequence[Seen], options: CaptureOptions, looks: Looks) -> list[str]:
    notes = []
    if looks.ended:
        notes.append(f"The process ended after {looks.seconds:.1f} s.")
    if looks.late:
        slower = max(1, options.rate // 2)
        notes.append(
            f"py-spy was {looks.late:.1f} s behind at {options.rate} looks a second, and held up the process: "
            f"take a lower rate, like {slower}."
        )
    if looks.failed:
        notes.append(f"{looks.failed} looks of py-spy failed: it could not read the process's memory as it changed.")
    if not seen:
        notes.append(_nothing_seen(options))
    return notes


def _nothing_seen(options: CaptureOptions) -> str:
    if on_cpu(options):
        return "No thread was running: the process waited all the time, which the wall clock shows."
    return "No thread was seen."


def _of_seconds(seen: Sequence[Seen], options: CaptureOptions, looks: Looks) -> list[str]:
    if not seen or not on_cpu(options) or options.gil:
        return []
    if not looks.threads:
        return ["Seconds are of samples: py-spy takes some threads for running that have just slept."]
    spent = sum(times.spent for times in looks.threads.values())
    # Of threads that idle, which each look wakes, the waiting says nothing: each counts by what it has spent.
    waited = sum(min(times.waited, times.spent) for times in looks.threads.values())
    if waited <= _TOO_BUSY * spent or spent < _TINY:
        return []
    told = f"Threads that ran for {spent:.1f} s waited {waited:.1f} s or more for a core"
    return [f"{told}: the machine is too busy for shares that are exact."]


def _of_processes(numbers: Mapping[int, int]) -> list[str]:
    if not numbers:
        return []
    told = [f"{number} is PID {process}" for process, number in list(numbers.items())[:_MOST_PROCESSES]]
    more = f", and {len(numbers) - len(told)} more" if len(numbers) > len(told) else ""
    return [f"Process {', process '.join(told)}{more}."]


def _left_out(stacks: Sequence[Stack]) -> str:
    left = stacks[_MOST_STACKS:]
    share = sum(stack.seconds for stack in left) / (sum(stack.seconds for stack in stacks) or 1.0)
    return f"{len(left):,} stacks with the fewest seconds were left out, {share:.1%} of the time."
