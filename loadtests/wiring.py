"""Between our parts and Locust: its options, its events, and the hand-over of the last figures at the end of a run.

At the end of a distributed run Locust's master tells its workers to quit, waits half a second, and stops listening. A
worker whose calls take longer than that to end reports to nobody, and the run looks shorter and better than it was. So
the master here first asks every worker to finish, and goes on when each has said that it has, or is missed by name:

    master                                     worker
    test_stopping ---- qfkit-finish --------->  lets calls under way end (at most `stop_timeout`)
                  <--- qfkit-finished --------  with all that was not reported yet
    Locust's own quit, which now finds the workers idle
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gevent
from locust.runners import STATE_MISSING, MasterRunner, Runner, WorkerRunner

from loadtests import report
from loadtests.plan import GRACE, PlanError, Traffic
from loadtests.recorder import Recorder
from loadtests.reporting import terminal
from loadtests.session import Gate, rehearse
from loadtests.tally import Ledger
from qfkit.client import ConfigurationError
from qfkit.protocol.dialects import INFERENCE_DIALECTS

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment
    from locust.event import EventHook, Events
    from locust.rpc import Message

logger = logging.getLogger(__name__)

_ONE_PROCESS = "--max-requests is kept by one process: leave out --processes, --master and --worker"
_FINISH, _FINISHED = "qfkit-finish", "qfkit-finished"
#: Seconds beyond the workers' own patience that the master waits for their last figures.
_TRANSIT = 5.0


class Bench:
    """What the users of one process share.

    Args:
        environment: Locust's.
        runner: its runner.
        traffic: what to send; None reads it from Locust's options, anew for each run, for its web page can change them.
    """

    def __init__(self, environment: Environment, runner: Runner, traffic: Traffic | None = None) -> None:
        self._environment = environment
        self._runner = runner
        self._given = traffic
        self._finished: set[str] = set()
        self._stopping = False
        self.recorder = Recorder("this process", cpu=time.process_time, now=time.monotonic)
        self.traffic = Traffic(host="")
        self.prompts: tuple[str, ...] = ()
        self.gate = Gate(self.traffic)

    @property
    def worker_index(self) -> int:
        """0 for the only process, else the number that the master gave."""
        return int(getattr(self._runner, "worker_index", 0))

    def prepare(self, host: str | None) -> None:
        """Make ready for users that send to ``host``; called by each, and settled by the first.

        Raises:
            PlanError: nothing may be sent as planned.
        """
        traffic = self._given or traffic_of(self._environment.parsed_options, host)
        if traffic == self.traffic:
            return
        traffic.check()
        if traffic.max_requests is not None and isinstance(self._runner, (MasterRunner, WorkerRunner)):
            raise PlanError(_ONE_PROCESS)
        self.prompts = traffic.texts()
        self.gate = Gate(traffic)
        self.traffic = traffic

    def stop_soon(self) -> None:
        """End the run from within a user, once."""
        if not self._stopping:
            self._stopping = True
            options = self._environment.parsed_options
            gevent.spawn(self._runner.quit if getattr(options, "headless", True) else self._runner.stop)

    def give_up(self, error: Exception) -> None:
        """End the run because it cannot be made as planned, and say why, once."""
        if not self._stopping:
            self._environment.process_exit_code = 2
            logger.error("qfkit: %s", error)
        self.stop_soon()

    def report(self, ledger: Ledger | None = None) -> dict[str, Any]:
        """What was measured so far, as data."""
        options = self._environment.parsed_options
        setting = report.Setting(
            host=self.traffic.host or self._environment.host or "",
            dialect=self.traffic.dialect,
            model=self.traffic.model,
            users=self._runner.target_user_count,
            run_time=getattr(options, "run_time", None),
            seed=self.traffic.seed,
            attempts=self.traffic.attempts,
        )
        return report.build(ledger or self.recorder.total, setting)

    # Listeners

    def on_test_start(self, **_: Any) -> None:
        """A new run: nothing measured, nothing prepared, the whole budget."""
        self.recorder.reset()
        self.traffic = Traffic(host="")
        self._stopping = False
        self._finished.clear()
        self._environment.process_exit_code = None

    def on_test_stopping(self, environment: Environment, **_: Any) -> None:
        """On the master: wait until every worker has handed over what it measured."""
        runner = self._runner
        expected = waiting = self._present()
        runner.send_message(_FINISH)
        deadline = time.monotonic() + environment.stop_timeout + _TRANSIT
        while (waiting := (waiting & self._present()) - self._finished) and time.monotonic() < deadline:
            gevent.sleep(0.02)
        for worker in sorted(expected - self._finished):
            self.recorder.lose(worker)

    def on_finished(self, msg: Message, **_: Any) -> None:
        """On the master: a worker's last figures are here."""
        self.recorder.worker_report(msg.node_id, msg.data)
        self._finished.add(msg.node_id)

    def on_finish(self, **_: Any) -> None:
        """On a worker: let calls under way end, then hand over, in a greenlet of its own: this one reads messages."""
        gevent.spawn(self._finish)

    def on_quitting(self, **_: Any) -> None:
        """On a worker that was told to end by somebody else than its master."""
        self._finish()

    def _finish(self) -> None:
        runner = self._runner
        assert isinstance(runner, WorkerRunner)
        runner.stop()
        data: dict[str, Any] = {}
        self.recorder.report_to_master(runner.client_id, data)
        runner.send_message(_FINISHED, data)

    def _present(self) -> set[str]:
        assert isinstance(self._runner, MasterRunner)
        return {client.id for client in self._runner.clients.all if client.state != STATE_MISSING}


_BENCHES: WeakKeyDictionary[Environment, Bench] = WeakKeyDictionary()


def bench_of(environment: Environment, host: str | None) -> Bench:
    """The bench of an environment, ready for users that send to ``host``.

    Raises:
        PlanError: nothing may be sent as planned, or the locustfile did not call `register`.
    """
    bench = _BENCHES.get(environment)
    if bench is None:
        raise PlanError(
            "these users report to qfkit's recorder, which is not there: call loadtests.wiring.register(locust.events) "
            "in the locustfile"
        )
    bench.prepare(host)
    return bench


def _on(hook: EventHook, listener: Callable[..., object]) -> None:
    hook.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust's types end here


def attach(environment: Environment, runner: Runner, traffic: Traffic | None = None) -> Bench:
    """Listen to everything that is needed of one environment. Calls under way get time to end: `GRACE`, unless set."""
    # The client logs every call and every failure. Here they are counted; a line for each would drown what counts.
    logging.getLogger("qfkit.client").setLevel(logging.CRITICAL)
    # Locust looks at the call stack when it stops. The first look reads sources for some 20 ms, in which no token of
    # the calls under way would be noticed: have it now.
    inspect.stack()
    bench = _BENCHES[environment] = Bench(environment, runner, traffic)
    events = environment.events
    environment.stop_timeout = environment.stop_timeout or GRACE
    _on(events.test_start, bench.on_test_start)
    if isinstance(runner, WorkerRunner):
        _on(events.report_to_master, bench.recorder.report_to_master)
        _on(events.quitting, bench.on_quitting)
        runner.register_message(_FINISH, bench.on_finish)
    elif isinstance(runner, MasterRunner):
        _on(events.worker_report, bench.recorder.worker_report)
        _on(events.test_stopping, bench.on_test_stopping)
        runner.register_message(_FINISHED, bench.on_finished)
    return bench


# As a locustfile


def register(events: Events) -> None:
    """Make a locustfile of the module that calls this: options, checks before the start, the report at the end."""
    if events in _REGISTERED:  # `locust -f qps.py,stream.py` loads two
        return
    _REGISTERED.append(events)
    _on(events.init_command_line_parser, add_options)
    _on(events.init, _on_init)


_REGISTERED: list[Events] = []


def add_options(parser: LocustArgumentParser) -> None:
    """Our options, for Locust's command line and, but for what may cost money, its web page.

    What cannot be run is refused as soon as the command line is read: later Locust has forked its workers, and a master
    that ends then leaves them behind for a minute.
    """
    default = Traffic(host="")
    add = parser.add_argument
    add("--dialect", choices=INFERENCE_DIALECTS, default=default.dialect, help="API family of Qianfan")
    add("--model", default="", help="Model to ask; empty for the client's default")
    add("--prompt", default="", help="The one text to send")
    add("--prompts", default="", metavar="<filename>", help="File of texts to send, one a line")
    add("--seed", type=int, default=default.seed, help="Seed of each user's choice of prompts")
    add("--attempts", type=int, default=default.attempts, help="Requests of one call at most; 1 never retries")
    add("--live", action="store_true", include_in_web_ui=False, help="Allow other hosts than this machine")
    add("--max-requests", type=int, include_in_web_ui=False, help="Budget of HTTP requests; --live demands one")
    add(
        "--report-json",
        default="",
        metavar="<filename>",
        include_in_web_ui=False,
        help="Write qfkit's report here, too",
    )
    parse = parser.parse_args

    def parse_args(*args: Any, **kwargs: Any) -> Any:
        options = parse(*args, **kwargs)
        try:
            _check(options)
        except (PlanError, ConfigurationError) as error:
            parser.exit(2, f"qfkit: {error}\n")
        return options

    parser.parse_args = parse_args


def _check(options: Namespace) -> None:
    if not options.host:  # it comes from the user class, the master or Locust's web page; each user looks at it then
        return
    traffic = traffic_of(options, options.host)
    if traffic.max_requests is not None and (options.processes or options.master or options.worker):
        raise PlanError(_ONE_PROCESS)
    rehearse(traffic)


def traffic_of(options: Namespace | None, host: str | None) -> Traffic:
    """What Locust's options ask for.

    Raises:
        PlanError: no host is given.
    """
    if not host:
        raise PlanError("no host: give --host http://127.0.0.1:8866, or wherever 'qfkit mock' listens")
    return Traffic(
        host=host.rstrip("/"),
        dialect=getattr(options, "dialect", "text_generation"),
        model=getattr(options, "model", "") or None,
        prompt=getattr(options, "prompt", "") or None,
        prompts=getattr(options, "prompts", "") or None,
        seed=getattr(options, "seed", 0),
        attempts=getattr(options, "attempts", 1),
        live=getattr(options, "live", False),
        max_requests=getattr(options, "max_requests", None),
    )


def _on_init(environment: Environment, runner: Runner, **_: Any) -> None:
    bench = attach(environment, runner)
    if not isinstance(runner, WorkerRunner):
        _on(environment.events.quit, lambda **_: _tell(environment, bench))


def _tell(environment: Environment, bench: Bench) -> None:
    options = environment.parsed_options
    data = bench.report()
    out = sys.stderr if getattr(options, "json", False) else sys.stdout  # Locust's own JSON has stdout to itself
    out.write(f"\n{terminal.render(data)}\n")
    if file := getattr(options, "report_json", ""):
        Path(file).write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", "utf-8")
