"""The fast shop's promises, and the folder that is generated of them."""

import json
import subprocess
import sys
from pathlib import Path

from examples.shop.fast.settings import SLO
from examples.shop.launcher import ADMIN_PORT, EDITIONS, ROOT
from hasten.monitor.slo import read_slo

DEPLOY = SLO.with_name("deploy")


def test_the_folder_is_as_generated() -> None:
    """`hasten monitor` would change nothing in the folder that is checked in: the app and the file agree with it."""
    command = [sys.executable, "-m", "hasten", "monitor", "examples.shop.fast.storefront:app", "--check", "--json"]
    done = subprocess.run(
        [*command, "--slo", str(SLO), "-o", str(DEPLOY)], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert (said["missing"], said["changed"], said["left_over"]) == ([], [], [])
    assert list(said["checked"]) == ["storefront"]


def test_every_service_is_scraped_where_it_shows_itself() -> None:
    """Each service of the shop is scraped at the admin port that the launcher gives it."""
    ours = [service.name for service in EDITIONS["fast"].services if not service.name.startswith(("payments", "mail"))]
    targets = {service.name: service.targets for service in read_slo(SLO).services}
    assert targets == {name: (f"shop:{ADMIN_PORT + number}",) for number, name in enumerate(ours)}
    assert {objective.service for objective in read_slo(SLO).objectives} == set(ours)


def test_it_is_a_folder_of_its_own() -> None:
    """Nothing else lies in the folder, so that all of it can be made anew."""
    assert sorted(path.name for path in Path(DEPLOY).iterdir()) == [
        "alertmanager",
        "compose.yaml",
        "grafana",
        "prometheus",
    ]
