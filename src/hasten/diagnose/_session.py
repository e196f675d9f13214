"""The doctor's session: start the service with every request recorded, drive it, end it, read its recordings.

    start ──▶ warm up, drive (the load generator, on a core of its own) ──▶ end ──▶ read ──▶ diagnose

`examine` is the whole session, `examine_recordings` its second half over recordings made earlier. Whatever
happens, the service is ended before it returns or raises.
"""

import math
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import hasten
from hasten._core.errors import ConfigurationError, InvalidMeasurement, TargetUnreachable
from hasten._core.processes import ServiceProcess, answers, cores, split_cores, termination_unwinds
from hasten.diagnose import _recordings as recordings
from hasten.diagnose._diagnose import diagnose
from hasten.diagnose._recordings import Circumstances
from hasten.diagnose._source import Module
from hasten.diagnose._static import python_files, read_project
from hasten.diagnose.report import ClientGap, Environment, LoadSummary, Report
from hasten.ledger import Account
from hasten.load import LoadResult, Plan, Progress, run

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined: an app that the doctor serves, or a command that starts services.

    Attributes:
      app: `module:app`; empty with a command.
      command: Command line as a shell would split it; empty with an app.
      service: Name of the app's service; empty for its default.
      start_timeout: Seconds until it must answer.
    """

    app: str = ""
    command: str = ""
    service: str = ""
    start_timeout: float = 60.0


def examine(
    subject: Subject, plan: Plan, sources: Sequence[Path], *, keep: Path | None = None, announce: Announce
) -> Report:
    """Start the subject, drive the plan, end the subject and diagnose what it recorded.

    Args:
      plan: With the target that a command's services answer at; an app's own address replaces it.
      sources: Directories or files with the services' code.
      keep: Directory that keeps the recordings; None removes them at the end.
      announce: Told what is going on, in a few words, as often as it changes.
    Raises:
      ConfigurationError: app, command, plan or directory are wrong.
      TargetUnreachable: the subject does not start or does not answer.
      InvalidMeasurement: the load or the recordings cannot be trusted.
    Cancellation: an interrupt, or SIGTERM on the main thread, ends the subject first and is then raised on.
    """
    with tempfile.TemporaryDirectory(prefix="hasten-") as scratch, termination_unwinds():
        directory = keep or Path(scratch, "recordings")
        recordings.prepare(directory)
        result = _record(subject, plan, directory, Path(scratch, "output.log"), announce)
        result.require_valid()
        announce("reading the recordings")
        accounts = _measured(recordings.read(directory), result)
        circumstances = Circumstances(_summary(result), _gap(accounts, result))
        recordings.write_circumstances(directory, circumstances)
        return _report(accounts, sources, circumstances, announce)


def examine_recordings(directory: Path, sources: Sequence[Path], *, announce: Announce) -> Report:
    """Diagnose recordings made earlier, by a session that kept them or by `hasten run --record`.

    Raises:
      ConfigurationError: the directory holds no recordings.
    """
    announce("reading the recordings")
    accounts = recordings.read(directory)
    if not accounts:
        remedy = "make some with hasten doctor --keep or hasten run --record"
        raise ConfigurationError(str(directory), "no recorded requests (*.accounts) here", remedy)
    circumstances = recordings.read_circumstances(directory)
    if circumstances is not None:
        accounts = [account for account in accounts if account.started >= circumstances.load.started]
    return _report(accounts, sources, circumstances, announce)


def _record(subject: Subject, plan: Plan, directory: Path, log: Path, announce: Announce) -> LoadResult:
    """Drive the plan against the started subject; it is ended on return."""
    announce("starting")
    # A command may start many processes, which need all cores; an app is one, and the generator gets a core of its own.
    theirs, ours = split_cores() if subject.app else (None, None)
    with cores(theirs):
        process = _started(subject, plan, directory, log)
    with process, cores(ours):
        if subject.app:
            plan = plan.with_target(process.wait_listening(subject.start_timeout))
        else:
            process.wait_answering(plan.target, subject.start_timeout)
        result = run(plan, on_progress=lambda progress: announce(_progress(progress)), request_ids=True)
        if result.partial:
            raise KeyboardInterrupt
        announce("stopping")
    return result


def _started(subject: Subject, plan: Plan, directory: Path, log: Path) -> ServiceProcess:
    environment = {"HASTEN_RECORD": str(directory.absolute())}
    if subject.app:
        command = [sys.executable, "-m", "hasten", "run", subject.app, "--host", "127.0.0.1", "--port", "0"]
        command += ["--service", subject.service] if subject.service else []
        return ServiceProcess(subject.app, command, environment=environment, log=log)
    try:
        words = shlex.split(subject.command)
    except ValueError as error:
        raise ConfigurationError("--start", f"{subject.command!r} does not parse: {error}") from error
    if not words:
        raise ConfigurationError("--start", "the command is empty")
    if answers(plan.target, 1.0):
        raise TargetUnreachable("--start", f"{plan.target} answers before the command has started it", "stop it first")
    return ServiceProcess(f"--start {words[0]!r}", words, environment=environment, log=log)


def _progress(progress: Progress) -> str:
    left = max(progress.planned - progress.elapsed, 0.0)
    doing = "warming up" if progress.warming else f"driving, {progress.offered:,} answered"
    return f"{doing}, {left:.0f} s left"


def _measured(accounts: list[Account], result: LoadResult) -> list[Account]:
    """Return the accounts of the measured part.

    Raises:
      InvalidMeasurement: there are none.
    """
    began = result.started_at + result.warmup
    measured = [account for account in accounts if account.started >= began]
    if not measured:
        remedy = "serve with hasten run, which records into HASTEN_RECORD" if not accounts else "drive it for longer"
        raise InvalidMeasurement("recordings", "no request of the measured part was recorded", remedy)
    return measured


def _summary(result: LoadResult) -> LoadSummary:
    total = result.total
    errors = {kind: count for kind, count in total.errors.items() if kind != "status"} | total.statuses
    return LoadSummary(
        target=result.target,
        rate=result.rate,
        seconds=result.measured,
        warmup=result.warmup,
        started=result.started_at + result.warmup,
        sent=total.offered,
        answered=total.answered,
        errors=errors,
        lateness_p99=result.lateness_p99,
    )


def _gap(accounts: Iterable[Account], result: LoadResult) -> ClientGap | None:
    """Return what the client waited beyond the accounts; None when nothing matches.

    A service may pass its request id on: the account that began first is the one the client waited for.
    """
    rows = result.requests.rows() if result.requests is not None else ()
    latencies = {str(number): latency for number, latency, _ in rows}
    first: dict[str, Account] = {}
    for account in accounts:
        known = first.get(account.request_id)
        if account.request_id in latencies and (known is None or account.started < known.started):
            first[account.request_id] = account
    gaps = sorted(latencies[name] - account.wall - account.unread for name, account in first.items())
    gaps = [gap for gap in gaps if math.isfinite(gap)]
    return ClientGap(len(gaps), _quantile(gaps, 0.5), _quantile(gaps, 0.99)) if gaps else None


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _report(
    accounts: list[Account], sources: Sequence[Path], circumstances: Circumstances | None, announce: Announce
) -> Report:
    announce("diagnosing")
    modules, notes = _modules(sources)
    if circumstances is None:
        notes.insert(0, "recordings of unknown load: warm-up requests, if any, are among them")
    return Report(
        diagnosis=diagnose(accounts, modules),
        environment=_environment(),
        load=circumstances.load if circumstances else None,
        gap=circumstances.gap if circumstances else None,
        notes=tuple(notes),
    )


def _modules(sources: Sequence[Path]) -> tuple[list[Module], list[str]]:
    """Return the parsed source files, and a sentence for those that could not be read."""
    project, unreadable = read_project(python_files(sources))
    more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
    notes = [f"not read: {unreadable[0].file}: {unreadable[0].reason}{more}"] if unreadable else []
    return list(project.modules.values()), notes


def _environment() -> Environment:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Environment(
        made=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        hasten=hasten.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpus=usable,
    )
