"""When a process is captured without anybody asking: decisions alone, with a clock of the test's."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.monitor import Monitor, Snapshot
from hasten.monitor import _catalogue as catalogue
from hasten.monitor.slo import PROFILED, Objective, Timing, cause_groups, objective_groups
from hasten.profiling._triggers import (
    LARGEST_WEBHOOK,
    WHEN_ASKED,
    Fired,
    ProfileOptions,
    Quantiles,
    Slow,
    Triggers,
    parse_webhook,
    profile_options,
)

OBJECTIVE = Objective(
    service="shop", name="orders-fast", kind="latency", target=0.99, threshold=0.05, route="/orders", method="GET"
)


def alert(name: str = "LoopBlocked", *, status: str = "firing", at: str = "", **labels: str) -> dict[str, Any]:
    """Return an alert as Alertmanager writes it."""
    return {
        "status": status,
        "labels": {"alertname": name, "service": "shop", "severity": "page"} | labels,
        "annotations": {"summary": "shop: the event loop has stood still for 6s", "runbook_url": "u"},
        "startsAt": at or "2026-11-26T20:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "f00",
    }


def body(*alerts: dict[str, Any], **fields: Any) -> bytes:
    """Return a webhook's body."""
    told: dict[str, Any] = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "pages",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": list(alerts),
    }
    return msgspec.json.encode(told | fields)


def triggers(**options: Any) -> Triggers:
    return Triggers(ProfileOptions(**options), service="shop", worker="1")


def decided(found: Triggers, *alerts: dict[str, Any], now: float = 0.0) -> Fired | str:
    """Return what is decided of a webhook; a capture begins if there is a reason."""
    fired = found.of_webhook(parse_webhook(body(*alerts)), now)
    if isinstance(fired, Fired):
        found.begun(fired, now)
    return fired


# ---- alerts


def test_an_alert_fires_a_capture() -> None:
    """Its labels and its summary are the capture's."""
    fired = decided(triggers(), alert(worker="1", instance="10.0.0.1:9464"))
    assert isinstance(fired, Fired)
    assert fired.trigger == "alert"
    assert fired.labels == {
        "alertname": "LoopBlocked",
        "summary": "shop: the event loop has stood still for 6s",
        "instance": "10.0.0.1:9464",
        "service": "shop",
        "severity": "page",
        "worker": "1",
        "startsAt": "2026-11-26T20:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("alerts", "reason"),
    [
        ([], "there is no alert in it"),
        ([alert(status="resolved")], "LoopBlocked is over"),
        ([alert("DiskFull")], "DiskFull is none of the alerts that are captured for"),
        ([alert(service="stock")], "LoopBlocked is about another service"),
        ([alert(worker="0")], "LoopBlocked is about another process"),
        ([alert("DiskFull"), alert(status="resolved"), alert(worker="7")], "LoopBlocked is over"),
    ],
)
def test_what_is_no_reason(alerts: list[dict[str, Any]], reason: str) -> None:
    """Alerts that are over, or about others, fire nothing, and the answer says why: of the likeliest one."""
    assert decided(triggers(), *alerts) == reason


def test_one_reason_among_others() -> None:
    """The alert that says something about this process is found wherever it stands in a group."""
    fired = decided(triggers(), alert("DiskFull"), alert(status="resolved"), alert("SLOBurnFast", slo="fast"))
    assert isinstance(fired, Fired)
    assert fired.labels["slo"] == "fast"


def test_an_alert_is_captured_once() -> None:
    """However often it is told, also long after; when it fires anew, or another one does, there is one more."""
    found = triggers(cooldown=300.0)
    assert isinstance(decided(found, alert(), now=0.0), Fired)
    assert decided(found, alert(), now=4000.0) == "LoopBlocked was captured for already"
    assert isinstance(decided(found, alert(at="2026-11-27T09:00:00Z"), now=4000.0), Fired)
    assert isinstance(decided(found, alert("LoopLag"), now=8000.0), Fired)


def test_the_cooldown() -> None:
    """Within it another alert fires nothing; an alert that was refused so is captured when it is told again."""
    found = triggers(cooldown=300.0)
    assert isinstance(decided(found, alert(), now=100.0), Fired)
    refused = decided(found, alert("LoopLag"), now=390.0)
    assert refused == "the last alert was captured for just now; again in 10 s"
    assert isinstance(decided(found, alert("LoopLag"), now=401.0), Fired)


def test_what_did_not_begin_is_tried_again() -> None:
    """An alert whose capture could not begin, as another one was under way, counts for nothing."""
    found = triggers()
    webhook = parse_webhook(body(alert()))
    assert isinstance(found.of_webhook(webhook, 0.0), Fired)
    assert isinstance(found.of_webhook(webhook, 1.0), Fired)


def test_a_storm() -> None:
    """1,000 webhooks with 20,000 different alerts give one capture, and nothing of them is remembered but that one."""
    found = triggers(cooldown=300.0)
    fired = 0
    for number in range(1000):
        alerts = [alert(pod=f"{number}-{each}") for each in range(20)]
        fired += isinstance(decided(found, *alerts, now=number * 0.1), Fired)
    assert fired == 1
    assert len(found._captured) == 1


def test_what_is_remembered_is_bounded() -> None:
    """Without a cooldown each alert is captured; of those only the last 256 are known for sure."""
    found = triggers(cooldown=0.0)
    for number in range(1000):
        assert isinstance(decided(found, alert(pod=str(number)), now=float(number)), Fired)
    assert len(found._captured) == 256
    assert decided(found, alert(pod="999"), now=1000.0) == "LoopBlocked was captured for already"


def test_labels_are_bounded_and_readable() -> None:
    """However many labels an alert has and whatever is in them: at most 32, cut, without what a terminal obeys."""
    labels = {f"label{number:03}": "x" * 10_000 for number in range(500)}
    fired = decided(triggers(), alert(**labels, evil="\x1b[2J\nboo"))
    assert isinstance(fired, Fired)
    assert len(fired.labels) == 32
    assert fired.labels["alertname"] == "LoopBlocked"
    assert "summary" in fired.labels
    assert max(map(len, fired.labels.values())) <= 256
    assert all(value.isprintable() for value in fired.labels.values())
    assert fired.labels["evil"] == " [2J boo"


def test_all_names_are_alerts_of_ours() -> None:
    """What captures by default is what `hasten monitor` generates, by its name."""
    groups = [*cause_groups(["shop"], Timing(), "u"), *objective_groups([OBJECTIVE], Timing(), "u")]
    assert set(PROFILED) <= {rule.get("alert") for group in groups for rule in group["rules"]}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"version":"4"}',
        b'{"alerts":[]}',
        body(version="3"),
        body(version=4),
        body(alerts={}),
        body({"status": "firing"}),
        body(alert(status="perhaps")),
        body(alert(status="\n" * 100_000)),
        body({**alert(), "labels": {"alertname": 7}}),
        b'{"version":"4","alerts":' + b"[" * 100_000,
    ],
)
def test_what_is_no_webhook(text: bytes) -> None:
    """Anything else is refused in one short line."""
    with pytest.raises(ConfigurationError) as raised:
        parse_webhook(text)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_unknown_keys_are_none_of_our_business() -> None:
    """A later Alertmanager may say more."""
    webhook = parse_webhook(body({**alert(), "new": {"a": [1]}}, notificationReason="first"))
    assert webhook.alerts[0].name == "LoopBlocked"


@given(st.binary(max_size=300))
def test_hostile_bytes(text: bytes) -> None:
    """Bytes are a webhook, or a ConfigurationError."""
    _is_handled(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_NEARLY = st.fixed_dictionaries(
    {"status": st.sampled_from(["firing", "resolved"]) | st.text(max_size=5)},
    optional={
        "labels": st.dictionaries(
            st.sampled_from(["alertname", "service", "worker"]) | st.text(max_size=10),
            st.sampled_from(["LoopBlocked", "shop", "1"]) | st.text(max_size=300),
            max_size=40,
        ),
        "annotations": st.dictionaries(st.just("summary"), st.text(max_size=600)) | _JSON,
        "startsAt": st.text(max_size=100) | _JSON,
        "more": _JSON,
    },
)


@given(st.lists(_NEARLY, max_size=5))
def test_hostile_alerts(alerts: list[dict[str, Any]]) -> None:
    """Whatever alerts say, a decision is one line, or bounded labels of printable text."""
    try:
        text = body(*alerts)
    except (UnicodeEncodeError, ValueError, OverflowError):
        return  # no JSON has it
    _is_handled(text)


def _is_handled(text: bytes) -> None:
    try:
        webhook = parse_webhook(text)
    except ConfigurationError:
        return
    fired = triggers().of_webhook(webhook, 0.0)
    if isinstance(fired, str):
        assert fired.isprintable()
        assert len(fired) < 200
    else:
        assert len(fired.labels) <= 32
        assert all(name.isprintable() and value.isprintable() for name, value in fired.labels.items())


def test_a_large_webhook_is_soon_read() -> None:
    """As many alerts as fit into the longest body are decided upon."""
    one = len(body(alert("DiskFull")))
    webhook = parse_webhook(body(*[alert("DiskFull") for _ in range(LARGEST_WEBHOOK // one)]))
    assert isinstance(triggers().of_webhook(webhook, 0.0), str)


# ---- holds


def test_a_hold() -> None:
    """One as long as it must be fires, with where and how long; a shorter one does not; then the cooldown holds."""
    found = triggers(hold=0.5, cooldown=300.0)
    assert found.of_hold(0.49, "shop.py:1 f", 0.0, over=True) is None
    fired = found.of_hold(0.734, "shop.py:1 f", 0.0, over=False)
    assert fired == Fired(trigger="hold", labels={"site": "shop.py:1 f", "held": "734 ms", "state": "goes on"})
    found.begun(fired, 0.0)
    assert found.of_hold(9.0, "", 299.0, over=True) is None
    assert found.of_hold(9.0, "", 301.0, over=True) == Fired(trigger="hold", labels={"held": "9.00 s", "state": "over"})


def test_kinds_of_triggers_do_not_wait_for_each_other() -> None:
    """A hold that was captured does not keep an alert from it: each kind has a cooldown of its own."""
    found = triggers(cooldown=300.0)
    fired = found.of_hold(9.0, "", 0.0, over=True)
    assert fired is not None
    found.begun(fired, 0.0)
    assert isinstance(decided(found, alert(), now=1.0), Fired)


def test_nothing_by_itself() -> None:
    """A process that was not told to captures for nothing."""
    found = Triggers(WHEN_ASKED, service="shop", worker="1")
    assert isinstance(found.of_webhook(parse_webhook(body(alert())), 0.0), str)
    assert found.of_hold(100.0, "", 0.0, over=True) is None
    assert found.of_slow(Slow(objective=OBJECTIVE, quantile=9.0, events=100), 0.0) is None


# ---- quantiles


class Served:
    """Requests of a monitor, and snapshots of them."""

    def __init__(self, *objectives: Objective) -> None:
        self._monitor = Monitor("shop", objectives=objectives)
        self._durations = self._monitor._recorder.histograms(catalogue.HTTP_SERVER_DURATION)

    def serve(self, count: int, seconds: float, route: str = "/orders") -> None:
        for _ in range(count):
            self._durations.child("GET", route, "200").observe(seconds)

    def snapshot(self) -> Snapshot:
        return self._monitor.snapshot()


def test_a_quantile_over_its_objective() -> None:
    """Two of a hundred requests above the threshold miss 99 %; figures and objective are told."""
    served, quantiles = Served(OBJECTIVE), Quantiles([OBJECTIVE])
    assert quantiles.add(served.snapshot(), 0.0) is None
    served.serve(490, 0.01)
    served.serve(10, 0.4)
    slow = quantiles.add(served.snapshot(), 5.0)
    assert slow is not None
    assert (slow.objective, slow.events) == (OBJECTIVE, 500)
    fired = triggers().of_slow(slow, 5.0)
    assert fired is not None
    assert fired.trigger == "p99"
    assert fired.labels | {"p99": ""} == {
        "slo": "orders-fast",
        "of": "GET /orders",
        "p99": "",
        "objective": "50.0 ms",
        "events": "500",
    }


def test_a_promise_that_is_kept() -> None:
    """One of a hundred above the threshold is what 99 % allows; other routes and few events are nobody's objective."""
    served, quantiles = Served(OBJECTIVE), Quantiles([OBJECTIVE])
    quantiles.add(served.snapshot(), 0.0)
    served.serve(990, 0.01)
    served.serve(10, 0.4)
    served.serve(1000, 0.4, route="/search")
    assert quantiles.add(served.snapshot(), 5.0) is None
    served.serve(4, 0.4)  # of these there are 14 slow ones, of 1004: 1.4 %
    assert quantiles.add(served.snapshot(), 9.0) is not None


def test_few_slow_events() -> None:
    """As for alerts, fewer slow events than `min_bad` are no reason, whatever their share."""
    served, quantiles = Served(OBJECTIVE), Quantiles([OBJECTIVE])
    quantiles.add(served.snapshot(), 0.0)
    served.serve(4, 0.4)
    assert quantiles.add(served.snapshot(), 5.0) is None
    served.serve(1, 0.4)
    assert quantiles.add(served.snapshot(), 10.0) is not None


def test_only_the_last_seconds_count() -> None:
    """What was slow a minute ago is not slow now."""
    served, quantiles = Served(OBJECTIVE), Quantiles([OBJECTIVE])
    quantiles.add(served.snapshot(), 0.0)
    served.serve(100, 0.4)
    assert quantiles.add(served.snapshot(), 5.0) is not None
    for clock in (10.0, 15.0, 20.0):
        served.serve(100, 0.01)
        slow = quantiles.add(served.snapshot(), clock)
    assert slow is None


def test_snapshots_are_bounded() -> None:
    """However often there is one, those of the last seconds are kept, one a second."""
    served, quantiles = Served(OBJECTIVE), Quantiles([OBJECTIVE])
    snapshot = served.snapshot()
    for number in range(5000):
        quantiles.add(snapshot, number * 0.02)
    assert len(quantiles._snapshots) <= 13


def test_the_objective_that_is_missed_by_most() -> None:
    """Of several the one with the largest ratio of quantile and threshold is told."""
    loose = msgspec.structs.replace(OBJECTIVE, name="loose", threshold=0.1, route="/search")
    served, quantiles = Served(OBJECTIVE, loose), Quantiles([OBJECTIVE, loose])
    quantiles.add(served.snapshot(), 0.0)
    served.serve(100, 0.2)
    served.serve(100, 4.0, route="/search")
    slow = quantiles.add(served.snapshot(), 5.0)
    assert slow is not None
    assert slow.objective is loose


def test_objectives_without_a_latency() -> None:
    """Availability has no quantile: there is nothing to look at."""
    assert not Quantiles([msgspec.structs.replace(OBJECTIVE, kind="availability", threshold=0.0)])
    assert Quantiles([OBJECTIVE])


# ---- options


def test_what_install_means() -> None:
    """True captures by itself and lets py-spy attach, False does neither, options say it themselves."""
    assert profile_options(given=True) == ProfileOptions()
    assert profile_options(given=False) == WHEN_ASKED
    assert not WHEN_ASKED.allow_tracers
    mine = ProfileOptions(hold=2.0, folder="profiles")
    assert profile_options(mine) is mine


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": 0}, "profile keep: 0 is not from 1 to 1000"),
        ({"hold": 0.01}, "profile hold: 0.01 is not from 0.05 to 86400"),
        ({"hold": -1.0}, "profile hold: -1 is not from 0.05 to 86400"),
        ({"pause": float("nan")}, "profile pause: nan is not from 0 to 86400"),
        ({"cooldown": -5.0}, "profile cooldown: -5 is not from 0 to 86400"),
        ({"seconds": 3600.0}, "profile seconds: 3600 is not from 0.1 to 300"),
    ],
)
def test_options_out_of_bounds(options: dict[str, Any], said: str) -> None:
    """One line says which, and its bounds."""
    with pytest.raises(ConfigurationError) as raised:
        profile_options(ProfileOptions(**options))
    assert str(raised.value) == said
