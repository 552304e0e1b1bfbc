"""What the users of one process share, and how a run begins and ends in it.

At the end of a distributed run Locust's master tells its workers to quit, waits half a second, and stops listening. A
worker whose calls take longer than that to end reports to nobody, and the run looks shorter and better than it was. So
the master here first asks every worker to finish, and goes on when each has said that it has, or is missed by name:

    master                                     worker
    test_stopping ---- qfkit-finish --------->  lets calls under way end (at most `stop_timeout`)
                  <--- qfkit-finished --------  with all that was not reported yet
    Locust's own quit, which now finds the workers idle

At its beginning, the master tells each worker which share of an open load is its own, and the moment that all count
from.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import gevent
from locust.runners import STATE_MISSING, MasterRunner, Runner, WorkerRunner

from loadtests.judging.slo import per_call, per_call_texts
from loadtests.measuring.recorder import Recorder
from loadtests.pacer import Pacer
from loadtests.planning.arrivals import moments_of, share
from loadtests.planning.plan import ONE_PROCESS, Plan, Traffic, plan_of
from loadtests.planning.play import PLAYS
from loadtests.planning.prompts import Prompt, Prompts, longest_prompt, prompts_of
from loadtests.planning.spelling import PlanError
from loadtests.playing.control import Control
from loadtests.playing.endurance import interval, listens, resident, soak_section
from loadtests.playing.plays import LOOK_EVERY, Stage, unseen
from loadtests.reporting import report
from loadtests.reporting.outputs import SampleFile
from loadtests.sending.calls import Mix
from loadtests.sending.clients import CLIENTS, ready
from loadtests.sending.session import Gate
from loadtests.trusting.trust import Trust

if TYPE_CHECKING:
    from locust.env import Environment
    from locust.rpc import Message

    from loadtests.measuring.tally import Ledger
    from loadtests.users import QianfanUser

logger = logging.getLogger(__name__)

PROCESSES = f"{ONE_PROCESS}: leave out --workers, --processes, --master and --worker"
FINISH, FINISHED, BEGIN = "qfkit-finish", "qfkit-finished", "qfkit-begin"
#: Seconds beyond the workers' own patience that the master waits for their last figures.
_TRANSIT = 5.0
#: Seconds from the start of a run to the moment that an open load counts from: users are made ready in them.
_LEAD, _LEAD_OF_WORKERS = 0.2, 1.0

_NONE = Plan(scenario="", traffic=Traffic(host=""))


class Bench:
    """What the users of one process share.

    Args:
        environment: Locust's.
        runner: its runner.
        plan: what to do; None reads it from Locust's options, anew for each run, for its web page can change them.
    """

    def __init__(self, environment: Environment, runner: Runner, plan: Plan | None = None) -> None:
        self.environment = environment
        self._runner = runner
        self._given = plan
        self._finished: set[str] = set()
        self._stopping = False
        self._pacer: Pacer | None = None
        #: Of an open load: index, processes, Unix time of the beginning. None in a worker that was not told.
        self._share: tuple[int, int, float] | None = None
        self._mixes: dict[str, Mix] = {}
        self._prompts: Prompts | None = None
        self._started: str | None = None
        self._samples: SampleFile | None = None
        self._directing: gevent.Greenlet | None = None
        self._sections: dict[str, Any] = {}
        self._looks: list[tuple[float, dict[str, float]]] = []
        self._keys: Mapping[str, str] | None = None  # that the master has sent
        self.recorder = Recorder("this process", cpu=time.process_time, now=time.monotonic)
        self.trust = Trust(self.recorder)
        #: That a client fails before it sends anything has been said.
        self.mute = False
        #: The run cannot be made as planned.
        self.refused = False
        #: What a scenario plays on the mock, where the report is made; see `loadtests.playing.plays`.
        self.stage: Stage | None = None
        #: Where users find their keys.
        self.environ: Mapping[str, str] = os.environ
        self.plan = _NONE
        self.gate = Gate(self.plan.traffic)
        #: Unix time of the run's beginning, 0 before it is known.
        self.begun = 0.0
        #: Unix time from which on calls are measured; those before are the warm-up.
        self.measure_from = 0.0

    @property
    def worker_index(self) -> int:
        """0 for the only process, else the number that the master gave."""
        return int(getattr(self._runner, "worker_index", 0))

    @property
    def user_classes(self) -> list[type[QianfanUser]]:
        """The classes of users that the run has."""
        return cast("list[type[QianfanUser]]", list(self.environment.user_classes))

    def prepare(self, host: str | None, scenario: str) -> None:
        """Make ready for users that send to ``host``; called by each, and settled by the first.

        Raises:
            PlanError: nothing may be sent as planned.
        """
        if self.plan is not _NONE:
            return
        options = self.environment.parsed_options
        plan = self._given or plan_of(of_locust(vars(options) if options else {}), scenario=scenario, host=host)
        plan.check()
        if plan.traffic.budget.kept_by_one and isinstance(self._runner, (MasterRunner, WorkerRunner)):
            raise PlanError(PROCESSES)
        self._prompts = prompts_of(plan.traffic)
        # Only a budget wants to know how long prompts are.
        longest = longest_prompt(self._prompts) if plan.traffic.budget.bounded else 0.0
        self.gate = Gate(plan.traffic, self.recorder.sent, prompt_tokens=longest)
        self.recorder.met = per_call(plan.slos)
        if plan.samples:
            self._keep_samples(plan.samples)
        self.plan = plan

    def _keep_samples(self, file: str) -> None:
        """Workers send samples to the master, who writes them; so does the only process."""
        if isinstance(self._runner, WorkerRunner):
            self.recorder.keep_samples = True
            return
        self._samples = SampleFile(file)
        self.recorder.on_sample = self._samples.add

    def mix(self, scenario: str) -> Mix:
        """The kinds of calls that users of a scenario make.

        Raises:
            PlanError: see `loadtests.sending.calls.kinds_of`.
        """
        if scenario not in self._mixes:
            self._mixes[scenario] = Mix(scenario, self.plan.traffic)
        return self._mixes[scenario]

    def prompt(self, random: Random, text: str | None = None) -> Prompt:
        """What to ask: ``text``, or one that is drawn."""
        if text is not None:
            return Prompt(text, "trace")
        assert self._prompts is not None  # prepare comes first
        return self._prompts.draw(random)

    def stop_soon(self) -> None:
        """End the run from within a user, once."""
        if not self._stopping:
            self._stopping = True
            options = self.environment.parsed_options
            gevent.spawn(self._runner.quit if getattr(options, "headless", True) else self._runner.stop)

    def give_up(self, error: Exception) -> None:
        """End the run because it cannot be made as planned, and say why, once."""
        if not self._stopping:
            self.environment.process_exit_code = 2
            logger.error("qfkit: %s", error)
        self.refused = True
        self.stop_soon()

    @property
    def in_flight(self) -> int | None:
        """Calls of an open load that are under way in this process; None in a closed model."""
        return self._pacer.in_flight if self._pacer else None

    def cut(self) -> None:
        """Cut off the calls under way."""
        self._runner.user_greenlets.kill(block=False)
        if self._pacer is not None:
            self._pacer.cut()

    def report(self, ledger: Ledger | None = None) -> dict[str, Any]:
        """What was measured so far, as data."""
        plan, traffic, load = self.plan, self.plan.traffic, self.plan.load
        options = self.environment.parsed_options
        described: dict[str, Any] = {"model": load.arrivals}
        if load.open:
            described |= {"rate": load.rate, "to_rate": load.to_rate, "trace": load.trace}
            described |= {"burstiness": load.burstiness} if load.arrivals == "gamma" else {}
            described["max_in_flight"] = load.max_in_flight
        setting = report.Setting(
            host=traffic.host or self.environment.host or "",
            dialect=", ".join(traffic.every_dialect),
            model=traffic.model,
            users=self._runner.target_user_count,
            run_time=self._given.run_time if self._given else getattr(options, "run_time", None),
            seed=traffic.seed,
            attempts=plan.play.attempts if plan.scenario in PLAYS else traffic.attempts,
            client=plan.play.client if plan.scenario in PLAYS else "qfkit",
            load={name: value for name, value in described.items() if value is not None},
            warmup=plan.warmup,
            started=self._started,
            good_slos=per_call_texts(plan.slos),
        )
        ledger = ledger or self.recorder.total
        sections = self.trust.sections(ledger, plan)
        for broken in self._runner.exceptions.values():
            sections["limits_reached"].append(f"{broken['count']} users broke off: {broken['msg']}")
        played = dict(self._sections)
        if plan.scenario in PLAYS and plan.play.client not in CLIENTS and sections["reconciliation"] is not None:
            sections["reconciliation"], note = unseen(sections["reconciliation"])
            sections["notes"] += [note] if note else []
        sections["notes"] += played.pop("notes", [])
        if (spent := self.gate.spent) is not None:
            sections["notes"].append(_spending(spent))
        made = report.build(ledger, setting, **sections, **played)
        if self._looks and made["scenarios"]:
            timeline = next(iter(made["scenarios"].values()))["timeline"]
            made["soak"] = soak_section(self._looks, timeline, run_time=plan.run_time)
        return made

    def _played(self) -> dict[str, Any]:
        """The sections that the stage has to say."""
        if self.stage is None or self.plan is _NONE:
            return {}
        try:
            section = self.stage.section()
        except PlanError as error:
            return {"notes": [f"what the mock saw is missing: {error}"]}
        return {self.stage.name: section, "verdict": section["verdict"]}

    # Listeners

    def on_test_start(self, **_: Any) -> None:
        """A new run: nothing measured, nothing prepared, the whole budget."""
        self.recorder.reset()
        self.begun = 0.0
        self.plan, self._mixes, self._pacer = _NONE, {}, None
        self._sections, self._looks, self._directing = {}, [], None
        self.refused = False
        self.stage, self.environ = None, os.environ if self._keys is None else self._keys
        self._stopping = False
        self._finished.clear()
        self.environment.process_exit_code = None
        self._started = datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds")
        try:
            self._begin()
        except PlanError as error:
            self.give_up(error)

    def _begin(self) -> None:
        classes = self.user_classes
        host = self.environment.host or next((it.host for it in classes if it.host), None)
        if self._given is None and not host:
            self.begun = time.time()
            return  # each user says so when it starts
        self.prepare(host, next((getattr(it, "scenario", "") for it in classes), ""))
        runner, plan = self._runner, self.plan
        makes_load = not isinstance(runner, MasterRunner)
        if plan.scenario in PLAYS:
            ready(plan.play.client)
            if not isinstance(runner, WorkerRunner):
                self._set_stage()
        counts = not isinstance(runner, WorkerRunner)
        self.trust.begin(plan, counts=counts, makes_load=makes_load, environ=self.environ)
        if isinstance(runner, MasterRunner):
            begin = time.time() + _LEAD_OF_WORKERS + self.trust.takes(plan)
            workers = sorted(self._present())
            keys = dict(self.environ) if self.stage else None
            for index, worker in enumerate(workers):
                runner.send_message(BEGIN, {"share": [index, len(workers), begin], "keys": keys}, worker)
        elif isinstance(runner, WorkerRunner):
            begin = self._share[2] if self._share else time.time()
        else:
            begin = time.time() + _LEAD
            self._share = 0, 1, begin
        self.begun = begin if plan.load.open else time.time()
        self.measure_from = self.begun + plan.warmup
        if self.stage is not None:
            self._directing = gevent.spawn(self._direct, self.stage)
        if plan.scenario == "soak" and not isinstance(runner, WorkerRunner):
            self._directing = gevent.spawn(self._look_at_memory, plan)
        if plan.load.open and makes_load:
            self._pace()

    def _set_stage(self) -> None:
        plan = self.plan
        if plan.scenario not in PLAYS:
            return
        control = Control.from_env(plan.traffic.host)
        name, dialect = plan.scenario, plan.traffic.dialect
        stage = Stage(name, plan.play, dialect, control, run_time=plan.run_time, sleep=gevent.sleep, now=time.monotonic)
        stage.prepare()
        self.stage, self.environ = stage, stage.environ

    def _direct(self, stage: Stage) -> None:
        gevent.sleep(max(0.0, self.begun - time.time()))
        following = gevent.spawn(self._follow, stage)
        try:
            stage.run()
            following.get()
        except PlanError as error:
            self.give_up(error)
        finally:
            following.kill()

    def _look_at_memory(self, plan: Plan) -> None:
        processes = {"load generator": os.getpid()}
        port = urlsplit(plan.traffic.host).port
        if port is not None and (mock := listens(port)) is not None:
            processes["service"] = mock
        gevent.sleep(max(0.0, self.begun - time.time()))
        while True:
            held = {name: memory for name, pid in processes.items() if (memory := resident(pid)) is not None}
            self._looks.append((time.time() - self.begun, held))
            gevent.sleep(interval(plan.run_time))

    @staticmethod
    def _follow(stage: Stage) -> None:
        while True:
            gevent.sleep(LOOK_EVERY)
            stage.follow()

    def _leave_stage(self) -> None:
        """No more calls are begun: note when, and play no more."""
        if self._directing is not None:
            self._directing.kill()
        if self.stage is None:
            return
        try:
            self.stage.ends()
        except PlanError as error:
            self.give_up(error)

    def _pace(self) -> None:
        plan = self.plan
        if self._share is None:  # all arrivals are shared out among those who were there at the beginning
            self.recorder.note("a worker came when the run had begun: it sent none of the open load's calls")
            return
        (index, processes, begin), self._share = self._share, None
        options = self.environment.parsed_options
        run_time = plan.run_time if self._given else getattr(options, "run_time", None)
        arrivals = share(moments_of(plan.load, run_time, plan.traffic.seed), index, processes)
        self._pacer = Pacer(self, arrivals, begin=begin, limit=-(-plan.load.max_in_flight // processes))
        self._pacer.start()

    def on_begin(self, msg: Message, **_: Any) -> None:
        """On a worker: which share of an open load it sends; comes before the start of the run."""
        index, processes, begin = msg.data["share"]
        self._share = int(index), int(processes), float(begin)
        self._keys = msg.data["keys"]

    def on_load_stopping(self, environment: Environment, **_: Any) -> None:
        """In a process that makes load: send no more."""
        self._leave_stage()
        if self._pacer is not None:
            self._pacer.stop(environment.stop_timeout)
        self.trust.stop()

    def on_test_stop(self, **_: Any) -> None:
        """Where the report is made: everything that was measured is here."""
        self.trust.finish(self.recorder.total, self.plan)
        if self._samples is not None:
            self._samples.close()
        self._sections = self._played()

    def on_test_stopping(self, environment: Environment, **_: Any) -> None:
        """On the master: wait until every worker has handed over what it measured."""
        self._leave_stage()
        runner = self._runner
        expected = waiting = self._present()
        runner.send_message(FINISH)
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
        runner.send_message(FINISHED, data)

    def _present(self) -> set[str]:
        assert isinstance(self._runner, MasterRunner)
        return {client.id for client in self._runner.clients.all if client.state != STATE_MISSING}


def _spending(spent: Mapping[str, float]) -> str:
    return f"spent: {spent['requests']:,.0f} requests, {spent['tokens']:,.0f} tokens, {spent['cost']:,.2f} yuan"


def of_locust(options: dict[str, Any]) -> dict[str, Any]:
    """Locust's options without those whose names mean something else in a plan."""
    return {name: value for name, value in options.items() if name not in {"host", "run_time", "users", "spawn_rate"}}
