"""A profile of an app under load: serve it, drive a plan, capture meanwhile, end it.

    start ──▶ warm up ──▶ drive (generator: the last core) ──▶ stop driving ──▶ read ──▶ end
                           └─ capture (the service's cores) ─┘

What was captured is read when the load has stopped: reading takes the interpreter's lock, and would make the generator
late. Whatever happens, the service is ended before it returns or raises.
"""

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError, InvalidMeasurement, TargetUnreachable
from hasten._core.interruption import run_interruptible
from hasten._core.processes import ServiceProcess, cores, split_cores, termination_unwinds
from hasten.load import Generator, LoadResult, Plan, Progress
from hasten.profiling._options import CaptureOptions
from hasten.profiling._profile import Profile, Requests
from hasten.profiling._pyspy import find_pyspy, record
from hasten.profiling._remote import fetch_profile

Announce = Callable[[str], None]
_LIVE = re.compile(r"^hasten: .* is seen live on (http://\S+)", re.MULTILINE)
_ADMIN_WITHIN = 10.0  # seconds after it listens
_POLL = 0.05  # seconds
_ATTACHING = 30.0  # seconds that are driven on top, at most: capturing begins late by what py-spy takes to attach


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An app that is to be served.

    Attributes:
      app: `module:app`.
      service: Its name; empty for its default.
      start_timeout: Seconds until it must listen.
      token: Of the admin port, where the app opens one itself that wants it.
    """

    app: str
    service: str = ""
    start_timeout: float = 60.0
    token: str = ""


def profile_app(served: Served, plan: Plan, options: CaptureOptions, *, announce: Announce = lambda _: None) -> Profile:
    """Serve the app, drive the plan, and return a profile of `options.seconds` behind the plan's warm-up.

    Args:
      plan: HTTP requests; its target is replaced by the app's address, its duration by `options.seconds`.
      announce: Told what is going on, in a few words, as often as it changes.
    Raises:
      ConfigurationError: app, plan or options are wrong.
      MissingDependency: the engine is not there.
      TargetUnreachable: the app does not start or does not answer, or the engine may not attach.
      InvalidMeasurement: the load cannot be trusted, or no request was answered as expected.
    Cancellation: an interrupt, or SIGTERM on the main thread, ends the app first and is then raised on.
    """
    if plan.rate * options.seconds < 1:
        problem = f"{plan.rate:g} requests a second are none in {options.seconds:g} s"
        raise ConfigurationError(plan.place("rate"), problem, "raise it, or profile for longer")
    if plan.grpc:
        raise ConfigurationError("--plan", "an app is driven over HTTP, this plan calls gRPC", "name an HTTP route")
    if options.engine == "py-spy":
        find_pyspy()
    theirs, ours = split_cores()
    with tempfile.TemporaryDirectory(prefix="hasten-") as scratch, termination_unwinds():
        announce("starting")
        with cores(theirs):
            process = _started(served, options, Path(scratch))
        with process, cores(ours):
            url = process.wait_listening(served.start_timeout)
            plan = plan.with_target(url).with_settings(duration=options.seconds + _ATTACHING)
            session = _Session(process, served, options, theirs, announce)
            profile, result = run_interruptible(lambda: session.run(plan), _new_loop)
            announce("stopping")
    return _told(profile, result, plan, served)


def _started(served: Served, options: CaptureOptions, scratch: Path) -> ServiceProcess:
    environment = {"HASTEN_PROFILES": str(scratch / "profiles")}  # what it would keep is what is returned
    if options.engine == "py-spy":  # which is no parent of it: Yama would not let it trace what has not opened itself
        environment |= {"HASTEN_ADMIN": "off", "HASTEN_PROFILE": "1"}
    else:
        environment |= {"HASTEN_ADMIN": "127.0.0.1:0", "HASTEN_ADMIN_TOKEN": served.token, "HASTEN_PROFILE": "0"}
    command = [sys.executable, "-m", "hasten", "run", served.app, "--host", "127.0.0.1", "--port", "0"]
    command += ["--service", served.service] if served.service else []
    return ServiceProcess(served.app, command, environment=environment, log=scratch / "output.log")


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # not to be had on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Abandoned(Exception):
    """Raised in the thread that waits for a profile when nobody wants it any more."""


class _Session:
    """Drives a plan and captures meanwhile, once.

    Args:
      process: Serves the app, and listens.
      theirs: The service's cores, which py-spy runs on, too: on the generator's it would make that late.
    """

    def __init__(
        self,
        process: ServiceProcess,
        served: Served,
        options: CaptureOptions,
        theirs: set[int] | None,
        announce: Announce,
    ) -> None:
        self._process = process
        self._options = options
        self._theirs = theirs
        self._announce = announce
        self._token = served.token
        self._admin = "" if options.engine == "py-spy" else _admin_url(process)
        self._warm = asyncio.Event()
        self._abandoned = False

    async def run(self, plan: Plan) -> tuple[Profile, LoadResult]:
        """Return the profile, and what the load was: one that was stopped as soon as it was captured.

        Raises:
          HastenError: as `profile_app` says.
        Cancellation: ends both.
        """
        generator = Generator(plan, on_progress=self._warming)
        driving = asyncio.create_task(generator.run())
        capturing = asyncio.create_task(self._captured(generator))
        try:
            await asyncio.wait((driving, capturing), return_when=asyncio.FIRST_EXCEPTION)
            self._process.require_running()
            for task in (driving, capturing):
                if task.done():
                    task.result()
            return capturing.result(), generator.result()
        finally:
            self._abandoned = True
            driving.cancel()
            capturing.cancel()
            await asyncio.gather(driving, capturing, return_exceptions=True)

    async def _captured(self, generator: Generator) -> Profile:
        await self._warm.wait()
        loop = asyncio.get_running_loop()

        def over() -> None:
            loop.call_soon_threadsafe(generator.stop)

        if not self._admin:
            pid = self._process.pid
            return await record(pid, self._options, on=self._theirs, announce=self._announce, over=over)
        return await asyncio.to_thread(
            fetch_profile, self._admin, self._options, token=self._token, announce=self._tell, over=over
        )

    def _warming(self, progress: Progress) -> None:
        if progress.warming:
            self._announce("warming up")
        else:
            self._warm.set()

    def _tell(self, text: str) -> None:
        if self._abandoned:
            raise _Abandoned
        self._announce(text)


def _admin_url(process: ServiceProcess) -> str:
    """Return where the service says that it is seen live.

    Raises:
      TargetUnreachable: it has ended, or does not say so.
    """
    deadline = time.monotonic() + _ADMIN_WITHIN
    while time.monotonic() < deadline:
        if match := _LIVE.search(process.log.read_text(encoding="utf-8", errors="replace")):
            return match[1]
        process.require_running()
        time.sleep(_POLL)
    raise TargetUnreachable(process.name, "opens no admin port", "take --engine py-spy, which needs none")


def _told(profile: Profile, result: LoadResult, plan: Plan, served: Served) -> Profile:
    """Return the profile with what the load tells about it.

    Raises:
      InvalidMeasurement: the load cannot be trusted, or no request was answered as expected.
    """
    total = result.require_valid().total
    failed = ", ".join(f"{count} {kind}" for kind, count in {**total.errors, **total.statuses}.items())
    if not total.answered:
        remedy = "correct the plan, or see what the app writes with hasten run"
        raise InvalidMeasurement("requests", f"none of {total.offered} was answered as expected ({failed})", remedy)
    notes = [f"{total.failed} of {total.offered} requests were not answered as expected ({failed})."] * bool(failed)
    counted = round(total.answered * min(1.0, profile.seconds / result.measured))
    return msgspec.structs.replace(
        profile,
        service=profile.service or served.service or served.app.partition(":")[0].rpartition(".")[2],
        requests=profile.requests or (Requests("", max(1, counted)),),
        labels=profile.labels | {"app": served.app, "plan": Path(plan.source).name, "load": f"{plan.rate:g}/s"},
        notes=(*profile.notes, *notes),
    )
