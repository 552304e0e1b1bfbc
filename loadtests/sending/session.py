"""The gate that every HTTP request of a load test passes: it is allowed, counted and timed here. Knows no Locust."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, cast
from urllib.parse import urlsplit

import requests
import urllib3

from loadtests.measuring.measures import StreamTimer
from loadtests.measuring.samples import Sample
from loadtests.planning.arrivals import moments_of
from loadtests.planning.budget import Pace, Purse
from loadtests.planning.plan import Plan, Traffic, is_loopback
from loadtests.planning.play import PLAYS, Name
from loadtests.planning.prompts import prompts_of
from loadtests.planning.spelling import PlanError
from loadtests.reporting.outputs import check_files
from loadtests.sending.calls import CALLS, check_scenarios, kinds_of
from loadtests.sending.clients import factory_of
from qfkit.client import Client, RateLimits, RetryPolicy
from qfkit.clock import SystemClock
from qfkit.protocol.dialects import INFERENCE_DIALECTS, InferenceDialect, route


class Gate:
    """What all users of a process share: which hosts may be reached, what may still be spent, and how fast.

    The check stands here, behind the client, and not only where options are read: whatever a variable of the
    environment or the address of a token service says, nothing leaves for a host that was not meant.

    Args:
        traffic: what may be sent.
        count: is told of each request that passes.
        prompt_tokens: of a prompt, at most.
    """

    def __init__(
        self, traffic: Traffic, count: Callable[[], None] = lambda: None, *, prompt_tokens: float = 0.0
    ) -> None:
        self._live = traffic.live
        self._count = count
        budget = traffic.budget
        self._purse = Purse(budget, budget.priced(traffic.model), prompt_tokens) if budget.bounded else None
        qps = budget.most_qps(live=traffic.live)
        self._pace = None if qps is None else Pace(qps, time.monotonic, time.sleep)
        self._known: set[str] = set()

    def admit(self, url: str) -> None:
        """Count a request that is about to be sent.

        Raises:
            BudgetSpent: it could cost more than is left.
            PlanError: it would leave this machine, and nobody said ``live``.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host not in self._known:
            if not self._live and not is_loopback(host):
                raise PlanError(
                    f"a request to {host} was stopped: it is not this machine, and --live was not given. "
                    "Check the QIANFAN_*_BASE_URL variables"
                )
            self._known.add(host)
        if self._purse is not None:
            target = route(parts.path)
            self._purse.reserve(inference=target is None or target.dialect in INFERENCE_DIALECTS)
        if self._pace is not None:
            self._pace.wait()
        self._count()

    def settle(self, sample: Sample) -> None:
        """Take what a call did cost."""
        if self._purse is not None:
            attempts = sample.requests - sample.token_requests
            self._purse.settle(attempts, sample.prompt_tokens, sample.output_tokens)

    @property
    def spent(self) -> dict[str, float] | None:
        """What was spent: requests, tokens and yuan; None without a budget."""
        purse = self._purse
        return None if purse is None else {"requests": purse.requests, "tokens": purse.tokens, "cost": purse.cost}


@dataclass(slots=True)
class Send:
    """One inference request: its moment on the session's clock, and whether a connection could be made for it."""

    at: float
    connected: bool = True


def _never_connected(error: requests.ConnectionError) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), urllib3.exceptions.NewConnectionError)


class PreciseClock(SystemClock):
    """The system's clock, with a monotonic time as fine as there is: on Windows the other one steps by 15 ms."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.perf_counter()


class MeasuredSession(requests.Session):
    """One user's session; it knows what the call under way has sent, and when.

    Args:
        gate: is asked before each request.
        now: a monotonic clock, in seconds.
        proxies: heed the environment's proxies; they have no business between a client and its own machine.
    """

    def __init__(self, gate: Gate, now: Callable[[], float], *, proxies: bool) -> None:
        super().__init__()
        self.trust_env = proxies
        if not proxies and (authority := os.environ.get("REQUESTS_CA_BUNDLE")):
            self.verify = authority  # of a mock that speaks TLS
        self._gate = gate
        self._now = now
        self.begin()

    def begin(self) -> None:
        """A new call begins: forget what the last one sent."""
        self.requests = 0
        self.token_requests = 0
        self.sends: list[Send] = []
        self.timer: StreamTimer | None = None

    @property
    def sent(self) -> float | None:
        """The moment just before the call's first inference request was sent, None before that."""
        return self.timer.sent if self.timer else None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request, if the gate lets it pass.

        Raises:
            BudgetSpent, PlanError: it does not.
        """
        url = request.url or ""
        self._gate.admit(url)
        self.requests += 1
        target = route(urlsplit(url).path)
        if target is not None and target.operation == "token":
            self.token_requests += 1
            return super().send(request, **kwargs)
        now = self._now()
        sent = Send(now)
        self.sends.append(sent)
        if self.timer is None:  # an attempt after the first is still the same call: its caller waits from the first on
            self.timer = StreamTimer(now)
        try:
            response = super().send(request, **kwargs)
        except requests.ConnectionError as error:
            sent.connected = not _never_connected(error)
            raise
        if kwargs.get("stream"):
            self.timer.headers_arrived(self._now())
            response.raw = _Watched(response.raw, self.timer, self._now)
        return response


class _Watched:
    """A urllib3 response that notes when its body begins to arrive. All else is the response's own."""

    __slots__ = ("_now", "_raw", "_timer")

    def __init__(self, raw: Any, timer: StreamTimer, now: Callable[[], float]) -> None:
        self._raw = raw
        self._timer = timer
        self._now = now

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        """As urllib3's."""
        data: bytes = self._raw.read1(*args, **kwargs)
        if data:
            self._timer.body_arrived(self._now())
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def new_client(
    traffic: Traffic,
    session: requests.Session,
    *,
    dialect: InferenceDialect | None = None,
    random: Random | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Client:
    """The reference client as one user of a load test has it.

    Args:
        traffic: where to, in which dialect, how often to try.
        session: of this user.
        dialect: another one than the traffic's.
        random: where waits between attempts are drawn.
        environ: holds the keys, under the official SDK's names.

    Raises:
        ConfigurationError: keys that the dialect needs are missing; the message names their variables.
    """
    return Client.from_env(
        environ,
        base_url=traffic.host,
        # A mock is asked as fast as it answers; the real service keeps the client's own limit.
        limits=None if traffic.live else RateLimits.off(),
        # A mock serves tokens, too; a variable that is left over must not send keys elsewhere.
        iam_base_url=None if traffic.live else traffic.host,
        dialect=dialect or traffic.dialect,
        model=traffic.model,
        retry=RetryPolicy(attempts=traffic.attempts),
        session=session,
        random=random,
        clock=PreciseClock(),
    )


def rehearse(plan: Plan, environ: Mapping[str, str] = os.environ) -> None:
    """See whether this plan can be carried out at all; nothing is sent.

    Raises:
        PlanError: it may not be sent, there are no prompts, a dialect has no such calls, an SLO cannot be judged, or a
            file cannot be written.
        ConfigurationError: keys are missing, or the dialect has no such model.
    """
    traffic = plan.traffic
    plan.check()
    check_files(plan.report_json, plan.html_report, plan.samples)
    check_scenarios(plan)
    prompts_of(traffic)
    moments_of(plan.load, plan.run_time, traffic.seed)
    plan.climb.search(plan.load.rate)
    if plan.scenario in PLAYS:
        _rehearse_play(plan)
        return
    with requests.Session() as session:
        for dialect, kinds in kinds_of(plan.scenario, traffic).items():
            with new_client(traffic, session, dialect=dialect, environ=environ) as client:
                for kind in kinds:
                    CALLS[kind].rehearse(client, "hi")


def _rehearse_play(plan: Plan) -> None:
    traffic = plan.traffic
    if traffic.live:
        raise PlanError(f"{plan.scenario} plays its part on a mock: leave out --live, and give a mock's --host")
    plan.play.check(cast("Name", plan.scenario), traffic.dialect, plan.run_time)
    factory_of(plan.play.client)
