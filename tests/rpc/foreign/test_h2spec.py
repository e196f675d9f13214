"""h2spec, the conformance suite for HTTP/2 servers (RFC 9113) and HPACK (RFC 7541)."""

import asyncio
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.conftest import LoopFactory
from tests.rpc.foreign._processes import run
from tests.rpc.foreign._serving import serving

CASES = 146
PASSED_AT_LEAST = 139

# The cases that may fail, each with gRPC's own reason for what the server does instead.
_NO_TABLE = "our table size is 0, so that peers' header blocks can be remembered: any update above it is an error (6.3)"
ALLOWED: dict[str, str] = {
    "generic/5 Sends a dynamic table size update": _NO_TABLE,
    "generic/5 Sends multiple dynamic table size update": _NO_TABLE,
    "http2/5.1.2 Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded": (
        "requests that are no gRPC are answered in the next pass of the loop: sent slowly, too few are open at once"
    ),
}

REASON = re.compile(r"(?P<begin><(?P<tag>error|failure)>)(?P<text>.*?)(?P<end></(?P=tag)>)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What h2spec found in one case; `reason` is why it failed, empty when it passed or was skipped."""

    case: str
    passed: bool
    reason: str


def verdicts(report: Path) -> Iterator[Verdict]:
    """Yield each case of a JUnit report, named by its section and title as in `http2/6.5.3 Sends …`.

    h2spec writes what it got from the server as it came, so that it can be no XML.
    """
    text = report.read_text(errors="replace")
    for found in ET.fromstring(REASON.sub(_escaped, text).encode()).iter("testcase"):
        failure = found.find("error")
        if failure is None:
            failure = found.find("failure")
        reason = "" if failure is None else (failure.text or "no reason given").strip()
        passed = failure is None and found.find("skipped") is None
        yield Verdict(f"{found.get('package')} {found.get('classname')}", passed, reason)


def _escaped(reason: re.Match[str]) -> str:
    begin, text, end = reason.group("begin", "text", "end")
    return begin + escape("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)) + end


async def h2spec(executable: str, report: Path) -> list[Verdict]:
    """Run every case, the strict ones too, against a server."""
    async with serving() as port:
        where = ("-h", "127.0.0.1", "-p", str(port), "-P", "/grpc.testing.TestService/EmptyCall")
        await run(executable, *where, "-S", "-o", "1", "--junit-report", str(report), within=240)
    return list(verdicts(report))


@pytest.mark.timeout(300)
def test_every_group(peer: Callable[[str], str], loop_factory: LoopFactory, tmp_path: Path) -> None:
    """The server passes at least 139 of h2spec's 146 cases, and fails none but those that gRPC has a reason for."""
    executable = peer("h2spec")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        found = runner.run(h2spec(executable, tmp_path / "report.xml"))
    assert len(found) == CASES
    unexpected = {verdict.case: verdict.reason for verdict in found if verdict.reason and verdict.case not in ALLOWED}
    assert unexpected == {}
    assert sum(verdict.passed for verdict in found) >= PASSED_AT_LEAST


def test_report_is_understood(tmp_path: Path) -> None:
    """A report's cases are told apart, passed, failed and skipped, whatever bytes the server sent."""
    report = tmp_path / "report.xml"
    report.write_bytes(
        b"""<?xml version="1.0" encoding="UTF-8"?>
        <testsuites><testsuite name="6.5. SETTINGS" package="http2/6.5" id="6.5" tests="3">
          <testcase package="http2/6.5" classname="Sends one" time="0.1"></testcase>
          <testcase package="http2/6.5" classname="Sends two" time="0.1"><error>PING Frame (\0\xff<&)
            Timeout</error></testcase>
          <testcase package="http2/6.5" classname="Sends three" time="0.1"><skipped></skipped></testcase>
        </testsuite></testsuites>"""
    )
    passed, failed, skipped = verdicts(report)
    assert (passed.case, passed.passed, passed.reason) == ("http2/6.5 Sends one", True, "")
    assert (failed.passed, failed.reason.split()) == (False, ["PING", "Frame", "(?\ufffd<&)", "Timeout"])
    assert (skipped.passed, skipped.reason) == (False, "")
