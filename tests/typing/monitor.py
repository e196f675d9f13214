"""`hasten.install`, `hasten.monitoring` and `hasten.monitor` as a type checker sees them."""

from pathlib import Path
from typing import assert_type

from fastapi import FastAPI

import hasten
from hasten.cache import Cache
from hasten.events import Bus
from hasten.monitor import Check, Monitor, Pool, Snapshot

app = FastAPI()
cache = Cache()
bus = Bus("memory://")

assert_type(hasten.install(app, service="shop", watch=[cache, bus], slo=Path("slo.toml")), FastAPI)
assert_type(hasten.install(app, admin=None), FastAPI)
assert_type(hasten.install(app, admin="0.0.0.0:9464", admin_token="secret"), FastAPI)
hasten.install(app, watch=cache)  # type: ignore[arg-type]
hasten.install(app, admin=9464)  # type: ignore[arg-type]


async def process() -> None:
    async with hasten.monitoring(service="stock", watch=(cache,)) as monitor:
        assert_type(monitor, Monitor)
        monitor.require(bus)
        monitor.require(cache)  # type: ignore[arg-type]


monitor = Monitor("shop")
assert_type(monitor.snapshot(), Snapshot)
assert_type(monitor.checks(), tuple[Check, ...])
monitor.add_checks(lambda: [Check(name="disk", ok=False, reason="full")])
monitor.add_checks(lambda: [True])  # type: ignore[list-item]
monitor.watch_pool("database", lambda: Pool(used=1, idle=2, limit=3))
monitor.watch_pool("database", lambda: 3)  # type: ignore[arg-type, return-value]
