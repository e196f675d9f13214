"""A supervisor that is cancelled leaves no process behind."""

import asyncio
from pathlib import Path

import pytest

from hasten.service import ServiceOptions
from hasten.workers import Binding, SupervisorOptions, Systemd, bind
from hasten.workers._supervisor import Supervisor
from tests.workers.running import APP


@pytest.mark.may_block  # starting a process reads from a pipe
@pytest.mark.parametrize("when", ["starting", "serving"])
def test_cancelling_ends_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Whether they start or serve, they are gone when it has ended, and so is the file of their socket."""
    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    listeners = bind(Binding(uds=tmp_path / "shop.sock"), workers=True)

    async def main() -> list[int]:
        announced = asyncio.Event()
        options = SupervisorOptions(target="shop:app", service=ServiceOptions(service="shop"), workers=2)
        supervisor = Supervisor(options, listeners, lambda _: announced.set(), Systemd())
        running = asyncio.ensure_future(supervisor.run())
        await (asyncio.sleep(0) if when == "starting" else announced.wait())
        pids = [process.pid for process in supervisor._processes.values()]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return pids

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        pids = runner.run(main())
    listeners.close()
    listeners.remove()
    assert len(pids) == (1 if when == "starting" else 2)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not (tmp_path / "shop.sock").exists()
