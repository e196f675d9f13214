"""A fault in a running service, seen by a real Prometheus, alerted by a real Alertmanager, told to a webhook.

The rules and alertmanager.yml are the generated ones, with all windows 120 times shorter, 1h is 30 s, and the shorter
pair of each severity alone, since the other's short window takes a quarter of a minute to forget a fault.
"""

from collections.abc import Callable, Iterator

import msgspec
import pytest

from hasten.monitor.deploy import Waits, alertmanager_config, rule_files
from hasten.monitor.slo import Delivery, Timing, read_slo
from tests.monitor.prometheus import Alert, Alertmanager, Prometheus, Webhook, eventually
from tests.monitor.slo.faulty import SERVICE, Faulty, running

SLO = """
[[objective]]
service = "shop"
name = "orders-fast"
target = "95%"
latency = "50ms"
route = "/orders"
method = "GET"
severities = ["page"]

[[objective]]
service = "shop"
name = "orders-answered"
target = "99%"
route = "/orders"
"""
SCALED = Timing().scaled(1 / 120, interval=0.5)
TIMING = msgspec.structs.replace(SCALED, burns=(SCALED.burns[0], SCALED.burns[2]))
PAGES = Waits(first=0.1, next=0.5, again=3600.0)
TICKETS = Waits(first=6.0, next=6.0, again=3600.0)


@pytest.fixture(scope="module")
def shop(prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """Return a service that Prometheus scrapes, and whose generated rules it evaluates."""
    slo = tmp_path_factory.mktemp("slo") / "slo.toml"
    slo.write_text(SLO)
    with running(slo) as service:
        prometheus.scrape(SERVICE, [service.target])
        prometheus.set_rules(rule_files(read_slo(slo), TIMING))
        yield service
    prometheus.set_rules({})
    prometheus.scrape(SERVICE, [], wait=False)


@pytest.fixture
def alerts(alertmanager: Alertmanager, prometheus: Prometheus) -> Iterator[Webhook]:
    """Return the receiver of the generated alertmanager.yml, when no page is left from before."""

    def pages() -> list[str]:
        return [str(one["labels"]) for one in prometheus.alerts() if one["labels"]["severity"] == "page"]

    eventually(lambda: not pages(), "a page does not end")

    def generated(url: str) -> str:
        return alertmanager_config(Delivery(page=f"{url}page", ticket=f"{url}ticket"), PAGES, TICKETS)

    with alertmanager.webhook(generated) as receiver:
        yield receiver


def of(name: str, slo: str, *, firing: bool = True) -> Callable[[Alert], bool]:
    """Return what an alert of an objective is known by."""
    return lambda alert: (alert.name, alert.labels.get("slo", ""), alert.firing) == (name, slo, firing)


def test_failures_page_and_their_end_resolves(
    shop: Faulty, alerts: Webhook, alertmanager: Alertmanager, prometheus: Prometheus
) -> None:
    """5xx for some seconds: a page that says whose and how bad, no ticket for the same objective, and then its end."""
    fast, slow = of("SLOBurnFast", "orders-answered"), of("SLOBurnSlow", "orders-answered")
    with shop.asked():
        eventually(lambda: _value(prometheus, "slo:events:rate5m") > 5, "nobody asks the service")
        with shop.fault("errors"):
            page = alerts.wait_for(fast)
            eventually(lambda: _is_inhibited(alertmanager, "SLOBurnSlow"), "the page does not inhibit the ticket")
        assert page.receiver == "pages"
        assert page.labels["severity"] == "page"
        assert page.labels["service"] == SERVICE
        assert page.annotations["runbook_url"] == "docs/reference/alerts.md#sloburnfast"
        assert page.annotations["summary"].startswith("shop: orders-answered uses up its error budget ")
        described = page.annotations["description"]
        assert described.startswith("Promised: 99 % of /orders without a failure, over 30d. Budget left: ")
        assert "unknown" not in described
        alerts.wait_for(of("SLOBurnFast", "orders-answered", firing=False))
    assert not any(map(slow, alerts.received))


def test_slow_answers_page(shop: Faulty, alerts: Webhook, prometheus: Prometheus) -> None:
    """Answers above the threshold of a latency objective page by the bucket that `install` has added, and 2xx do not
    count against availability."""
    with shop.asked(), shop.fault("slow"):
        page = alerts.wait_for(of("SLOBurnFast", "orders-fast"))
    assert "95 % of GET /orders within 50.0 ms" in page.annotations["description"]
    assert _value(prometheus, 'slo:error:ratio_rate5m{slo="orders-answered"}') == 0


def test_a_blocked_loop_pages_while_it_is_blocked(shop: Faulty, alerts: Webhook) -> None:
    """The admin port answers while the loop stands still, so the page comes then, with the seconds in it."""
    with shop.fault("blocks"), shop.asked():
        page = alerts.wait_for(of("LoopBlocked", ""))
    assert page.labels["service"] == SERVICE
    assert "the event loop has stood still for " in page.annotations["summary"]


def test_a_service_that_is_gone_pages_once(shop: Faulty, alerts: Webhook, alertmanager: Alertmanager) -> None:
    """Without any instance ServiceAbsent pages, and everything else about the service is inhibited."""
    shop.end()
    page = alerts.wait_for(of("ServiceAbsent", ""))
    assert page.annotations["summary"] == "shop: none of its 1 known instances answers Prometheus"
    eventually(lambda: _is_inhibited(alertmanager, "InstanceDown"), "ServiceAbsent does not inhibit its causes")
    assert not any(map(of("InstanceDown", ""), alerts.received))


def _value(prometheus: Prometheus, query: str) -> float:
    """Return the largest value of what a query gives; -1 if it gives nothing."""
    return max([sample.value for sample in prometheus.instant(query)], default=-1.0)


def _is_inhibited(alertmanager: Alertmanager, name: str) -> bool:
    found = [alert for alert in alertmanager.alerts() if alert["labels"]["alertname"] == name]
    return any(alert["status"]["inhibitedBy"] for alert in found)


def test_timing_is_the_only_thing_that_tests_change() -> None:
    """Shorter windows change no name, label or threshold of a rule: what is tried here is what runs."""
    assert msgspec.structs.replace(Timing().scaled(1.0, interval=30.0), slow_interval=120.0) == Timing()
    assert [one.rate(SCALED.objective_window("30d")) for one in SCALED.burns] == [14.4, 6, 3, 1]
    assert [one.long.name for one in SCALED.burns] == ["1h", "6h", "1d", "3d"]
