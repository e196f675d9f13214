"""Objectives are checked against what an app has: buckets, routes, methods, topics."""

from typing import Any

import grpc
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route

import hasten
from hasten._core.errors import ConfigurationError
from hasten._install import monitor_of
from hasten.events import Bus
from hasten.monitor import Monitor
from hasten.monitor.slo import Objective, Surface, check_objectives, surface_of
from hasten.rpc import Server

NAME = "http_server_request_duration_seconds"


def objective(**changes: Any) -> Objective:
    """Return an availability objective of the service `shop`, or another."""
    return Objective(**{"service": "shop", "name": "one", "kind": "availability", "target": 0.99, **changes})


async def _nothing(scope: Any, receive: Any, send: Any) -> None: ...


def app_with(*watch: object, objectives: tuple[Objective, ...] = ()) -> Surface:
    """Return the surface of a FastAPI app with routes, a mounted app, and what it watches."""

    async def page() -> dict[str, str]:
        return {}

    app = FastAPI()
    app.add_api_route("/orders/{order_id}", page, methods=["GET", "PUT"])
    app.mount("/admin", FastAPI(routes=[Route("/users", page)]))
    app.router.routes.append(Mount("/files", app=_nothing))
    hasten.install(app, service="shop", watch=watch, admin=None)
    found = monitor_of(app)
    assert found is not None
    return surface_of(app, Monitor("shop", objectives=objectives) if objectives else found)


def problem(one: Objective, surface: Surface) -> str:
    """Return what is wrong with an objective; empty if nothing is."""
    try:
        assert check_objectives([one], surface, "slo.toml") == 1
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "right",
    [
        objective(),
        objective(route="/orders/{order_id}"),
        objective(route="/orders/{order_id}", method="PUT"),
        objective(method="GET"),
        objective(route="/admin/users", method="GET"),
        objective(route="/files", method="DELETE"),
    ],
    ids=lambda one: one.words,
)
def test_what_an_app_has_is_right(right: Objective) -> None:
    """Routes of the app and of mounted apps, and methods that they answer, are accepted."""
    assert problem(right, app_with()) == ""


def test_a_route_that_is_not_there_is_refused() -> None:
    """A wrong template is named with the one that is most like it."""
    said = problem(objective(route="/orders/{id}"), app_with())
    assert said == "slo.toml: one of shop.route: the app has no route /orders/{id}; did you mean /orders/{order_id}?"
    said = problem(objective(route="/x"), app_with())
    assert said.startswith("slo.toml: one of shop.route: the app has no route /x; it has /admin/")


def test_a_method_that_a_route_does_not_answer_is_refused() -> None:
    """The methods that it answers are named."""
    said = problem(objective(route="/orders/{order_id}", method="POST"), app_with())
    assert said == "slo.toml: one of shop.method: /orders/{order_id} does not answer POST; write one of GET, PUT"


def test_a_threshold_without_a_bucket_is_refused() -> None:
    """An app that was not given the file has no bucket of the threshold; one that was, has."""
    slow = objective(kind="latency", threshold=0.042)
    said = problem(slow, app_with())
    assert said == (
        f"slo.toml: one of shop.latency: {NAME} of the app has no bucket for 0.042 s, so every event would count as "
        "slow; give the app this file: hasten.install(app, slo=...)"
    )
    assert problem(slow, app_with(objectives=(slow,))) == ""
    assert problem(objective(kind="latency", threshold=0.05), app_with()) == ""  # a bound of the metric


def test_only_a_services_own_objectives_are_checked() -> None:
    """Objectives of other services are left to the check of their apps."""
    assert check_objectives([objective(service="mail", route="/nowhere")], app_with(), "slo.toml") == 0


def test_a_method_that_no_server_has_is_refused() -> None:
    """A gRPC server that is watched knows its methods; without a watched server, none is known."""
    server = Server()
    get: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
    server.add_registered_method_handlers("shop.Catalog", {"Get": get})
    surface = app_with(server)
    assert problem(objective(rpc="/shop.Catalog/Get"), surface) == ""
    said = problem(objective(rpc="/shop.Catalog/Git"), surface)
    assert said.startswith("slo.toml: one of shop.rpc: no gRPC server of the app has /shop.Catalog/Git;")
    assert problem(objective(rpc="/shop.Catalog/Git"), app_with()) == ""


def test_a_topic_that_nobody_handles_is_refused() -> None:
    """A bus that is watched knows its topics and groups; without one, none is known."""
    bus = Bus("memory://")

    @bus.subscribe("orders.paid", group="billing")
    async def bill(order: dict[str, int]) -> None: ...

    surface = app_with(bus)
    assert problem(objective(topic="orders.paid"), surface) == ""
    assert problem(objective(topic="orders.paid", group="billing"), surface) == ""
    said = problem(objective(topic="orders.payed"), surface)
    assert said == (
        "slo.toml: one of shop.topic: the app handles no messages of orders.payed; did you mean orders.paid?"
    )
    said = problem(objective(topic="orders.paid", group="mail"), surface)
    assert said == "slo.toml: one of shop.group: the app has no group mail for orders.paid; it has billing"
    assert problem(objective(topic="orders.payed"), app_with()) == ""


def test_an_app_without_routes_that_are_known_has_any() -> None:
    """Of an ASGI app that is not Starlette's, no route is refused."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    assert problem(objective(route="/x", method="GET"), surface_of(app, Monitor("shop"))) == ""
