"""A collector's policy freezes what is there, sets the threshold, and puts back what it has changed."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from hasten._core.errors import ConfigurationError
from hasten.concurrency import GcPolicy
from tests.conftest import LoopFactory


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collector as it was, with something frozen by others: a load generator in a test thaws all."""
    thresholds = gc.get_threshold()
    gc.freeze()
    yield
    gc.set_threshold(*thresholds)
    assert gc.get_freeze_count()


def in_fresh_interpreter(program: str) -> str:
    """Return what a program prints where nothing was frozen before."""
    command = [sys.executable, "-c", f"import gc\nfrom hasten.concurrency import GcPolicy\n{program}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout.strip()


def test_it_freezes_and_puts_back() -> None:
    """Within the block what was there is frozen and the threshold set; after it neither, and so the second time."""
    program = """
before = gc.get_threshold()
policy = GcPolicy()
for _ in range(2):
    with policy:
        now = policy.statistics()
        print(now.frozen > 1000, gc.get_freeze_count() > 1000, now.thresholds == (10_000, *before[1:]))
    print(gc.get_freeze_count(), policy.statistics().frozen, gc.get_threshold() == before)
"""
    assert in_fresh_interpreter(program) == "True True True\n0 0 True\nTrue True True\n0 0 True"


def test_garbage_is_not_frozen() -> None:
    """Garbage is collected before; what is frozen is freed as always when nobody refers to it any more."""
    program = """
import weakref
class Thing: pass
cycle = Thing(); cycle.self = cycle
plain = Thing()
seen = weakref.ref(cycle), weakref.ref(plain)
gc.disable()
del cycle
with GcPolicy():
    del plain
    print([each() for each in seen])
"""
    assert in_fresh_interpreter(program) == "[None, None]"


def test_a_full_collection_leaves_the_frozen_alone() -> None:
    """Collections within the block look at what was made since."""
    program = """
kept = [[number] for number in range(1000)]
with GcPolicy():
    ids = {id(each) for each in gc.get_objects()}
    print(any(id(each) in ids for each in kept))
    gc.collect()
    print(gc.get_freeze_count() > 1000)
"""
    assert in_fresh_interpreter(program) == "False\nTrue"


def test_what_others_have_frozen_stays_so() -> None:
    """Where something was frozen before, nothing is thawed."""
    before = gc.get_freeze_count()
    with GcPolicy():
        assert gc.get_freeze_count() >= before
    assert gc.get_freeze_count() > 0


def test_the_threshold_alone() -> None:
    """Without freezing no collection is made, and a threshold of 0 leaves Python's."""
    thresholds = gc.get_threshold()
    with GcPolicy(freeze=False, threshold=5_000) as policy:
        assert gc.get_threshold() == (5_000, *thresholds[1:])
        assert policy.statistics().freezes == 0
    with GcPolicy(freeze=False, threshold=0):
        assert gc.get_threshold() == thresholds
    assert gc.get_threshold() == thresholds


def test_it_freezes_again_after_the_warm_up(loop_factory: LoopFactory) -> None:
    """What was made in the warm-up is frozen, too; if the app stops before, it is not."""

    async def main() -> None:
        async with GcPolicy(warm_up=0.001) as policy:
            later = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.02, later.set_result, None)
            await later
            assert policy.statistics().freezes == 2
            assert policy.statistics().freeze_seconds > 0.0
        async with GcPolicy(warm_up=3600.0) as policy:
            pass
        assert policy._timer is None

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    "make",
    [
        lambda: GcPolicy(threshold=-1),
        lambda: GcPolicy(warm_up=float("nan")),
        lambda: GcPolicy(warm_up=float("inf")),
    ],
)
def test_what_is_no_policy(make: Callable[[], GcPolicy]) -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="0 or greater"):
        make()
