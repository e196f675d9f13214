"""`hasten trace`: one request through two real services, and where its time went in each."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hasten._core.processes import ServiceProcess

pytestmark = [pytest.mark.may_block, pytest.mark.timeout(120)]

BACK = """
import asyncio
from fastapi import FastAPI

app = FastAPI()


async def load(item: int) -> int:
    await asyncio.sleep(0.05)
    return item


@app.get("/items/{item}")
async def item(item: int) -> int:
    return await load(item)


@app.post("/items")
async def add(item: dict[str, int]) -> dict[str, int]:
    return item
"""
FRONT = """
import os

import httpx
from fastapi import FastAPI

from hasten.monitor import outgoing_headers

app = FastAPI()


@app.get("/{item}")
async def front(item: int) -> int:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{os.environ['BACK']}/items/{item}", headers=outgoing_headers())
    return answer.json()
"""
_ADMIN = re.compile(r"seen live on (http://\S+)")
Trace = Callable[..., "subprocess.CompletedProcess[str]"]


class Service:
    """A service that `hasten run` serves, with its admin port."""

    def __init__(self, stack: ExitStack, folder: Path, name: str, code: str, **environment: str) -> None:
        folder.joinpath(f"{name}.py").write_text(code)
        command = [sys.executable, "-m", "hasten", "run", f"{name}:app", "--port", "0", "--admin", "127.0.0.1:0"]
        process = ServiceProcess(name, command, environment=environment, log=folder / f"{name}.log", folder=folder)
        stack.enter_context(process)
        self.url = process.wait_listening(60)
        while not (said := _ADMIN.search(process.log.read_text())):
            process.require_running()
        self.admin = said[1]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("services")
        back = Service(stack, folder, "back", BACK)
        yield Service(stack, folder, "front", FRONT, BACK=back.url), back


def trace(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hasten", "trace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def test_two_services(services: tuple[Service, Service]) -> None:
    """The request is shown with what the first service did, and below it what the second did for it."""
    front, back = services
    found = rows(trace(f"{front.url}/7", "--admin", front.admin, "--admin", back.admin, "--json"))
    works = [(row["depth"], row["service"], row["name"]) for row in found if row["service"]]
    assert works == [
        (0, "client", f"GET {front.url}/7"),
        (1, "front", "GET /{item}"),
        (2, "back", "GET /items/{item}"),
    ]
    waits = [row for row in found if row["kind"] == "waiting" and row["depth"] == 3]
    assert "back.py:9 load · asyncio.sleep" in waits[0]["name"]
    assert 0.045 <= waits[0]["seconds"] <= found[0]["seconds"]


def test_the_picture(services: tuple[Service, Service]) -> None:
    """On a terminal each row has its bar, and the last line says what took longest."""
    front, back = services
    done = trace(f"{front.url}/7", "--admin", front.admin, "--admin", back.admin)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"GET {front.url}/7 → 200 in ")
    assert sum("█" in line for line in lines) >= 4
    assert "back ← GET /items/{item}" in done.stdout
    assert lines[-1].startswith("next: ")
    assert all(len(line) <= 120 for line in lines[1:-1])


def test_a_body(services: tuple[Service, Service]) -> None:
    """What is given is sent, and a status that is no success is shown like any other."""
    _, back = services
    done = trace(
        f"{back.url}/items", "--body", '{"a": 1}', "-H", "content-type: application/json", "--admin", back.admin
    )
    assert done.stdout.startswith(f"POST {back.url}/items → 200 in ")
    done = trace(f"{back.url}/nowhere", "--admin", back.admin)
    assert done.returncode == 0
    assert "GET /nowhere" in done.stdout
    assert " 404 " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("http://127.0.0.1:1/",), 3, "http://127.0.0.1:1/: does not answer: Connection refused"),
        (("ftp://shop/",), 2, "ftp://shop/: is no http or https URL; for example"),
        (("{back}/items/1", "-H", "nothing"), 2, "--header: 'nothing' is not of the form NAME:VALUE"),
        (("{back}/items/1", "-H", "traceparent: x"), 2, "header traceparent: the trace is this command's own"),
        (("{back}/items/1", "-H", "a: x\ny"), 2, "cannot be sent"),
        (("{back}/items/1", "--body", "@nowhere"), 2, "--body: nowhere cannot be read: No such file or directory"),
        (("{back}/items/1", "--admin", "http://127.0.0.1:1"), 3, "http://127.0.0.1:1: "),
        (("{back}/items/1", "--admin", "{back}"), 3, "is no admin port: status 404"),
        (("{back}/items/1", "--admin", "{front}"), 3, "is no admin port: status 4"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], code: int, said: str, services: tuple[Service, Service]
) -> None:
    """Requests that cannot be sent, and ports that say nothing, are told in one line with the right exit code."""
    front, back = services
    done = trace(*(argument.replace("{back}", back.url).replace("{front}", front.url) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_service_without_hasten(services: tuple[Service, Service]) -> None:
    """A service whose admin port knows nothing of the request is told, with what to do."""
    front, back = services
    done = trace(f"{back.url}/items/1", "--admin", front.admin)
    assert done.returncode == 3
    assert "answered 200, and no service has told of it; is it served with hasten?" in done.stderr
