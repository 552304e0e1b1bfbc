"""Clients against the model of `qfkit.testing.stateful`: the reference client by every scheme, openai, bad ones."""

from __future__ import annotations

import json
from contextlib import suppress
from random import Random

import openai
import pytest
import requests
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from qfkit import Client, Credentials, QianfanError, RetryPolicy, StreamError
from qfkit.grading import VerdictFailed
from qfkit.protocol.errors import lookup
from qfkit.testing.clock import SkippingClock
from qfkit.testing.stateful import Behaviour, ClientMachine, ModelFailure
from qfkit.testing.strategies import error_scripts, replies
from qfkit.testing.strategies.steps import Script, Step

POLICY = RetryPolicy(attempts=3)


class ReferenceMachine(ClientMachine):
    """The reference client under its default policy, with those keys that ``keys`` names."""

    behaviour = Behaviour.of(POLICY)
    keys: tuple[str, ...] = ("access_key", "secret_key")
    policy = POLICY

    def make_client(self, account, clock):
        keys = Credentials(**{name: getattr(account.credentials, name) for name in self.keys})
        return Client(account.url, keys, self.dialect, retry=self.policy, clock=clock, random=Random(1))

    def call(self, client, prompt):
        return client.chat(prompt).text

    def stream(self, client, prompt):
        with client.stream(prompt) as chunks:
            for chunk in chunks:
                yield chunk.text


class TextGeneration(ReferenceMachine):
    dialect = "text_generation"


class V1(ReferenceMachine):
    dialect = "v1"
    behaviour = Behaviour.of(POLICY, tokens=True)
    keys = ("ak", "sk")


class V1Signed(ReferenceMachine):
    dialect = "v1"


class V2(ReferenceMachine):
    dialect = "v2"
    keys = ("bearer_token",)


class V2Tokens(ReferenceMachine):
    dialect = "v2"
    behaviour = Behaviour.of(POLICY, tokens=True)


class Patient(ReferenceMachine):
    """Another policy: five attempts, also after a quota that is used up, never after 336100."""

    dialect = "v1"
    policy = RetryPolicy(attempts=5, also={19}, never={336100})
    behaviour = Behaviour.of(policy)
    ignore = ("permanent-retried", "not-retried", "body-code-unnoticed")


class OpenAI(ClientMachine):
    """openai-python: retries by HTTP status, never within a stream; takes one that stops short for whole."""

    dialect = "v2"
    behaviour = Behaviour(
        attempts=3,
        retries=lambda spec: spec.status in {408, 409, 429} or spec.status >= 500,
        retries_streams=False,
        sees_lines=False,
        sees_cuts=False,
    )
    # By status it goes on where the table gives up, and the other way round.
    ignore = ("permanent-retried", "not-retried")

    def make_client(self, account, clock):
        class Sleeping(openai.OpenAI):
            def _sleep_for_retry(self, *, retries_taken, max_retries, options, response):
                headers = response.headers if response is not None else None
                clock.sleep(self._calculate_retry_timeout(max_retries - retries_taken, options, headers))

        return Sleeping(base_url=f"{account.url}/v2", api_key=account.credentials.bearer_token, max_retries=2)

    def call(self, client, prompt):
        answer = client.chat.completions.create(model="ernie-3.5-8k", messages=[{"role": "user", "content": prompt}])
        return answer.choices[0].message.content

    def stream(self, client, prompt):
        ask = [{"role": "user", "content": prompt}]
        with client.chat.completions.create(model="ernie-3.5-8k", messages=ask, stream=True) as chunks:
            for chunk in chunks:
                yield from (choice.delta.content or "" for choice in chunk.choices)


TestTextGeneration = TextGeneration.TestCase
TestV1 = V1.TestCase
TestV1Signed = V1Signed.TestCase
TestV2 = V2.TestCase
TestV2Tokens = V2Tokens.TestCase
TestPatient = Patient.TestCase
TestOpenAI = OpenAI.TestCase
TestTextGeneration.settings = TestV1.settings = TestV2.settings = settings(max_examples=10, stateful_step_count=20)
TestV1Signed.settings = TestV2Tokens.settings = settings(max_examples=6, stateful_step_count=20)
TestPatient.settings = TestOpenAI.settings = settings(max_examples=6, stateful_step_count=20)


# Bad clients


class Bad(ReferenceMachine):
    """The reference client, spoiled."""

    dialect = "v1"


class RetriesPermanent(Bad):
    policy = RetryPolicy(also={336003, 6, 17, 19})
    scripts = error_scripts("v1", codes=[336003, 17], max_failures=2)


class GivesUp(Bad):
    policy = RetryPolicy(never={18})
    scripts = error_scripts("v1", codes=[18], max_failures=2)


class SwallowsErrors(Bad):
    scripts = st.just(Script((Step("stream", ["a", "b"], {"cut_after": 1}),)))

    def stream(self, client, prompt):
        with suppress(StreamError):
            yield from super().stream(client, prompt)


class LosesChunk(Bad):
    def stream(self, client, prompt):
        pieces = list(super().stream(client, prompt))
        yield from pieces[:1] + pieces[2:]

    leaves_streams = False


class LeavesOpen(Bad):
    def __init__(self):
        super().__init__()
        self.kept = []

    def stream(self, client, prompt):
        chunks = client.stream(prompt)
        self.kept.append(chunks)
        return (chunk.text for chunk in chunks)  # closing it closes nothing below

    def teardown(self):
        for chunks in self.kept:
            chunks.close()
        super().teardown()


class LiesAboutCodes(Bad):
    scripts = error_scripts("v1", codes=[336003], max_failures=1)

    def code_of(self, error):
        return "E-1"


class AsksTwice(Bad):
    scripts = replies().map(lambda step: Script((step,)))

    def call(self, client, prompt):
        return super().call(client, prompt) and super().call(client, prompt)


class Raw(ClientMachine):
    """Two hundred lines of somebody's own, in ten: it takes whatever comes under HTTP 200 for an answer."""

    dialect = "v1"
    behaviour = Behaviour(attempts=1, tokens=True, renews=False)

    def make_client(self, account, clock):
        self.token = None
        return account.url, {"client_id": account.credentials.ak, "client_secret": account.credentials.sk}

    def call(self, client, prompt):
        url, keys = client
        if self.token is None:
            bought = requests.post(f"{url}/oauth/2.0/token", params={"grant_type": "client_credentials", **keys})
            bought.raise_for_status()
            self.token = bought.json()["access_token"]
        url += "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"
        ask = {"messages": [{"role": "user", "content": prompt}]}
        answer = requests.post(url, params={"access_token": self.token}, json=ask)
        answer.raise_for_status()
        return answer.json().get("result", "")

    streams = False
    scripts = error_scripts("v1", codes=[18])


class Hammers(Bad):
    policy = RetryPolicy(attempts=4, base=0, jitter="none")
    behaviour = Behaviour.of(policy)
    scripts = error_scripts("v1", codes=[18], max_failures=3, max_wait=0)


@pytest.mark.parametrize(
    ("machine", "code", "words"),
    [
        (RetriesPermanent, "went-on", "no other attempt after fail("),
        (GivesUp, "gave-up", ", as it makes 3"),
        (SwallowsErrors, "not-noticed", "and at its end for the mark that it is whole"),
        (LosesChunk, "other-text", "each event's text once, in order, none left out"),
        (LeavesOpen, "stream-open", "the connection is open 2 s later"),
        (LiesAboutCodes, "other-code", "(its code is 'E-1')"),
        (AsksTwice, "went-on", "and 1 more came"),
        (Raw, "not-noticed", "code 18 by fail 18"),
    ],
)
def test_a_bad_client_is_caught_and_told(machine, code, words):
    with pytest.raises(ModelFailure) as caught:
        played(machine)
    assert caught.value.code == code
    message = str(caught.value)
    assert words in message
    assert "expected: " in message
    assert "requests of this call, and what the model expected each to meet:" in message
    assert "POST /rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions" in message
    assert "How to fix: " in message


def played(machine, examples=200):
    plain = settings(
        max_examples=examples,
        stateful_step_count=8,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],
    )
    run_state_machine_as_test(machine, settings=plain)


def test_a_client_that_hammers_fails_the_verdict():
    with pytest.raises(VerdictFailed, match="no-backoff"):
        played(Hammers)


def test_the_simplest_failure_is_told_in_full():
    quick = settings(
        max_examples=50,
        stateful_step_count=6,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
    )
    with pytest.raises(ModelFailure) as caught:
        run_state_machine_as_test(GivesUp, settings=quick)
    what, expected, came, head, entry, foretold, advice = str(caught.value).splitlines()
    assert what == "call('你好 (1)'): the client and the model part (gave-up)"
    assert expected == "  expected: another attempt after fail(18), as it makes 3"
    assert came.startswith(
        "  came:     raised RateLimitError: v1 error 18 (HTTP 200): Open api qps request limit reached."
    )
    assert head == "  requests of this call, and what the model expected each to meet:"
    assert entry.endswith("wenxinworkshop/chat/completions [account-1] -> 200 code 18 by fail 18")
    assert foretold == "      fail(18)"
    assert advice.startswith("  How to fix: try again after this error, or say so in the Behaviour: fewer attempts, ")
    steps = "\n".join(caught.value.__notes__)
    assert "state.script(script=account.fail(18))\nstate.in_step()\nstate.ask(prompt='你好')" in steps


# What it says of itself, and what has to be said


def test_behaviour():
    assert Behaviour().tries_again(lookup("v1", 18))
    assert not Behaviour().tries_again(lookup("v1", 17))
    assert Behaviour(retries={17}).tries_again(lookup("v1", 17))
    assert Behaviour(retries={429}).tries_again(lookup("v2", "rpm_rate_limit_exceeded"))
    assert not Behaviour(retries=lambda spec: spec.code == 2).tries_again(lookup("v1", 18))
    policy = Behaviour.of(RetryPolicy(attempts=7, also={17}, never={18}))
    assert (policy.attempts, policy.tries_again(lookup("v1", 17)), policy.tries_again(lookup("v1", 18))) == (
        7,
        True,
        False,
    )
    with pytest.raises(ValueError, match="attempts is how many requests a call makes at most, from 1; got 0"):
        Behaviour(attempts=0)
    with pytest.raises(TypeError, match="retries is a function, or a collection of codes"):
        Behaviour(retries="18")


@pytest.mark.parametrize("missing", ["make_client", "call", "stream"])
def test_what_a_subclass_does_not_say_it_is_asked_for(missing):
    class Half(Bad):
        pass

    setattr(Half, missing, getattr(ClientMachine, missing))
    with pytest.raises((NotImplementedError, ModelFailure), match=rf"Half has to say .* override {missing}\(\)"):
        played(Half, 30)


def test_a_machine_may_script_what_it_likes_and_read_the_machines_own_time():
    class Own(Bad):
        scripts = replies().map(lambda step: Script((step,)))
        prompts = st.just("?")

        def make_clock(self):
            return SkippingClock()

        def teardown(self):
            seen.extend(entry.json["messages"][0]["content"] for entry in self.account.requests if entry.json)
            assert not [entry for entry in self.account.requests if entry.error_code not in {None, 14, 19}]
            super().teardown()

    seen: list[str] = []
    played(Own, 15)
    assert seen
    assert all(prompt.startswith("? (") for prompt in seen)


def test_a_dialect_that_is_none_is_refused():
    class Wrong(Bad):
        dialect = "v3"

    with pytest.raises(ValueError, match="dialect is one of text_generation, v1, v2; got 'v3'"):
        Wrong()


def test_codes_are_found_where_clients_put_them():
    class Machine(ClientMachine):
        def __init__(self):
            """No mock is needed."""

    find = Machine().code_of
    cause = QianfanError("inner")
    cause.code = 18
    outer = RuntimeError("outer")
    outer.__cause__ = cause
    assert find(outer) == 18
    sdk = RuntimeError("theirs")
    sdk.error_code = 336100
    assert find(sdk) == 336100
    assert find(RuntimeError("nothing")) is None
    assert json.dumps(find(cause)) == "18"
