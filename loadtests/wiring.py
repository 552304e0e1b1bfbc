"""Between our parts and Locust: its options, its events, its web page."""

from __future__ import annotations

import inspect
import logging
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gevent
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtests.bench import BEGIN, FINISH, FINISHED, PROCESSES, Bench, of_locust
from loadtests.judging.ending import finish
from loadtests.planning.options import Option, options
from loadtests.planning.plan import GRACE, Plan, plan_of
from loadtests.planning.spelling import PlanError
from loadtests.reporting.outputs import tell
from loadtests.sending.session import rehearse
from loadtests.webpage import add_tab
from qfkit.client import ConfigurationError

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment
    from locust.event import EventHook, Events

_BENCHES: WeakKeyDictionary[Environment, Bench] = WeakKeyDictionary()


def bench_of(environment: Environment, host: str | None, scenario: str) -> Bench:
    """The bench of an environment, ready for users of a scenario that send to ``host``.

    Raises:
        PlanError: nothing may be sent as planned, or the locustfile did not call `register`.
    """
    bench = _BENCHES.get(environment)
    if bench is None:
        raise PlanError(
            "these users report to qfkit's recorder, which is not there: call loadtests.wiring.register(locust.events) "
            "in the locustfile"
        )
    bench.prepare(host, scenario)
    return bench


def _on(hook: EventHook, listener: Callable[..., object]) -> None:
    hook.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust's types end here


def attach(environment: Environment, runner: Runner, plan: Plan | None = None) -> Bench:
    """Listen to everything that is needed of one environment. Calls under way get time to end: `GRACE`, unless set."""
    # The client logs every call and every failure. Here they are counted; a line for each would drown what counts.
    logging.getLogger("qfkit.client").setLevel(logging.CRITICAL)
    # Locust looks at the call stack when it stops. The first look reads sources for some 20 ms, in which no token of
    # the calls under way would be noticed: have it now.
    inspect.stack()
    # gevent's timers count from when its loop last looked at the clock, which was before all imports: a run of a second
    # would be over before it began.
    gevent.get_hub().loop.update_now()
    bench = _BENCHES[environment] = Bench(environment, runner, plan)
    events = environment.events
    environment.stop_timeout = environment.stop_timeout or GRACE
    _on(events.test_start, bench.on_test_start)
    if isinstance(runner, MasterRunner):
        _on(events.worker_report, bench.recorder.worker_report)
        _on(events.test_stopping, bench.on_test_stopping)
        runner.register_message(FINISHED, bench.on_finished)
    else:
        _on(events.test_stopping, bench.on_load_stopping)
    if isinstance(runner, WorkerRunner):
        _on(events.report_to_master, bench.recorder.report_to_master)
        _on(events.quitting, bench.on_quitting)
        runner.register_message(BEGIN, bench.on_begin)
        runner.register_message(FINISH, bench.on_finish)
    else:
        _on(events.test_stop, bench.on_test_stop)
    return bench


# As a locustfile


def register(events: Events, *scenarios: str) -> None:
    """Make a locustfile of the module that calls this: options, checks before the start, the report at the end.

    Args:
        events: Locust's.
        scenarios: that the module's users play, to see before the start whether they can.
    """
    if events not in _REGISTERED:  # `locust -f qps.py,stream.py` loads two
        _on(events.init_command_line_parser, _add_options)
        _on(events.init, _on_init)
    _REGISTERED.setdefault(events, set()).update(scenarios)


_REGISTERED: WeakKeyDictionary[Events, set[str]] = WeakKeyDictionary()


def _add_options(parser: LocustArgumentParser) -> None:
    """Our options, for Locust's command line and, but for what may cost money, its web page.

    What cannot be run is refused as soon as the command line is read: later Locust has forked its workers, and a master
    that ends then leaves them behind for a minute.
    """
    for option in options("locust"):
        parser.add_argument(option.flags, **_argument(option))
    parse = parser.parse_args

    def parse_args(*args: Any, **kwargs: Any) -> Any:
        given = parse(*args, **kwargs)
        try:
            _check(given)
        except (PlanError, ConfigurationError) as error:
            parser.exit(2, f"qfkit: {error}\n")
        return given

    parser.parse_args = parse_args


def _argument(option: Option) -> dict[str, Any]:
    argument: dict[str, Any] = {"dest": option.name, "help": option.help.replace("%", "%%")}
    if not option.web:
        argument["include_in_web_ui"] = False
    if option.kind is bool:
        return argument | {"action": "store_true"}
    if option.many:
        return argument | {"action": "append", "metavar": option.metavar}
    if option.kind is not str:
        return argument | {"type": option.kind, "default": option.default, "metavar": option.metavar}
    argument["default"] = option.default or ""  # Locust's web page has no other way to say nothing
    if option.choices:
        return argument | {"choices": option.choices if option.default else ("", *option.choices)}
    return argument | {"metavar": option.metavar}


def _check(given: Namespace) -> None:
    if not given.host:  # it comes from the user class, the master or Locust's web page; each user looks at it then
        return
    limits = (given.max_requests, given.max_tokens, given.max_cost, given.max_qps)
    if any(limit is not None for limit in limits) and (given.processes or given.master or given.worker):
        raise PlanError(PROCESSES)
    for scenario in sorted(*_REGISTERED.values()) or ("",):
        rehearse(plan_of(of_locust(vars(given)), scenario=scenario, host=given.host))


def _on_init(environment: Environment, runner: Runner, **_: Any) -> None:
    bench = attach(environment, runner)
    if isinstance(runner, WorkerRunner):
        return
    _on(environment.events.quitting, lambda **_: _settle(environment, bench))
    _on(environment.events.quit, lambda **_: _tell(environment, bench))
    if environment.web_ui is not None:
        add_tab(environment, bench.report)


def _ended(environment: Environment, bench: Bench) -> tuple[dict[str, Any], int]:
    """The report of a run that has ended, and its exit code."""
    given, data, plan = environment.parsed_options, bench.report(), bench.plan
    allowed = plan.allow_failures or getattr(given, "exit_code_on_error", 1) == 0
    return data, finish(data, slos=plan.slos, allow_failures=allowed)


def _settle(environment: Environment, bench: Bench) -> None:
    """Set the exit code before Locust settles on its own."""
    if not bench.begun:  # its web page was opened and closed again
        return
    _, code = _ended(environment, bench)
    if bench.plan.slos or code > 1:  # else Locust decides: --exit-code-on-error is about failed calls
        environment.process_exit_code = environment.process_exit_code or code


def _tell(environment: Environment, bench: Bench) -> None:
    data, _ = _ended(environment, bench)
    out = sys.stderr if getattr(environment.parsed_options, "json", False) else sys.stdout  # Locust's own has stdout
    out.write("\n")
    tell(data, out, report_json=bench.plan.report_json, html_report=bench.plan.html_report)
