"""The threads of a `ThreadPool`, and the queue that they take work from."""

import atexit
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from hasten.concurrency._job import Job

_WORK, _END = True, False  # tokens


class Workers:
    """Threads that are started as they are needed, up to a bound.

    Work lies in a deque, from which it can be taken out again, and beside it a token in a queue, on which threads wait
    in C. A token without work is possible and does no harm, work without a token is not.

    The threads are daemons, so that idle ones do not keep a process from ending, and what they have begun is waited for
    at its end (`atexit`): half-written files are worse than a second. concurrent.futures has the same outcome, by a
    private hook of `threading`.

    Args:
      done: Called in the thread with each job that has ended.
    """

    def __init__(self, name: str, most: int, done: Callable[[Job], None]) -> None:
        self._name, self._most, self._done = name, most, done
        self._threads: list[Thread] = []
        self._jobs: deque[Job] = deque()
        self._tokens: SimpleQueue[bool] = SimpleQueue()

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken."""
        return len(self._jobs)

    def add(self, job: Job, under_way: int) -> None:
        """Have a job done; `under_way` counts it, and all that are not done."""
        if under_way > len(self._threads) < self._most:
            self._start()
        self._jobs.append(job)
        self._tokens.put(_WORK)

    def remove(self, job: Job) -> bool:
        """Take a job out again; False where a thread has it."""
        try:
            self._jobs.remove(job)
        except ValueError:
            return False
        with suppress(Empty):  # a thread has its token already, and will find nothing
            self._tokens.get_nowait()
        return True

    def _drain(self) -> list[Job]:
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._jobs.popleft())
        return taken

    def end(self) -> list[Job]:
        """Let each thread end when it has done what it does; return what waits. No work may be added any more."""
        left = self._drain()
        for _ in self._threads:
            self._tokens.put(_END)
        atexit.unregister(self._join)
        return left

    def _start(self) -> None:
        number = len(self._threads)
        thread = Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
        if not number:
            atexit.register(self._join)
        thread.start()
        self._threads.append(thread)

    def _join(self) -> None:
        """Wait for the threads at the end of the process."""
        self.end()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        jobs, tokens, done = self._jobs, self._tokens, self._done
        while tokens.get():
            try:
                job = jobs.popleft()
            except IndexError:  # it was taken out
                continue
            job.run()
            done(job)
            del job  # an idle thread holds nothing of the last caller's
