"""Locust users that make calls with a client of choice, and ask each question only once.

For scenarios in which the client is what is tested: ``backoff`` and ``outage``. Calls, samples and open loads are as
with `loadtests.users`; only who makes the call differs.
"""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING

import gevent
from gevent import GreenletExit
from locust import User
from locust.exception import StopTest

from loadtests.measuring.samples import Outcome, Sample
from loadtests.planning.budget import BudgetSpent
from loadtests.planning.spelling import PlanError
from loadtests.playing.served import tagged
from loadtests.sending.clients import Call, Caller, Setting, factory_of
from loadtests.sending.watching import Watch, watch
from loadtests.users import PAUSE, CallFailed, QianfanUser, next_name, words
from loadtests.wiring import bench_of
from qfkit.client import ConfigurationError

if TYPE_CHECKING:
    from locust.env import Environment


logger = logging.getLogger(__name__)


class ClientUser(QianfanUser):
    """One user with a client of its own, of the kind that ``--client`` names.

    Raises:
        StopTest: the plan cannot be run: there is no such client, or it does not speak the dialect.
    """

    abstract = True

    def __init__(self, environment: Environment) -> None:
        User.__init__(self, environment)  # not QianfanUser's: that makes the reference client
        self.caller: Caller | None = None
        try:
            self.bench = bench_of(environment, self.host, self.scenario)
            plan = self.bench.plan
            play, traffic = plan.play, plan.traffic
            self.name = next_name(self.bench)
            self.random = Random(self.name)
            self.asked = 0
            if self.bench.refused:  # that there is no mock has been said
                return
            self.caller = factory_of(play.client)(
                Setting(
                    url=traffic.host,
                    dialect=traffic.dialect,
                    model=traffic.model,
                    environ=self.bench.environ,
                    attempts=play.attempts,
                    timeout=play.client_timeout,
                    seed=self.name,
                )
            )
        except (PlanError, ConfigurationError) as error:
            environment.process_exit_code = 2
            raise StopTest(f"qfkit: {error}") from None  # Locust prints the traceback

    def on_stop(self) -> None:
        """Give the connection back."""
        close = getattr(self.caller, "close", None)
        if close is not None:
            close()

    def measure(self, planned: float | None = None, text: str | None = None) -> None:
        """Make one call and hand in what comes of it; arguments as `QianfanUser.measure`."""
        bench = self.bench
        if self.caller is None:
            bench.recorder.planned(-1)
            gevent.sleep(PAUSE)
            return
        prompt = bench.prompt(self.random, text)
        self.asked += 1
        question = tagged(prompt.text, f"{self.name}/{self.asked}")
        call = Call(self.caller, "chat", planned)
        with watch(bench.gate.admit) as seen:
            try:
                call.make(question)
            except GreenletExit:
                self._add(call, seen, prompt.name, "cut_off")
                raise
        if isinstance(seen.refused, BudgetSpent):
            if seen.requests:  # a call that needed one request more than there were
                self._add(call, seen, prompt.name, "cut_off")
            else:
                bench.recorder.planned(-1)
            bench.stop_soon()
            gevent.sleep(PAUSE)
            return
        wrong = seen.refused or call.error
        if call.error is not None and not seen.requests and not bench.mute:
            bench.mute = True  # the next thousand would say the same
            logger.warning("qfkit: the client failed before it sent anything: %r", call.error)
        if isinstance(wrong, (PlanError, ConfigurationError)):
            bench.recorder.planned(-1)
            bench.give_up(wrong)
            gevent.sleep(PAUSE)
            return
        sample = self._add(call, seen, prompt.name)
        self.environment.events.request.fire(
            request_type=self.scenario,
            name=bench.plan.play.client,
            response_time=(sample.end or 0.0) * 1000,
            response_length=0,
            exception=None if sample.ok else CallFailed(words(sample)),
            context={},
        )

    def _add(self, call: Call, seen: Watch, prompt: str, outcome: Outcome | None = None) -> Sample:
        bench = self.bench
        sample = call.sample(
            seen,
            outcome,
            scenario=self.scenario,
            client=bench.plan.play.client,
            dialect=bench.plan.traffic.dialect,
            prompt=prompt,
            measure_from=bench.measure_from,
            worker=bench.recorder.name,
        )
        bench.gate.settle(sample)
        bench.recorder.add(sample)
        return sample


class BackoffUser(ClientUser):
    """Scenario ``backoff``: asks for whole answers of an account that has a quota."""

    scenario = "backoff"


class OutageUser(ClientUser):
    """Scenario ``outage``: asks for whole answers of a service that fails for a while."""

    scenario = "outage"


#: By scenario.
CLIENT_USERS: dict[str, type[ClientUser]] = {user.scenario: user for user in (BackoffUser, OutageUser)}
