"""``python -m loadtests.run PLAN``: one run of one scenario, in a process of its own; ``qfkit load`` turns into this.

PLAN is a `Plan` as JSON. Importing Locust patches sockets, locks and time for gevent, so this must be the first thing
that happens in the process: that is why `qfkit load` becomes this program instead of calling it.

With several workers this process is Locust's master, makes no load, and starts them as ``loadtests.run PLAN --worker
PORT``: fresh interpreters, not forks.

Exit codes: see `loadtests.judging.ending`; 2 when the plan cannot be run.
"""

from __future__ import annotations

import locust  # noqa: F401  # isort: skip - first: it patches the modules that all others use

import logging
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import gevent
import msgspec
from locust import runners
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from loadtests.bench import Bench
from loadtests.clientusers import CLIENT_USERS
from loadtests.judging.ending import finish
from loadtests.measuring.measures import Histogram
from loadtests.measuring.tally import Ledger
from loadtests.planning.plan import Plan
from loadtests.planning.spelling import PlanError
from loadtests.playing.climbing import Probe, climb
from loadtests.playing.control import Control
from loadtests.reporting import report
from loadtests.reporting.outputs import tell
from loadtests.reporting.progress import Moment, Progress, progress
from loadtests.sending.session import rehearse
from loadtests.users import USERS
from loadtests.wiring import attach
from qfkit.client import ConfigurationError

#: Seconds that a worker may take to start and to say that it is ready.
_START = 60.0
#: Seconds between a worker's reports: as often as progress is shown. Locust's 3 s would show it in leaps.
_REPORTS = 1.0


def main(arguments: list[str]) -> int:
    """Run the plan, print the report; the exit code."""
    try:
        plan = msgspec.json.decode(arguments[0].encode(), type=Plan)
    except (IndexError, msgspec.DecodeError) as error:
        sys.stderr.write(f"loadtests.run takes a plan as JSON ({error}); people use 'qfkit load'\n")
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if arguments[1:2] == ["--worker"]:
        return work(plan, int(arguments[2]))
    try:
        rehearse(plan)
        data, signum, wrong = _climbed(plan) if plan.scenario == "ceiling" else _ran(plan)
    except (PlanError, ConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if wrong and not sum(one["calls"] for one in data["scenarios"].values()):
        return wrong  # why has been said
    code = finish(data, slos=plan.slos, allow_failures=plan.allow_failures, signum=signum)
    try:
        tell(data, sys.stdout, as_json=plan.as_json, report_json=plan.report_json, html_report=plan.html_report)
    except OSError as error:
        sys.stderr.write(f"{error.filename} cannot be written: {error.strerror or error}\n")
        return 2
    return wrong or code


def _ran(plan: Plan) -> tuple[dict[str, Any], int, int]:
    """One run: its report, the signal that ended it, and the exit code of one that could not be made as planned."""
    run = Run(plan)
    signum = run.to_its_end()
    return run.bench.report(), signum, int(run.environment.process_exit_code or 0)


def _climbed(plan: Plan) -> tuple[dict[str, Any], int, int]:
    """The runs of a search for the ceiling, and the report of the highest that held; as `_ran`."""
    ends = [(0, 0)]

    def step(rate: float) -> dict[str, Any] | None:
        if any(ends[-1]):
            return None
        # This tool's own error is measured once, at the first rate.
        load, calibrate = msgspec.structs.replace(plan.load, rate=rate), plan.calibrate and len(ends) == 1
        data, *end = _ran(msgspec.structs.replace(plan, load=load, calibrate=calibrate))
        ends.append((end[0], end[1]))
        if sys.stderr.isatty():
            sys.stderr.write(f"{rate:g} calls/s: {sum(one['calls'] for one in data['scenarios'].values())} calls\n")
        return None if any(ends[-1]) else data

    parts = urlsplit(plan.traffic.host)
    probe = None if plan.traffic.live else Probe(Control.from_env(plan.traffic.host), parts.port)
    section, data = climb(plan.climb.search(plan.load.rate), step, slos=plan.slos, probe=probe)
    return (data or report.build(Ledger(), _nothing(plan))) | {"ceiling": section}, *ends[-1]


def _nothing(plan: Plan) -> report.Setting:
    """The setting of a search that was ended before its first step was."""
    traffic = plan.traffic
    return report.Setting(
        traffic.host, traffic.dialect, traffic.model, 0, plan.run_time, traffic.seed, traffic.attempts
    )


def _medians(durations: Mapping[str, Histogram]) -> dict[str, float]:
    """What is shown while a run goes on: title -> milliseconds."""
    found = {title: durations[name].quantiles(0.5) for name, title in (("ttft", "TTFT"), ("latency", "latency"))}
    return {title: values[0] * 1000 for title, values in found.items() if values}


def _environment(plan: Plan) -> Environment:
    return Environment(
        user_classes=[(USERS | CLIENT_USERS)[plan.scenario]],
        host=plan.traffic.host,
        stop_timeout=plan.grace,
        parsed_options=Namespace(headless=True, run_time=plan.run_time, enable_rebalancing=False, web_base_path=""),
    )


def work(plan: Plan, port: int) -> int:
    """Be a worker of the master at this port of this machine, until it says that it is over."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # they reach the master, too, and the master tells its workers
        signal.signal(signum, signal.SIG_IGN)
    runners.WORKER_REPORT_INTERVAL = _REPORTS
    environment = _environment(plan)
    runner = environment.create_worker_runner("127.0.0.1", port)
    attach(environment, runner, plan)
    runner.greenlet.join()
    return int(environment.process_exit_code or 0)


class Run:
    """A run that this process makes, or is the master of, from start to report."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.environment = _environment(plan)
        self.runner: LocalRunner | MasterRunner = (
            self.environment.create_local_runner()
            if plan.workers == 1
            else self.environment.create_master_runner("127.0.0.1", 0)
        )
        self.bench: Bench = attach(self.environment, self.runner, plan)
        self._signal = 0

    def to_its_end(self) -> int:
        """Start the users, wait for the end, let calls under way end; the signal if one came.

        Raises:
            PlanError: a worker did not start.
        """
        for signum in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(signum, self._interrupted, signum)
        workers = self._start_workers()
        users = self.plan.workers if self.plan.load.open else self.plan.users
        self.runner.start(users, self.plan.spawn_rate)
        clock = gevent.spawn(self._quit_in_time)
        shown = progress(sys.stderr, self.plan.run_time)
        watch = gevent.spawn(self._watch, shown)
        self.runner.greenlet.join()
        clock.kill()
        watch.kill()
        shown.close()
        for worker in workers:
            worker.wait()
        return self._signal

    def _start_workers(self) -> list[subprocess.Popen[bytes]]:
        runner = self.runner
        if not isinstance(runner, MasterRunner):
            return []
        plan = msgspec.json.encode(self.plan).decode()
        arguments = [sys.executable, "-m", "loadtests.run", plan, "--worker", str(runner.server.port)]
        workers = [subprocess.Popen(arguments) for _ in range(self.plan.workers)]  # noqa: S603 - our own module
        deadline = time.monotonic() + _START
        while len(runner.clients.ready) < len(workers):
            ended = [worker for worker in workers if worker.poll() is not None]
            if ended or time.monotonic() > deadline:
                for worker in workers:
                    worker.kill()
                raise PlanError(f"only {len(runner.clients.ready)} of {len(workers)} workers started")
            gevent.sleep(0.02)
        return workers

    def _quit_in_time(self) -> None:
        while not self.bench.begun:  # calibration comes first
            gevent.sleep(0.005)
        # gevent's timers count from when its loop last woke up, which after imports and heavy work is a while ago.
        while not self.bench.begun:  # making ready may take a while
            gevent.sleep(0.01)
        while (left := self.bench.begun + self.plan.run_time - time.time()) > 0:
            gevent.sleep(left)
        self.runner.quit()

    def _interrupted(self, signum: int) -> None:
        if self._signal:  # the second time: now
            self.bench.cut()
            return
        self._signal = signum
        gevent.spawn(self.runner.quit)

    def _watch(self, shown: Progress) -> None:
        last, before = time.monotonic(), 0
        while True:
            gevent.sleep(1.0)
            # The last second's figures only: to sort those of the whole run each time would disturb it.
            fresh = self.bench.recorder.take()
            now, total = time.monotonic(), self.bench.recorder.so_far
            rate = (total.calls - before) / (now - last)
            elapsed = max(0.0, time.time() - self.bench.begun) if self.bench.begun else 0.0  # calibration comes first
            shown.show(self._moment(fresh, elapsed=elapsed, rate=rate))
            last, before = now, total.calls

    def _moment(self, fresh: Ledger, *, elapsed: float, rate: float) -> Moment:
        total, late = self.bench.recorder.so_far, None
        medians: dict[str, float] = {}
        if (tally := next(iter(fresh.tallies.values()), None)) is not None:
            medians = _medians(tally.durations)
            late = tally.late.quantiles(1.0)[0] * 1000 if tally.late.count else None
        elif (tally := next(iter(total.tallies.values()), None)) is not None:
            # What workers report is added up at once; the last second that is whole then stands in the timeline.
            cells = [cell for _, cell in tally.timeline.rows()][-3:-1]
            medians = _medians({"ttft": cells[-1].ttft, "latency": cells[-1].latency}) if cells else {}
        return Moment(
            elapsed=elapsed,
            users=None if self.plan.load.open else self.runner.user_count,
            calls=total.calls,
            failed=total.failed,
            rate=rate,
            medians=medians,
            in_flight=self.bench.in_flight,
            late=late,
        )


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Without tearing the interpreter down: on Python 3.10 logging then takes locks of a gevent that is gone already,
    # and each process says so in a page of "Exception ignored".
    os._exit(code)
