"""Locust users that call Qianfan through the reference client: signed, and by default never retried.

Locust's own statistics get one entry a call. What they cannot hold (first tokens, gaps, codes, attempts) goes to the
`recorder`.
"""

from __future__ import annotations

import itertools
import time
from random import Random
from typing import TYPE_CHECKING, ClassVar

import gevent
from gevent import GreenletExit
from locust import User, task
from locust.exception import StopTest

from loadtests.outcomes import attempt_failures, call_failure
from loadtests.plan import PlanError, Scenario
from loadtests.session import BudgetSpent, MeasuredSession, new_client
from loadtests.wiring import bench_of
from qfkit.client import Attempt, ConfigurationError, QianfanError

if TYPE_CHECKING:
    from locust.env import Environment

#: Seconds between a user's looks at whether the run has ended, once the budget is spent.
_PAUSE = 0.05

_numbers = itertools.count()


class CallFailed(Exception):
    """A failure as Locust is told it: by kind. The client's own words hold a request id, so each would be a row."""


class QianfanUser(User):
    """One user with a client, a connection and a choice of prompts of its own.

    Raises:
        StopTest: the plan cannot be run: nothing may be sent to this host, or the keys are missing.
    """

    abstract = True
    scenario: ClassVar[Scenario]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        try:
            self.bench = bench_of(environment, self.host)
            traffic = self.bench.traffic
            name = f"{traffic.seed}/{self.bench.worker_index}/{next(_numbers)}"
            self.random = Random(name)
            self.session = MeasuredSession(self.bench.gate, time.perf_counter, proxies=traffic.live)
            self.client = new_client(traffic, self.session, random=Random(f"{name}/waits"))
        except (PlanError, ConfigurationError) as error:
            environment.process_exit_code = 2
            raise StopTest(f"qfkit: {error}") from None  # Locust prints the traceback

    def on_stop(self) -> None:
        """Give the connection back."""
        self.client.close()
        self.session.close()

    def ask(self, prompt: str) -> tuple[Attempt, ...]:
        """Make one call and read its answer to the end; the attempts that it took."""
        raise NotImplementedError

    def measure(self) -> None:
        """Make one call and count what comes of it."""
        session, recorder = self.session, self.bench.recorder
        session.begin()
        start = time.perf_counter()
        attempts: tuple[Attempt, ...] = ()
        error: QianfanError | None = None
        try:
            attempts = self.ask(self.random.choice(self.bench.prompts))
        except GreenletExit:
            recorder.tally(self.scenario).interrupted()
            raise
        except BudgetSpent:
            self.bench.stop_soon()
            gevent.sleep(_PAUSE)  # not StopUser: Locust complains of users that end while it stops them
            return
        except (PlanError, ConfigurationError) as wrong:
            self.bench.give_up(wrong)
            gevent.sleep(_PAUSE)
            return
        except QianfanError as raised:
            attempts, error = raised.attempts, raised
        finally:
            end = time.perf_counter()
            recorder.tally(self.scenario).sent(requests=session.requests, token_requests=session.token_requests)
        latency = end - (start if session.sent is None else session.sent)
        began = time.time() - latency
        tally = recorder.tally(self.scenario)
        tally.attempts_failed(attempt_failures(attempts, error))
        told: CallFailed | None = None
        if error is None:
            tally.succeeded(began=began, latency=latency, timer=session.timer if self.scenario == "stream" else None)
        else:
            failure = call_failure(error)
            told = CallFailed(str(failure))
            tally.failed_with(failure, began=began, latency=latency)
        self.environment.events.request.fire(
            request_type=self.scenario,
            name=self.bench.traffic.dialect,
            response_time=latency * 1000,
            response_length=0,
            exception=told,
            context={},
        )


class ChatUser(QianfanUser):
    """Scenario ``qps``: asks for whole answers, one after the other."""

    scenario: ClassVar[Scenario] = "qps"

    def ask(self, prompt: str) -> tuple[Attempt, ...]:
        """One chat call."""
        return self.client.chat(prompt).attempts

    @task
    def chat(self) -> None:
        """Ask for a whole answer."""
        self.measure()


class StreamUser(QianfanUser):
    """Scenario ``stream``: asks for streams, one after the other, and notes when each piece comes."""

    scenario: ClassVar[Scenario] = "stream"

    def ask(self, prompt: str) -> tuple[Attempt, ...]:
        """One stream, read to its end."""
        with self.client.stream(prompt) as stream:
            timer = self.session.timer
            assert timer is not None
            for chunk in stream:
                timer.chunk_arrived(time.perf_counter(), chunk.text)
            return stream.attempts

    @task
    def stream(self) -> None:
        """Ask for a stream."""
        self.measure()
