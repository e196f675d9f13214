"""Which benchmarks there are."""

from benchmarks._harness import Benchmark
from benchmarks.cache._benchmark import CacheBenchmark
from benchmarks.events._benchmark import EventsBenchmark
from benchmarks.ledger._benchmark import LedgerBenchmark
from benchmarks.ledger_steps import LedgerStepsBenchmark
from benchmarks.metrics._benchmark import MetricsBenchmark
from benchmarks.resilience._benchmark import ResilienceBenchmark
from benchmarks.response_cache._benchmark import ResponseCacheBenchmark
from benchmarks.rpc._benchmark import RpcBenchmark
from benchmarks.shop._benchmark import ShopBenchmark
from hasten._core.errors import ConfigurationError


def all_benchmarks() -> tuple[Benchmark, ...]:
    """Return every benchmark, in the order in which `all` runs them."""
    return (
        LedgerBenchmark(),
        LedgerStepsBenchmark(),
        RpcBenchmark(),
        CacheBenchmark(),
        ResponseCacheBenchmark(),
        EventsBenchmark(),
        MetricsBenchmark(),
        ResilienceBenchmark(),
        ShopBenchmark(),
    )


def find(name: str, catalogue: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
    """Return the benchmarks that `name` means, all of them for `all`.

    Raises:
      ConfigurationError: there is none of that name.
    """
    found = tuple(benchmark for benchmark in catalogue if name in ("all", benchmark.name))
    if not found:
        known = ", ".join(benchmark.name for benchmark in catalogue)
        raise ConfigurationError("benchmarks", f"there is none named {name!r}", f"choose from: all, {known}")
    return found
