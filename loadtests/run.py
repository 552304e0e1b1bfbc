"""``python -m loadtests.run PLAN``: one run of one scenario, in a process of its own; ``qfkit load`` turns into this.

PLAN is a `Plan` as JSON. Importing Locust patches sockets, locks and time for gevent, so this must be the first thing
that happens in the process: that is why `qfkit load` becomes this program instead of calling it.

Exit codes: 0 all calls were good, or failures are allowed; 1 some failed; 2 the plan cannot be run; 3 no call ended, so
nothing was measured; 128 + signal after Ctrl-C or SIGTERM, with a report of what was measured until then.
"""

from __future__ import annotations

import locust  # noqa: F401  # isort: skip - first: it patches the modules that all others use

import json
import logging
import signal
import sys
import time
from argparse import Namespace
from typing import TextIO

import gevent
import msgspec
from locust.env import Environment
from locust.runners import LocalRunner

from loadtests.plan import Plan, PlanError
from loadtests.reporting import terminal
from loadtests.session import rehearse
from loadtests.tally import Ledger
from loadtests.users import ChatUser, QianfanUser, StreamUser
from loadtests.wiring import Bench, attach
from qfkit.client import ConfigurationError

USERS: dict[str, type[QianfanUser]] = {user.scenario: user for user in (ChatUser, StreamUser)}


def main(arguments: list[str]) -> int:
    """Run the plan, print the report; the exit code."""
    try:
        plan = msgspec.json.decode(arguments[0].encode(), type=Plan)
    except (IndexError, msgspec.DecodeError) as error:
        sys.stderr.write(f"loadtests.run takes a plan as JSON ({error}); people use 'qfkit load'\n")
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        rehearse(plan.traffic)
    except (PlanError, ConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    run = Run(plan)
    ledger, signum = run.to_its_end()
    data = run.bench.report(ledger)
    sys.stdout.write(f"{json.dumps(data, ensure_ascii=False) if plan.as_json else terminal.render(data)}\n")
    if code := run.environment.process_exit_code:
        return int(code)
    if signum:
        return 128 + signum
    if run.runner.exceptions:
        return 3
    return exit_code(ledger, plan)


def exit_code(ledger: Ledger, plan: Plan) -> int:
    """What a run that came to its end is worth."""
    if not ledger.calls:
        return 3
    return 1 if ledger.failed and not plan.allow_failures else 0


class Run:
    """A run in this process, from start to report."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.environment = Environment(
            user_classes=[USERS[plan.scenario]],
            host=plan.traffic.host,
            stop_timeout=plan.grace,
            parsed_options=Namespace(headless=True, run_time=plan.run_time),
        )
        self.runner: LocalRunner = self.environment.create_local_runner()
        self.bench: Bench = attach(self.environment, self.runner, plan.traffic)
        self._signal = 0

    def to_its_end(self) -> tuple[Ledger, int]:
        """Start the users, wait for the end, let calls under way end: what was measured, and the signal if one came."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(signum, self._interrupted, signum)
        self.runner.start(self.plan.users, self.plan.spawn_rate)
        clock = gevent.spawn(self._quit_in_time)
        progress = gevent.spawn(self._progress, sys.stderr) if sys.stderr.isatty() else None
        self.runner.greenlet.join()
        clock.kill()
        if progress is not None:
            progress.kill()
            sys.stderr.write("\r\x1b[K")
        return self.bench.recorder.total, self._signal

    def _quit_in_time(self) -> None:
        # gevent's timers count from when its loop last woke up, which after imports and heavy work is a while ago.
        end = time.monotonic() + self.plan.run_time
        while (left := end - time.monotonic()) > 0:
            gevent.sleep(left)
        self.runner.quit()

    def _interrupted(self, signum: int) -> None:
        if self._signal:  # the second time: now
            self.runner.user_greenlets.kill(block=False)
            return
        self._signal = signum
        gevent.spawn(self.runner.quit)

    def _progress(self, out: TextIO) -> None:
        start = last = time.monotonic()
        while True:
            gevent.sleep(1.0)
            # The last second's figures only: to sort those of the whole run each time would disturb it.
            fresh = self.bench.recorder.take()
            now = time.monotonic()
            out.write(f"\r\x1b[K{self._line(fresh, now - start, now - last)}")
            out.flush()
            last = now

    def _line(self, fresh: Ledger, elapsed: float, seconds: float) -> str:
        total = self.bench.recorder.so_far
        line = f"{elapsed:4.0f}/{self.plan.run_time:g} s  {self.runner.user_count} users  {total.calls} calls"
        line += f"  {total.failed} failed  {fresh.calls / seconds:.1f}/s"
        tally = fresh.tallies.get(self.plan.scenario)
        for name, title in (("ttft", "TTFT"), ("latency", "latency")):
            if tally is not None and (median := tally.durations[name].quantiles(0.5)):
                line += f"  p50 {title} {median[0] * 1000:.1f} ms"
        return line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
