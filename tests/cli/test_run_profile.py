"""`hasten run --profile` and `--profiles`: what is captured by itself, and where it is kept."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hasten.profiling._store import ProfileStore
from tests.monitor.prometheus import eventually
from tests.profiling.test_triggers import alert, body

TARGETS = """
from fastapi import FastAPI
from hasten.events import Bus

app = FastAPI()
bus = Bus("memory://")

@bus.subscribe("orders.paid", group="mail")
async def mail(order: int):
    pass
"""


@contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[httpx.Client]:
    """Run something, give a client of its admin port, and end it."""
    (folder / "shop.py").write_text(TARGETS)
    command = [sys.executable, "-m", "hasten", "run", *arguments, "--admin", "127.0.0.1:0", "--service", "shop"]
    variables = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), **environment}
    with subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=_admin(process), trust_env=False, timeout=20.0) as client:
                yield client
        finally:
            process.terminate()
            process.communicate(timeout=20)


def _admin(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        if found := re.search(r"is seen live on (\S+)", line):
            return found[1]
        said += line
    raise AssertionError(said)


@pytest.mark.parametrize(
    ("arguments", "environment", "by_itself"),
    [
        ([], {}, False),
        (["--profile"], {}, True),
        ([], {"HASTEN_PROFILE": "1"}, True),
        (["--no-profile"], {"HASTEN_PROFILE": "1"}, False),
    ],
)
def test_alerts_are_captured_for_with_profile(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], *, by_itself: bool
) -> None:
    """With --profile, or its variable, an alert is a reason to capture; without it a process waits to be asked."""
    with running(tmp_path, "shop:app", "--port", "0", *arguments, **environment) as admin:
        answer = admin.post("/alerts", content=body(alert()))
    assert (answer.status_code, "capture" in answer.json()) == ((202, True) if by_itself else (200, False))


@pytest.mark.parametrize("target", ["shop:app", "shop:bus"])
@pytest.mark.parametrize("way", ["option", "variable", "default"])
def test_where_profiles_are_kept(tmp_path: Path, target: str, way: str) -> None:
    """In the folder that --profiles or its variable names, else in the user's state; of an app and of a bus."""
    arguments = ["--profiles", str(tmp_path / "mine")] if way == "option" else []
    environment = {"HASTEN_PROFILES": str(tmp_path / "mine")} if way == "variable" else {}
    port = ["--port", "0"] if target == "shop:app" else []
    store = ProfileStore(tmp_path / "mine" if way != "default" else tmp_path / "state/hasten/profiles/shop")
    with running(tmp_path, target, *port, *arguments, **environment) as admin:
        assert admin.post("/profile", params={"seconds": "0.1"}).status_code == 202
        eventually(lambda: bool(store.entries()), "nothing is kept")
        assert [one.id for one in store.entries()] == [one["id"] for one in admin.get("/profiles").json()]
