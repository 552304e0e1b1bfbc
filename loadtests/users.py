"""Locust users that call Qianfan through the reference client: signed, and by default never retried.

Locust's own statistics get one entry a call. What they cannot hold (first tokens, gaps, codes, attempts) goes to the
`recorder`, as one `Sample` a call.

In a closed model each user makes its calls one after the other. In an open one Locust's users stand by, and the
`pacer` has calls made by users of its own, at moments that no answer moves.
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

from loadtests.measuring.measures import StreamTimer
from loadtests.measuring.outcomes import attempted
from loadtests.measuring.samples import Outcome, Sample
from loadtests.measuring.tally import Failure
from loadtests.planning.budget import BudgetSpent
from loadtests.planning.plan import Kind
from loadtests.planning.spelling import PlanError
from loadtests.sending.calls import CALLS, Answered, tokens
from loadtests.sending.session import MeasuredSession, new_client
from loadtests.wiring import bench_of
from qfkit.client import ConfigurationError, QianfanError

if TYPE_CHECKING:
    from locust.env import Environment

    from loadtests.bench import Bench
    from loadtests.planning.prompts import Prompt
    from qfkit.protocol.dialects import InferenceDialect

#: Seconds between a user's looks at whether the run has ended, once the budget is spent.
PAUSE = 0.05

_numbers = itertools.count()


def next_name(bench: Bench) -> str:
    """The name of the next user of this process, from which its choices are drawn."""
    return f"{bench.plan.traffic.seed}/{bench.worker_index}/{next(_numbers)}"


class CallFailed(Exception):
    """A failure as Locust is told it: by kind. The client's own words hold a request id, so each would be a row."""


class QianfanUser(User):
    """One user with clients, a connection and choices of its own.

    Raises:
        StopTest: the plan cannot be run: nothing may be sent to this host, or the keys are missing.
    """

    abstract = True
    #: Under which name calls are counted; with several kinds of calls, the name's beginning.
    scenario: ClassVar[str]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        try:
            self.bench = bench_of(environment, self.host, self.scenario)
            traffic = self.bench.plan.traffic
            self.mix = self.bench.mix(self.scenario)
            name = next_name(self.bench)
            self.random = Random(name)
            self.session = MeasuredSession(self.bench.gate, time.perf_counter, proxies=traffic.live)
            self.clients = {
                dialect: new_client(traffic, self.session, dialect=dialect, random=Random(f"{name}/waits"))
                for dialect in self.mix.dialects
            }
        except (PlanError, ConfigurationError) as error:
            environment.process_exit_code = 2
            raise StopTest(f"qfkit: {error}") from None  # Locust prints the traceback

    def on_stop(self) -> None:
        """Give the connection back."""
        for client in self.clients.values():
            client.close()
        self.session.close()

    @task
    def call(self) -> None:
        """Make one call; in an open model, stand by."""
        if self.bench.plan.load.open:
            gevent.sleep(PAUSE)
            return
        self.bench.recorder.planned()
        self.measure()

    def measure(self, planned: float | None = None, text: str | None = None) -> None:
        """Make one call and hand in what comes of it.

        Args:
            planned: moment of the intended sending on the clock of `time.perf_counter`; None in a closed model.
            text: what to ask; None to draw a prompt.
        """
        session = self.session
        session.begin()
        start = time.perf_counter()
        dialect, kind = self.mix.draw(self.random)
        prompt = self.bench.prompt(self.random, text)
        call = _Call(self, dialect, kind, prompt, (planned, start))
        answered: Answered | None = None
        error: QianfanError | None = None
        try:
            answered = CALLS[kind].make(self.clients[dialect], prompt.text, lambda: session.timer)
        except GreenletExit:
            call.ended("cut_off")
            raise
        except BudgetSpent:
            if session.requests:  # a call that needed one request more than there were
                call.ended("cut_off")
            else:
                self.bench.recorder.planned(-1)
            self.bench.stop_soon()
            gevent.sleep(PAUSE)  # not StopUser: Locust complains of users that end while it stops them
            return
        except (PlanError, ConfigurationError) as wrong:
            self.bench.recorder.planned(-1)
            self.bench.give_up(wrong)
            gevent.sleep(PAUSE)
            return
        except QianfanError as raised:
            error = raised
        sample = call.ended("ok" if error is None else "failed", answered, error)
        self.environment.events.request.fire(
            request_type=sample.scenario,
            name=dialect,
            response_time=(sample.end or 0.0) * 1000,
            response_length=0,
            exception=None if error is None else CallFailed(words(sample)),
            context={},
        )


class _Call:
    """A call under way, and how it becomes a sample."""

    __slots__ = ("dialect", "kind", "planned", "prompt", "start", "user")

    def __init__(
        self,
        user: QianfanUser,
        dialect: InferenceDialect,
        kind: Kind,
        prompt: Prompt,
        moments: tuple[float | None, float],
    ) -> None:
        self.user, self.dialect, self.kind, self.prompt = user, dialect, kind, prompt
        self.planned, self.start = moments

    def ended(self, outcome: Outcome, answered: Answered | None = None, error: QianfanError | None = None) -> Sample:
        """Hand in what came of it."""
        end = time.perf_counter()
        bench, session = self.user.bench, self.user.session
        sent = self.start if session.sent is None else session.sent
        origin = sent if self.planned is None else self.planned
        wall = time.time() - end  # from the precise clock to Unix time
        attempts = answered.attempts if answered else error.attempts if error else ()
        read, written, counted = tokens(self.prompt.text, answered) if answered else (None, None, False)
        sample = Sample(
            scenario=self.user.mix.name(self.dialect, self.kind),
            kind=self.kind,
            dialect=self.dialect,
            prompt=self.prompt.name,
            planned=None if self.planned is None else wall + self.planned,
            began=wall + sent,
            warmup=wall + origin < bench.measure_from,
            outcome=outcome,
            attempts=attempted(
                attempts,
                error,
                began=wall + self.start,
                sends=[(wall + it.at, it.connected) for it in session.sends],
            ),
            requests=session.requests,
            token_requests=session.token_requests,
            end=end - origin,
            prompt_tokens=read,
            output_tokens=written,
            tokens_from=None if answered is None else "server" if counted else "estimated",
            worker=bench.recorder.name,
            **(session.timer or StreamTimer(sent)).moments(origin),
        )
        bench.gate.settle(sample)
        bench.recorder.add(sample)
        return sample


def words(sample: Sample) -> str:
    """How a failed call is told to Locust."""
    failure = sample.failure
    return "nothing was sent" if failure is None else str(Failure.of(failure))


class ChatUser(QianfanUser):
    """Scenario ``qps``: asks for whole answers."""

    scenario = "qps"


class StreamUser(QianfanUser):
    """Scenario ``stream``: asks for streams, and notes when each piece comes."""

    scenario = "stream"


class MixedUser(QianfanUser):
    """Scenario ``mixed``: draws the kind and the dialect of each call by weight."""

    scenario = "mixed"


class ToolsUser(QianfanUser):
    """Scenario ``tools``: asks with a tool to call, calls it, and asks again with its result."""

    scenario = "tools"


class EmbedUser(QianfanUser):
    """Scenario ``embed``: turns texts into vectors."""

    scenario = "embed"


class CeilingUser(QianfanUser):
    """Scenario ``ceiling``: one step of it is a run of these."""

    scenario = "ceiling"


class SoakUser(QianfanUser):
    """Scenario ``soak``: makes calls for hours."""

    scenario = "soak"


class ReplayUser(QianfanUser):
    """Scenario ``replay``: makes calls at the moments of a file."""

    scenario = "replay"


#: By scenario.
USERS: dict[str, type[QianfanUser]] = {
    user.scenario: user
    for user in (ChatUser, StreamUser, MixedUser, ToolsUser, EmbedUser, CeilingUser, SoakUser, ReplayUser)
}
