"""Asks a service from a process of its own: `python asking.py PORT CONNECTIONS TARGET...`, until its input ends.

Prints that it begins and, as JSON, how many requests were answered by 200 and how many failed.
"""

import asyncio
import json
import sys


async def ask(port: int, target: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
    except (OSError, TimeoutError):
        return False
    return answer.startswith(b"HTTP/1.1 200")


async def main(port: int, connections: int, targets: list[str]) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    counts = {True: 0, False: 0}

    async def connection(number: int) -> None:
        while not over.is_set():
            counts[await ask(port, targets[number % len(targets)])] += 1
            number += 1

    print("asking", flush=True)
    await asyncio.gather(*map(connection, range(connections)))
    print(json.dumps({"answered": counts[True], "failed": counts[False]}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
