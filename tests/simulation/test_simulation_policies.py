"""What a text names, that a wrong one is told, and that the libraries' rows are what the libraries do."""

from __future__ import annotations

import inspect
from dataclasses import replace
from random import Random

import httpx
import openai
import pytest
import qianfan
import stamina
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from mock_server.quota import Limits
from mock_server.scenario import Failure as ScriptedFailure
from qfkit import RetryBudget, RetryPolicy
from qfkit.client.answers import api_error
from qfkit.client.retry import parse_retry_after
from qfkit.protocol.errors import envelope, lookup
from qfkit.simulation import LibraryPolicy, contender, scenario, simulate
from qfkit.simulation.policies import DEFAULTS, LIBRARIES, OURS, contenders
from qfkit.simulation.scenario import SCENARIOS
from qfkit.simulation.service import Service

BUSY = lookup("text_generation", 429)


def busy(retry_after: float | None):
    """A 429 as the client reads it from an answer of the mock."""
    headers = CaseInsensitiveDict(ScriptedFailure(code=429, retry_after=retry_after).headers())
    return api_error("text_generation", 429, headers, envelope(BUSY), now=0, secrets=())


class TestTexts:
    def test_ours_are_retry_policies(self):
        one = contender("full:base=0.25,cap=20,attempts=5")
        assert one.policy == RetryPolicy(base=0.25, cap=20, attempts=5)
        assert (one.label, one.honours) == ("full:base=0.25,cap=20,attempts=5", True)
        assert contender("qfkit").policy == RetryPolicy()
        assert contender("none").policy.attempts == 1
        assert contender("decorrelated").policy.jitter == "decorrelated"
        assert contender("exponential:max_total=none").policy.max_total is None
        assert contender("full:budget=0.2,reserve=4").policy.budget == RetryBudget(ratio=0.2, reserve=4)
        assert not contender("full: base=1, retry_after=no").honours

    def test_libraries_take_their_own_words(self):
        policy = contender("urllib3:backoff_factor=0.5,attempts=4").policy
        assert isinstance(policy, LibraryPolicy)
        assert policy.attempts == 4
        assert str(policy.schedule) == "urllib3(backoff_factor=0.5, backoff_jitter=0, backoff_max=120)"

    def test_a_label_before_it(self):
        one = contender("the one we ship = full:base=2")
        assert (one.label, one.text, one.policy.base) == ("the one we ship", "full:base=2", 2)
        assert contender("mine=openai").policy.retry_after == contender("openai").policy.retry_after == 120

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("ful", "there is no policy 'ful'; did you mean 'full'"),
            ("", "a label stands before its =, as in mine=full:base=0.5; got ''"),
            ("=full", "a label stands before its =, as in mine=full:base=0.5; got '=full'"),
            ("mine=", "there is no policy ''; there are none, immediate"),
            ("mine=ful:base=1", "there is no policy 'ful'; did you mean 'full'"),
            ("full:bas=1", "full has no option 'bas'; did you mean 'base'"),
            ("full:base", "written option=value, as in full:base=0.5,cap=20; got 'base'"),
            ("full:base=", "written option=value"),
            ("full:base=soon", "base is a number; got 'soon'"),
            ("full:base=-1", "RetryPolicy.base is a number, 0 or more; got -1"),
            ("full:base=inf", "base is a number; got 'inf'"),
            ("full:attempts=2.5", "whole number, 1 or more; got 2.5"),
            ("full:attempts=0", "whole number, 1 or more; got 0"),
            ("full:base=1,base=2", "the option 'base' of full is there twice"),
            ("full:jitter=ful", "RetryPolicy.jitter is one of"),
            ("full:reserve=3", "reserve is a part of a budget"),
            ("full:budget=11", "RetryBudget.ratio is a number from 0 to 10"),
            ("full:retry_after=maybe", "retry_after of a policy is yes or no"),
            ("openai:base=1", "openai has no option 'base'; it has attempts, initial, max, retry_after"),
            ("openai:attempts=none", "attempts is a number; got 'none'"),
            ("openai:attempts=0", "attempts is a whole number, 1 or more; got 0"),
            ("qianfan:jitter=full", "jitter is a number, 0 or more; got 'full'"),
            ("stamina:wait_max=-1", "wait_max is a number, 0 or more"),
        ],
    )
    def test_a_wrong_one_is_told(self, text, message):
        with pytest.raises(ValueError, match="(?s)" + message.replace("(", r"\(")):
            contender(text)

    @given(st.text(alphabet="fulopenai:base=,0123.none -é", max_size=30))
    def test_any_text_is_a_policy_or_told(self, text):
        try:
            found = contender(text)
        except ValueError:
            return
        assert found.label
        assert found.label in text
        assert found.text in text

    def test_no_two_of_one_name_and_not_none_at_all(self):
        with pytest.raises(ValueError, match="'full' is there twice"):
            contenders(["full", "openai", "full"])
        with pytest.raises(ValueError, match="there is no policy to simulate"):
            contenders([])

    def test_every_name_and_every_default_is_one(self):
        for name in (*OURS, *LIBRARIES):
            assert contender(name).label == name
        assert set(DEFAULTS) == set(SCENARIOS)
        for texts in DEFAULTS.values():
            assert len(contenders(texts)) == len(texts)


class TestLibraries:
    def test_openai(self):
        from openai import _constants

        policy = contender("openai").policy
        assert policy.attempts == openai.DEFAULT_MAX_RETRIES + 1
        assert policy.retry_after == _constants.MAX_RETRY_AFTER_DELAY

    @pytest.mark.parametrize("asked", [0.0004, 0.35, 1.0, 2.2, 119.0, 121.0])
    def test_openai_by_its_own_code(self, asked):
        client = openai.OpenAI(api_key="k", base_url="http://127.0.0.1:1")
        headers = dict(ScriptedFailure(code=429, retry_after=asked).headers())
        response = httpx.Response(429, headers=headers, request=httpx.Request("POST", "http://127.0.0.1:1"))
        decision = contender("openai").policy.decide(busy(asked), failures=1, elapsed=0, random=Random(1))
        if not client._should_retry(response):
            assert decision.wait is None
            assert decision.cause == "retry_after_ceiling"
            return
        options = openai._models.FinalRequestOptions(method="post", url="/")
        theirs = client._calculate_retry_timeout(2, options, response.headers)
        if decision.reason == "retry-after":
            assert decision.wait == pytest.approx(theirs)
        else:
            assert 0.375 <= theirs <= 0.5
            assert 0.375 <= decision.wait <= 0.5

    @pytest.mark.parametrize("asked", [0.35, 1.0, 2.2, 30_000.0])
    def test_urllib3_by_its_own_code(self, asked):
        retry = urllib3.Retry()
        headers = dict(ScriptedFailure(code=429, retry_after=asked).headers())
        theirs = retry.parse_retry_after(headers["Retry-After"])
        policy = contender("urllib3").policy
        assert policy.decide(busy(asked), failures=1, elapsed=0, random=Random(1)).wait == theirs
        assert policy.attempts == retry.total + 1
        assert 429 in retry.RETRY_AFTER_STATUS_CODES

    def test_the_sdk(self):
        assert contender("qianfan").policy.attempts == qianfan.get_config().LLM_API_RETRY_COUNT
        decision = contender("qianfan").policy.decide(busy(30), failures=1, elapsed=0, random=Random(1))
        assert 1 <= decision.wait <= 2, "it does not look at Retry-After"

    def test_stamina(self):
        assert contender("stamina").policy.attempts == inspect.signature(stamina.retry).parameters["attempts"].default


class TestTheWire:
    """What the simulated service says is what the mock would send, read by the client."""

    @pytest.mark.parametrize(("dialect", "asks"), [("text_generation", True), ("v1", False), ("v2", False)])
    def test_a_refusal_by_dialect(self, dialect, asks):
        class Clock:
            now = 0.25

            def monotonic(self):
                return self.now

            time = monotonic

        clock = Clock()
        service = Service(scenario("quota", limits=Limits(qps=1), dialect=dialect), clock, Random(1))
        assert service.answer(0) is None
        clock.now = 0.5
        failure = service.answer(0)
        assert failure.refused
        assert failure.error.retryable
        assert (failure.retry_after == 0.75) is asks
        if asks:
            headers = CaseInsensitiveDict(ScriptedFailure(code=429, retry_after=failure.retry_after).headers())
            assert parse_retry_after(headers, now=0) == failure.retry_after

    def test_a_quota_that_is_used_up_is_not_asked_again(self):
        for dialect in ("v1", "v2"):
            limits = Limits(total=3)
            outcome = simulate(scenario("quota", clients=10, limits=limits, dialect=dialect), ["full"]).outcomes[0]
            assert (outcome.answered, outcome.attempts, outcome.causes) == (3, 10, {"permanent": 7})

    def test_a_wait_over_the_ceiling_ends_the_call(self):
        limits = Limits(rpm=5)
        policies = {"patient": RetryPolicy(), "impatient": RetryPolicy(retry_after_ceiling=10)}
        patient, impatient = simulate(scenario("quota", clients=10, limits=limits), policies).outcomes
        assert patient.answered == 10
        assert (impatient.answered, impatient.causes) == (5, {"retry_after_ceiling": 5})

    def test_a_hang_holds_a_client_for_its_timeout(self):
        calm = scenario("outage", clients=1, rate=1, duration=1, outage_at=0, outage=5, fault="hang", timeout=7)
        outcome = simulate(calm, {"patient": RetryPolicy(jitter="none")}).outcomes[0]
        assert outcome.attempts == 2, "the first hangs until the outage is over"
        assert 7.5 < outcome.last < 8.2

    def test_a_concurrency_quota_counts_answers_under_way(self):
        def answered(answer):
            situation = scenario("quota", clients=20, over=1, limits=Limits(concurrency=2), answer=answer)
            return simulate(situation, ["none"]).outcomes[0].answered

        assert answered(0.0) == 20
        assert 2 < answered(0.4) < 20
        assert answered(5.0) == 2


class TestScenarios:
    @pytest.mark.parametrize(
        ("name", "changes", "message"),
        [
            ("quote", {}, "no scenario 'quote'; did you mean 'quota'"),
            ("quota", {"client": 3}, "no 'client'; did you mean 'clients'"),
            ("quota", {"clients": 0}, "clients is a whole number, 1 or more; got 0"),
            ("quota", {"clients": True}, "clients is a whole number"),
            ("quota", {"clients": 100, "calls": 1_000_000}, "100,000,000 calls are asked for, and 10,000,000"),
            ("quota", {"error_rate": 1.5}, "error_rate is a number from 0 to 1; got 1.5"),
            ("quota", {"error_rate": float("nan")}, "error_rate is a number from 0 to 1; got nan"),
            ("quota", {"hop": -1.0}, "hop is a number from 0 to 60"),
            ("quota", {"rate": 5.0, "over": 3.0}, "calls and over say nothing"),
            ("outage", {"rate": 0.5, "duration": 1.0}, "no call begins"),
            ("outage", {"fault": "fire"}, "fault is one of error, hang, reset"),
            ("outage", {"timeout": 0.1}, "nothing is answered"),
            ("contention", {"limits": Limits(qps=1)}, "contention has no quota"),
        ],
    )
    def test_a_wrong_one_is_told(self, name, changes, message):
        with pytest.raises(ValueError, match=message):
            scenario(name, **changes)

    def test_they_say_what_they_are(self):
        assert scenario("quota").words() == "1,000 clients ask, all at once; quota qps=100 (fixed windows)"
        assert scenario("quota", limits=Limits(concurrency=5)).words().endswith("; quota concurrency=5")
        assert "an outage that hangs from 30 s to 50 s" in scenario("outage", fault="hang").words()
        assert replace(SCENARIOS["errors"], name="mine").words().endswith("0.3 of the attempts fail")
        assert "every attempt is answered" in scenario("errors", error_rate=0.0).words()

    @given(st.floats(1, 50), st.floats(1, 20), st.sampled_from(["even", "poisson"]))
    def test_open_arrivals_are_as_many_as_asked_for(self, rate, duration, arrivals):
        situation = scenario("outage", rate=rate, duration=duration, arrivals=arrivals)
        moments = situation.beginnings(Random(1))
        assert len(moments) == situation.total == int(rate * duration + 1e-9)
        assert list(moments) == sorted(moments)
        assert 0 <= moments[0] <= moments[-1] <= duration


class TestDecisions:
    def test_every_end_of_a_call_has_a_cause(self):
        policy = RetryPolicy(attempts=3, retry_after_ceiling=5, max_total=10)
        ask = {"elapsed": 0.0, "random": Random(1)}
        gone = api_error("text_generation", 400, {}, {"error_code": 400, "error_msg": "no"}, now=0, secrets=())
        assert policy.decide(gone, failures=1, **ask).cause == "permanent"
        assert policy.decide(busy(1), failures=3, **ask).cause == "attempts"
        assert policy.decide(busy(6), failures=1, **ask).cause == "retry_after_ceiling"
        assert policy.decide(busy(2), failures=1, elapsed=9.0, random=Random(1)).cause == "max_total"
        assert policy.decide(busy(2), failures=1, **ask).cause is None
