"""Pauses between attempts grow, are bounded, and spread."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._backoff import Backoff, BackoffPolicy

UNJITTERED = BackoffPolicy(jitter=0.0)


def middle() -> float:
    return 0.5


def test_pauses_of_the_specification() -> None:
    """Pauses are 1 s, then 1.6 times longer each, up to 120 s, from start to start."""
    backoff = Backoff(middle)
    pauses = []
    for _ in range(13):
        backoff.begin(100.0)
        pauses.append(round(backoff.retry_at - 100.0, 3))
    assert pauses[:4] == [1.0, 1.6, 2.56, 4.096]
    assert pauses[-2:] == [120.0, 120.0]


def test_before_the_first_attempt() -> None:
    """The first attempt may begin at once."""
    assert Backoff(middle).retry_at == -math.inf


def test_reset() -> None:
    """After a success the next attempt may begin at once, and a failure then pauses for the initial time."""
    backoff = Backoff(middle)
    backoff.begin(0.0)
    backoff.begin(1.0)
    backoff.reset()
    assert backoff.retry_at == -math.inf
    backoff.begin(50.0)
    assert backoff.retry_at == 51.0


def test_attempts_get_twenty_seconds() -> None:
    """An attempt is given 20 s, or until the next one may begin when that is later."""
    backoff = Backoff(middle)
    assert backoff.begin(1000.0) == 20.0
    for _ in range(20):
        timeout = backoff.begin(1000.0)
    assert timeout == backoff.retry_at - 1000.0 == 120.0


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_jitter_is_bounded(random: Random, attempts: int) -> None:
    """Every pause lies within a fifth of its unjittered length."""
    backoff, exact = Backoff(random.random), Backoff(random.random, UNJITTERED)
    for _ in range(attempts):
        backoff.begin(0.0)
        exact.begin(0.0)
        assert 0.8 - 1e-9 <= backoff.retry_at / exact.retry_at <= 1.2 + 1e-9


def test_clients_disperse() -> None:
    """Clients that lose a server at one moment come back at different moments, the first time already."""
    clients = [Backoff(Random(seed).random) for seed in range(100)]
    for client in clients:
        client.begin(0.0)
    assert len({client.retry_at for client in clients}) == 100


@pytest.mark.parametrize(
    "settings",
    [
        {"initial": 0.0},
        {"initial": math.nan},
        {"multiplier": 0.9},
        {"maximum": math.inf},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"min_connect_timeout": 0.0},
        {"initial": 10.0, "maximum": 5.0},
    ],
)
def test_wrong_policies(settings: dict[str, float]) -> None:
    """A policy that would never wait, or never come back, is refused when it is made."""
    with pytest.raises(ConfigurationError, match="BackoffPolicy"):
        BackoffPolicy(**settings)
