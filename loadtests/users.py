"""Locust users that call Qianfan through the reference client: signed, and by default never retried.

Locust's own statistics get one entry a call. What they cannot hold (first tokens, gaps, codes, attempts) goes to the
`recorder`.
"""

from __future__ import annotations

import itertools
import time
from random import Random
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import gevent
from gevent import GreenletExit
from locust import User, task
from locust.exception import StopTest

from loadtests.measures import StreamTimer
from loadtests.outcomes import attempted
from loadtests.plan import PlanError, Scenario
from loadtests.samples import Kind, Outcome, Sample
from loadtests.session import BudgetSpent, MeasuredSession, new_client
from loadtests.tally import Failure
from loadtests.wiring import bench_of
from qfkit.client import Attempt, ConfigurationError, QianfanError

if TYPE_CHECKING:
    from locust.env import Environment

    from qfkit.protocol.messages import Usage

#: Seconds between a user's looks at whether the run has ended, once the budget is spent.
_PAUSE = 0.05

_numbers = itertools.count()


class CallFailed(Exception):
    """A failure as Locust is told it: by kind. The client's own words hold a request id, so each would be a row."""


class Answered(NamedTuple):
    """What a client says of a call that ended well."""

    attempts: tuple[Attempt, ...]
    usage: Usage | None


class QianfanUser(User):
    """One user with a client, a connection and a choice of prompts of its own.

    Raises:
        StopTest: the plan cannot be run: nothing may be sent to this host, or the keys are missing.
    """

    abstract = True
    scenario: ClassVar[Scenario]
    kind: ClassVar[Kind] = "chat"

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

    def ask(self, prompt: str) -> Answered:
        """Make one call and read its answer to the end."""
        raise NotImplementedError

    def measure(self) -> None:
        """Make one call and hand in what comes of it."""
        session = self.session
        session.begin()
        start = time.perf_counter()
        answered: Answered | None = None
        error: QianfanError | None = None
        try:
            answered = self.ask(self.random.choice(self.bench.prompts))
        except GreenletExit:
            self._add(start, None, None, "cut_off")
            raise
        except BudgetSpent:
            if session.requests:  # a call that needed one request more than there were
                self._add(start, None, None, "cut_off")
            self.bench.stop_soon()
            gevent.sleep(_PAUSE)  # not StopUser: Locust complains of users that end while it stops them
            return
        except (PlanError, ConfigurationError) as wrong:
            self.bench.give_up(wrong)
            gevent.sleep(_PAUSE)
            return
        except QianfanError as raised:
            error = raised
        sample = self._add(start, answered, error, "ok" if error is None else "failed")
        self.environment.events.request.fire(
            request_type=self.scenario,
            name=self.bench.traffic.dialect,
            response_time=(sample.end or 0.0) * 1000,
            response_length=0,
            exception=None if error is None else CallFailed(_words(sample)),
            context={},
        )

    def _add(self, start: float, answered: Answered | None, error: QianfanError | None, outcome: Outcome) -> Sample:
        end = time.perf_counter()
        session = self.session
        sent = start if session.sent is None else session.sent
        began = time.time() - (end - sent)
        attempts = answered.attempts if answered else error.attempts if error else ()
        usage = answered.usage if answered else None
        sample = Sample(
            scenario=self.scenario,
            kind=self.kind,
            dialect=self.bench.traffic.dialect,
            began=began,
            outcome=outcome,
            attempts=attempted(attempts, error, began=began),
            requests=session.requests,
            token_requests=session.token_requests,
            end=end - sent,
            prompt_tokens=usage.prompt_tokens if usage else None,
            output_tokens=usage.completion_tokens if usage else None,
            tokens_from="server" if usage else None,
            **(session.timer or StreamTimer(sent)).moments(),
        )
        self.bench.recorder.add(sample)
        return sample


def _words(sample: Sample) -> str:
    failure = sample.failure
    return "nothing was sent" if failure is None else str(Failure.of(failure))


class ChatUser(QianfanUser):
    """Scenario ``qps``: asks for whole answers, one after the other."""

    scenario: ClassVar[Scenario] = "qps"

    def ask(self, prompt: str) -> Answered:
        """One chat call."""
        reply = self.client.chat(prompt)
        return Answered(reply.attempts, reply.usage)

    @task
    def chat(self) -> None:
        """Ask for a whole answer."""
        self.measure()


class StreamUser(QianfanUser):
    """Scenario ``stream``: asks for streams, one after the other, and notes when each piece comes."""

    scenario: ClassVar[Scenario] = "stream"
    kind: ClassVar[Kind] = "stream"

    def ask(self, prompt: str) -> Answered:
        """One stream, read to its end."""
        with self.client.stream(prompt) as stream:
            timer = self.session.timer
            assert timer is not None
            for chunk in stream:
                timer.chunk_arrived(time.perf_counter(), chunk.text, chunk.reasoning)
            return Answered(stream.attempts, stream.usage)

    @task
    def stream(self) -> None:
        """Ask for a stream."""
        self.measure()
