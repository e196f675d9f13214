"""`hasten run --reload` and `hasten dev`: the app starts anew when one of its files changes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.workers.running import APP, get, running

LISTENING = r"listening on (http://\S+)"
NEW = APP.replace("return os.getpid()", "return 'new'")
NEWEST = APP.replace("return os.getpid()", "return 'newest'")


def test_a_change(tmp_path: Path) -> None:
    """The file is said, new code answers, code that does not import is said and waits for the next change."""
    with running(tmp_path, "--reload") as service:
        url = service.until(LISTENING)[1]
        (old,) = service.workers()
        assert get(f"{url}/pid") == str(old)
        (tmp_path / "shop.py").write_text(NEW)
        service.until("hasten: shop: shop.py has changed$")
        assert get_until(f"{url}/pid", "new")
        (tmp_path / "shop.py").write_text("import nowhere_to_be_found\n")
        said = service.until("waits for a change").string
        assert said.startswith("hasten: shop: target 'shop:app': does not import: ModuleNotFoundError")
        assert service.workers() == []
        (tmp_path / "shop.py").write_text(NEWEST)
        service.until("shop.py has changed")
        assert get(f"{url}/pid") == "newest"  # it has waited in the socket
        service.signal(signal.SIGINT)
        assert service.ended() == 0


def get_until(url: str, expected: str) -> bool:
    """Ask until the answer is as expected: the old process may still have a request or two."""
    while get(url) != expected:
        pass
    return True


def test_it_starts_with_code_that_does_not_import(tmp_path: Path) -> None:
    """It waits for a change also then, and listens when there is something to serve."""
    with running(tmp_path, "--reload", app="import nowhere_to_be_found\n") as service:
        service.until("waits for a change")
        (tmp_path / "shop.py").write_text(NEW)
        url = service.until(LISTENING)[1]
        assert get(f"{url}/pid") == "new"
        service.signal(signal.SIGHUP)  # a terminal that is closed
        assert service.ended() == 0


def test_dev_says_where_the_live_page_is(tmp_path: Path) -> None:
    """The one worker has the admin port itself, and every request is recorded."""
    (tmp_path / "main.py").write_text(APP)
    command = [sys.executable, "-m", "hasten", "dev", "--port", "0", "--admin", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split()[4]
            admin = process.stderr.readline().split()[-1]
            for _ in range(3):
                get(f"{url}/pid")
            assert "<html" in get(f"{admin}/")
            while recorded(admin) < 3:  # an account is there behind the answer
                pass
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def recorded(admin: str) -> int:
    """Return how many requests the ledger has an account of."""
    endpoints = json.loads(get(f"{admin}/ledger"))["endpoints"]
    return sum(endpoint["requests"] for endpoint in endpoints)


def test_without_the_extra(tmp_path: Path) -> None:
    """One line says what to install; exit 2."""
    (tmp_path / "watchfiles.py").write_text("raise ModuleNotFoundError('no', name='watchfiles')\n")
    with running(tmp_path, "--reload", environment={"PYTHONPATH": str(tmp_path)}) as service:
        assert service.ended() == 2
        assert service.lines == ["error: watchfiles is not installed; run: pip install 'hasten[dev]'"]
