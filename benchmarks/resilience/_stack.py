"""Where the setup of each guard stands."""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from benchmarks.resilience._work import Work

Setup = Callable[[Work], Awaitable[Work]]
"""Takes what is to be guarded; returns it guarded."""

SETUPS: Mapping[str, Mapping[str, str]] = {
    "retry": {
        "limit": "limit:bare",
        "hasten": "hasten:retry",
        "hasten-block": "hasten:retry_block",
        "stamina": "stamina:retry",
        "tenacity": "tenacity:retry",
    },
    "retry-again": {
        "limit": "limit:again",
        "hasten": "hasten:retry",
        "hasten-block": "hasten:retry_block",
        "stamina": "stamina:retry",
        "tenacity": "tenacity:retry",
    },
    "breaker": {
        "limit": "limit:bare",
        "hasten": "hasten:breaker",
        "hasten-block": "hasten:breaker_block",
        "hasten-adaptive": "hasten:adaptive",
        "hasten-adaptive-block": "hasten:adaptive_block",
        "aiobreaker": "aiobreaker:breaker",
        "purgatory": "purgatory:breaker",
    },
    "deadline": {"limit": "limit:bare", "hasten-block": "hasten:deadline_block", "asyncio": "standard:deadline"},
    "at-once": {
        "limit": "limit:bare",
        "hasten": "hasten:bulkhead",
        "hasten-block": "hasten:bulkhead_block",
        "hasten-limiter": "hasten:limiter",
        "hasten-limiter-block": "hasten:limiter_block",
        "asyncio": "standard:at_once",
    },
    "rate": {
        "limit": "limit:bare",
        "hasten": "hasten:rate",
        "hasten-block": "hasten:rate_block",
        "aiolimiter": "aiolimiter:rate",
    },
    "hedge": {"limit": "limit:bare", "hasten": "hasten:hedge"},
}
"""By case and subject: a module of `stacks` and its function."""
FAILS_FIRST = ("retry-again",)
"""Cases whose work fails every other time."""


def setup_of(case: str, subject: str) -> Setup:
    """Load the subject's library, and return what sets it up."""
    module, function = SETUPS[case][subject].split(":")
    return cast("Setup", getattr(importlib.import_module(f"benchmarks.resilience.stacks.{module}"), function))


def cases_of(subject: str) -> tuple[str, ...]:
    """Return the cases that a subject takes part in."""
    return tuple(case for case, subjects in SETUPS.items() if subject in subjects)
