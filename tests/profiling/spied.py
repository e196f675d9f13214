"""A process to be looked at from outside, whose hotspots and blocking calls are planted and measured by itself.

Run as `python spied.py KIND`: it writes `ready`, then works until its standard input ends, and writes as JSON what part
of its CPU time each hotspot really took.
"""

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

CPU: Counter[str] = Counter()


def spin(seconds: float) -> float:
    """Compute for CPU seconds of this thread; return those it really took."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        sum(range(500))
    return time.thread_time() - began


class Basket:
    def price(self) -> None:
        CPU["Basket.price"] += spin(0.005)  # type: ignore[assignment]


def stock() -> None:
    CPU["stock"] += spin(0.003)  # type: ignore[assignment]


def render() -> None:
    CPU["render"] += spin(0.002)  # type: ignore[assignment]


def blocked_asleep(seconds: float) -> None:
    time.sleep(seconds)


def blocked_by_a_peer(connection: socket.socket) -> None:
    connection.settimeout(0.003)
    with suppress(TimeoutError):
        connection.recv(1)


def work(over: threading.Event) -> None:
    silent, _other = socket.socketpair()
    basket = Basket()
    while not over.is_set():
        basket.price()
        stock()
        render()
        blocked_asleep(random.uniform(0.002, 0.006))  # no service keeps pace with who looks at fixed times
        blocked_by_a_peer(silent)


def rest(over: threading.Event) -> None:
    """Have eight threads that nobody gives work, as a service has, and work a little beside."""
    with ThreadPoolExecutor(8, thread_name_prefix="idler") as pool:
        list(pool.map(time.sleep, [0.05] * 8))
        print("ready", flush=True)
        while not over.is_set():
            stock()
            time.sleep(0.003)


def deep(over: threading.Event) -> None:
    """Have forty threads with sixty frames each, which is more than can be looked at a thousand times a second."""

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            time.sleep(0.001)

    def again() -> None:
        while not over.is_set():
            descend(60)

    for _ in range(40):
        threading.Thread(target=again, daemon=True).start()
    over.wait()


def parent(over: threading.Event) -> None:
    """Have a child work, whose command line holds what is nobody's business, and what would confuse a reader."""
    words = "import sys; secret = 'hunter2;'\nx = 3\n" + 'process = "7"; ' + f"sys.path.insert(0, {sys.path[0]!r})\n"
    script = words + "import spied; spied.main()"
    with subprocess.Popen([sys.executable, "-c", script, "work"], stdin=subprocess.PIPE) as child:
        over.wait()
        assert child.stdin is not None
        child.stdin.close()


def read(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main() -> None:
    kinds = {one.__name__: one for one in (work, rest, deep, parent)}
    over = threading.Event()
    threading.Thread(target=read, args=(over,), name="my; reader", daemon=True).start()
    if sys.argv[1] not in ("parent", "rest"):
        print("ready", flush=True)
    began = time.process_time()
    kinds[sys.argv[1]](over)
    whole = time.process_time() - began
    print(json.dumps({name: seconds / whole for name, seconds in CPU.items()}), flush=True)


if __name__ == "__main__":
    main()
