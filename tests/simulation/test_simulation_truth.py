"""The simulation against what is known without it: a formula, AWS's published simulator, SimPy, and a real run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from statistics import mean, stdev
from threading import Barrier

import pytest
import simpy
from scipy import stats

from mock_server import MockServer
from mock_server.quota import Limits
from qfkit import Client, QianfanError, RetryBudget, RetryPolicy
from qfkit.client.budget import Purse
from qfkit.simulation import amplification, contender, scenario, simulate
from qfkit.simulation.agenda import EPOCH
from qfkit.simulation.run import Run
from qfkit.simulation.service import Service


class TestTheFormula:
    """Attempts that fail independently: a call makes k of n attempts with chance p^(k-1) (1-p), and n with p^(n-1)."""

    @pytest.mark.parametrize("p", [0.05, 0.3, 0.7])
    @pytest.mark.parametrize("n", [1, 2, 5])
    def test_amplification_and_the_share_of_answers(self, p, n):
        calls = 20_000
        outcome = simulate(scenario("errors", clients=calls, error_rate=p), [f"full:attempts={n}"]).outcomes[0]
        assert sum(count * times for count, times in outcome.attempts_by_call.items()) == outcome.attempts
        expected = [p ** (k - 1) * (1 - p) for k in range(1, n)] + [p ** (n - 1)]
        mean_attempts = sum(k * chance for k, chance in enumerate(expected, 1))
        assert mean_attempts == pytest.approx(amplification(p, n))
        deviation = sum(k * k * chance for k, chance in enumerate(expected, 1)) - mean_attempts**2
        assert abs(outcome.amplification - mean_attempts) <= 4 * (deviation / calls) ** 0.5
        assert stats.binomtest(outcome.answered, calls, 1 - p**n).pvalue > 1e-4

    def test_how_many_attempts_each_call_makes(self):
        p, n, calls = 0.4, 4, 20_000
        outcome = simulate(scenario("errors", clients=calls, error_rate=p), [f"full:attempts={n}"]).outcomes[0]
        chances = [(1 - p), p * (1 - p), p * p * (1 - p), p**3]
        seen = [outcome.attempts_by_call[k] for k in range(1, n + 1)]
        assert stats.chisquare(seen, [calls * chance for chance in chances]).pvalue > 1e-4

    def test_when_everything_fails(self):
        outcome = simulate(scenario("errors", clients=50, error_rate=1.0), ["fixed:attempts=6"]).outcomes[0]
        assert outcome.amplification == amplification(1.0, 6) == 6
        assert (outcome.answered, outcome.attempts_per_answer, outcome.p50) == (0, None, None)


#: What AWS's own simulator (github.com/aws-samples/aws-arch-backoff-simulator, the code behind the article) gives for
#: 50 clients, mean of 100 runs: milliseconds until the last has written, and calls of all. Its `expo(n)` begins at
#: 2 * base, so its base of 5 ms is 10 ms of ours, but for decorrelated jitter.
AWS = {
    "immediate:attempts=100000,max_total=none": (1136.9, 688.8),
    "exponential:base=0.01,cap=2,attempts=100000,max_total=none": (36440.1, 626.6),
    "equal:base=0.01,cap=2,attempts=100000,max_total=none": (4253.5, 347.8),
    "full:base=0.01,cap=2,attempts=100000,max_total=none": (2853.4, 332.0),
    "decorrelated:base=0.005,cap=2,attempts=100000,max_total=none": (2184.4, 375.0),
}


@pytest.fixture(scope="module")
def figures():
    runs = [simulate(scenario("contention", clients=50, seed=seed), list(AWS)) for seed in range(12)]
    return {
        label: (mean(run[label].finished for run in runs) * 1000, mean(run[label].attempts for run in runs))
        for label in AWS
    }


class TestTheArticle:
    """Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015."""

    @pytest.mark.parametrize("label", AWS)
    def test_the_figures_of_its_simulator(self, figures, label):
        milliseconds, calls = figures[label]
        assert calls == pytest.approx(AWS[label][1], rel=0.05)
        assert milliseconds == pytest.approx(AWS[label][0], rel=0.25)

    def test_its_conclusions(self, figures):
        immediate, exponential, equal, full, decorrelated = figures.values()
        assert exponential[0] > 5 * max(equal[0], full[0], decorrelated[0]), "without jitter: by far the slowest"
        assert exponential[1] > 1.5 * full[1], "and nearly twice the work"
        assert immediate[1] > 1.8 * full[1], "no backoff: the most work"
        assert full[0] < equal[0], "equal jitter takes longer than full"
        assert full[1] < equal[1] < decorrelated[1], "full jitter does the least work"
        assert decorrelated[0] < full[0], "decorrelated is faster for it"


class _Peer:
    """The quota scenario once more, as SimPy's users write it: a process for each client."""

    def __init__(self, situation, one):
        self.env = simpy.Environment()
        self.situation, self.one = situation, one
        self.service = Service(situation, self, Random(f"{situation.seed}/errors"))
        self.hops, self.jitter = Random(f"{situation.seed}/hops"), Random(f"{situation.seed}/jitter")
        self.purses = [Purse(one.policy.budget) for _ in range(situation.clients)] if one.policy.budget else None
        self.calls: dict[int, tuple[float, float, int, bool]] = {}
        for client in range(situation.clients):
            self.env.process(self.client(client))
        self.env.run()

    now = property(lambda self: self.env.now)

    def monotonic(self) -> float:
        return self.env.now

    def time(self) -> float:
        return EPOCH + self.env.now

    def hop(self) -> float:
        return abs(self.hops.gauss(self.situation.hop, self.situation.hop_sd))

    def client(self, client: int) -> Iterator[simpy.Event]:
        purse = self.purses[client] if self.purses else None
        for call in range(client, self.situation.total, self.situation.clients):
            began, attempts, backoff, wait = self.env.now, 0, None, 0.0
            if purse:
                purse.earn()
            while True:
                yield self.env.timeout(wait + self.hop())
                attempts += 1
                failure = self.service.answer(0)
                if failure is None:
                    yield self.env.timeout(self.situation.answer + self.hop())
                    self.calls[call] = began, self.env.now, attempts, True
                    break
                yield self.env.timeout(self.hop())
                failure.error.retry_after = failure.retry_after if self.one.honours else None
                decision = self.one.policy.decide(
                    failure.error,
                    failures=attempts,
                    elapsed=self.env.now - began,
                    random=self.jitter,
                    previous=backoff,
                    purse=purse,
                )
                if decision.wait is None:
                    self.calls[call] = began, self.env.now, attempts, False
                    break
                wait = decision.wait
                backoff = wait if decision.reason == "backoff" else backoff


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ("full:attempts=6", {}),
        ("full:attempts=6,retry_after=no", {}),
        ("decorrelated:attempts=6,retry_after=no", {"calls": 4}),
        ("equal:attempts=6,retry_after=no,budget=0.5,reserve=2", {"calls": 8}),
        ("decorrelated:attempts=6", {"calls": 4, "error_rate": 0.5}),  # waits of both kinds, in turn
        ("openai", {"limits": Limits(qps=20, window="sliding")}),
        ("qianfan", {"limits": Limits(rpm=90, window="bucket"), "dialect": "v1"}),
    ],
)
def test_simpy_makes_the_same_of_it(policy, changes):
    situation = scenario("quota", **{"clients": 120, "limits": Limits(qps=20), "seed": 3} | changes)
    run = Run(situation, contender(policy))
    run.go()
    peer = _Peer(situation, contender(policy))
    calls = range(situation.total)
    assert list(run.attempts) == [peer.calls[call][2] for call in calls]
    assert list(run.answered) == [peer.calls[call][3] for call in calls]
    assert list(run.began) == pytest.approx([peer.calls[call][0] for call in calls])
    assert list(run.ended) == pytest.approx([peer.calls[call][1] for call in calls])
    assert 0 < sum(run.answered) < len(run.answered) or policy.startswith("full"), "refusals and answers, both"


class TestARealRun:
    """The reference client, over sockets, against the mock with the same quota; the same with both waits."""

    CLIENTS, QPS = 24, 8

    @pytest.mark.parametrize("dialect", ["text_generation", "v2"], ids=["retry-after", "backoff"])
    def test_it_comes_out_as_simulated(self, dialect):
        policy = RetryPolicy(attempts=4, base=0.6, jitter="full")
        runs = [
            simulate(
                scenario(
                    "quota",
                    clients=self.CLIENTS,
                    limits=Limits(qps=self.QPS),
                    dialect=dialect,
                    hop=0.002,
                    hop_sd=0.002,
                    answer=0.0,
                    seed=seed,
                ),
                {"policy": policy},
            ).outcomes[0]
            for seed in range(40)
        ]
        attempts, answered, finished = self.real(dialect, policy)
        assert answered == pytest.approx(mean(it.answered for it in runs), abs=_spread(it.answered for it in runs))
        assert attempts == pytest.approx(mean(it.attempts for it in runs), abs=_spread(it.attempts for it in runs))
        assert finished == pytest.approx(
            mean(it.finished for it in runs), abs=_spread(it.finished for it in runs) + 0.5
        )

    def real(self, dialect: str, policy: RetryPolicy) -> tuple[int, int, float]:
        with MockServer() as server:
            account = server.account().quota(qps=self.QPS)
            barrier = Barrier(self.CLIENTS)

            def ask(number: int) -> bool:
                with Client(server.url, account.credentials, dialect, retry=policy) as client:
                    barrier.wait()
                    try:
                        client.chat(f"question {number}")
                    except QianfanError:
                        return False
                    return True

            with ThreadPoolExecutor(self.CLIENTS) as pool:
                answered = sum(pool.map(ask, range(self.CLIENTS)))
            moments = [entry.time for entry in account.requests]
            return len(moments), answered, max(moments) - min(moments)


def _spread(values) -> float:
    """Four standard deviations, and two for a busy machine."""
    return 4 * stdev(values) + 2


def test_a_budget_bounds_the_attempts_of_a_client():
    ratio, reserve, calls = 0.2, 5, 400
    outcome = simulate(
        scenario("errors", clients=1, calls=calls, over=0, error_rate=0.9),
        {"budgeted": RetryPolicy(attempts=8, base=0, budget=RetryBudget(ratio=ratio, reserve=reserve))},
    ).outcomes[0]
    assert outcome.attempts <= calls * (1 + ratio) + reserve
    assert outcome.attempts >= calls * (1 + ratio) - 1, "what is earned is spent when this much fails"
    assert outcome.causes["budget"] > 0
