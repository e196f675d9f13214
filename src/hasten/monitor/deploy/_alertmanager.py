"""alertmanager.yml: pages at once, tickets in bundles, and no alert for what another one has said already.

Where `capture` is on, what a profile may explain goes to the processes of its service first, and then its usual way.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from hasten.monitor.deploy._yaml import to_yaml
from hasten.monitor.slo import PROFILED, Delivery, Service
from hasten.monitor.slo._windows import promql_duration


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long Alertmanager waits, in seconds.

    Attributes:
      first: Before it sends the first alert of a group, for others that come with it.
      next: Before it sends what has changed in a group.
      again: Before it repeats what has not changed.
    """

    first: float
    next: float
    again: float

    def options(self) -> dict[str, str]:
        """Return them as a route has them."""
        return {
            "group_wait": promql_duration(self.first),
            "group_interval": promql_duration(self.next),
            "repeat_interval": promql_duration(self.again),
        }


PAGES = Waits(first=10.0, next=60.0, again=3600.0)
TICKETS = Waits(first=60.0, next=300.0, again=86400.0)
CAPTURES = Waits(first=1.0, next=60.0, again=3600.0)
_INHIBIT = [
    {  # whoever is woken for an objective needs no ticket for it
        "source_matchers": ['severity="page"', 'slo!=""'],
        "target_matchers": ['severity="ticket"', 'slo!=""'],
        "equal": ["service", "slo"],
    },
    {  # where a service is gone, everything else follows from that
        "source_matchers": ['alertname="ServiceAbsent"'],
        "target_matchers": ['alertname!="ServiceAbsent"'],
        "equal": ["service"],
    },
    {  # a loop that stands still is late, and blocked by something
        "source_matchers": ['alertname="LoopBlocked"'],
        "target_matchers": ['alertname=~"LoopBlocking|LoopLag"'],
        "equal": ["service", "instance"],
    },
]


def alertmanager_config(
    delivery: Delivery,
    pages: Waits = PAGES,
    tickets: Waits = TICKETS,
    *,
    services: Iterable[Service] = (),
    captures: Waits = CAPTURES,
) -> str:
    """Return alertmanager.yml.

    Args:
      services: Whose processes capture, if `delivery` wants that; Alertmanager finds them where Prometheus does.
    """
    capturing = list(services) if delivery.capture else []
    config: dict[str, Any] = {
        "route": {
            "receiver": "tickets",
            "group_by": ["service", "alertname"],
            **tickets.options(),
            "routes": [
                *[_capture_route(service, captures) for service in capturing],
                {"matchers": ['severity="page"'], "receiver": "pages", "group_by": ["service"], **pages.options()},
                *(
                    [{"receiver": "tickets"}] if capturing else []
                ),  # no alert falls back to the root once it has matched
            ],
        },
        "inhibit_rules": _INHIBIT,
        "receivers": [
            _receiver("pages", delivery.page),
            _receiver("tickets", delivery.ticket),
            *map(_capture_receiver, capturing),
        ],
    }
    return to_yaml(config)


def _capture_route(service: Service, waits: Waits) -> dict[str, Any]:
    return {
        "matchers": [f'service="{service.name}"', f'alertname=~"{"|".join(PROFILED)}"'],
        "receiver": f"captures of {service.name}",
        "continue": True,
        **waits.options(),
    }


def _capture_receiver(service: Service) -> dict[str, Any]:
    """Return what tells every process of a service, each of which decides for itself whether it captures."""
    asked: dict[str, Any] = {"send_resolved": False}
    if service.token_file:
        asked["http_config"] = {"authorization": {"credentials_file": service.token_file}}
    hooks = [{"url": f"http://{target}/alerts", **asked} for target in service.targets]
    return {"name": f"captures of {service.name}", "webhook_configs": hooks}


def _receiver(name: str, url: str) -> dict[str, Any]:
    return {"name": name, "webhook_configs": [{"url": url, "send_resolved": True}]}
