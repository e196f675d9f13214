"""HS305: calls without a limit that requests went through."""

from pathlib import Path

from hasten.diagnose._finding import Severity
from hasten.diagnose.rules.missing_timeout import MissingTimeout
from tests.diagnose.accounts import blocked, computed, site, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
import httpx, requests

client = httpx.AsyncClient(timeout=None)

async def page():
    return await client.get("http://a")

async def pay():
    return requests.post("http://pay")
"""


def test_a_client_is_proven_by_its_calls(tmp_path: Path) -> None:
    """The client's constructor is named when requests went through the functions that use it."""
    source = Source(MissingTimeout(), tmp_path, TEXT)
    call = source.site("http://a", library="httpx.AsyncClient.get")
    (found,) = source.findings(traffic(10, waited(0.020, call), computed(0.001, call)))
    assert (found.line, found.function) == (source.line("timeout=None"), "<module>")
    assert found.title == "httpx.AsyncClient has no time limit"
    assert found.severity is Severity.LOW
    assert (found.share_mean, found.seconds, found.hurt) == (0.0, 0.0, 10)
    assert found.proof == "10 of 10 requests went through it, for 21 ms on average, with no limit"


def test_a_call_is_proven_by_its_function(tmp_path: Path) -> None:
    """A single call without a limit is named where it stands."""
    source = Source(MissingTimeout(), tmp_path, TEXT)
    call = source.site("http://pay", library="requests.post")
    (found,) = source.findings(traffic(10, blocked(0.030, call)))
    assert (found.line, found.function) == (call.line, "pay")


def test_code_that_no_request_ran_is_not_found(tmp_path: Path) -> None:
    """Candidates that the accounts do not show stay candidates."""
    source = Source(MissingTimeout(), tmp_path, TEXT)
    assert len(source.candidates) == 2
    assert source.findings(traffic(10, computed(0.020, site("other", 5)))) == []
