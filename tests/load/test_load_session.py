"""The gate: what may leave, how often, and when it left. No network: requests' own adapters answer."""

from __future__ import annotations

import io
import socket

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter

from loadtests.measuring.outcomes import attempted
from loadtests.measuring.samples import Sample
from loadtests.planning.budget import LONGEST, BudgetSpent
from loadtests.planning.plan import Plan, Traffic
from loadtests.planning.spelling import PlanError
from loadtests.sending.session import Gate, MeasuredSession, new_client, rehearse
from qfkit.client import (
    APIError,
    Attempt,
    ConfigurationError,
    ConnectionFailed,
    QianfanError,
    StreamError,
    StreamTruncated,
)

KEYS = {"QIANFAN_ACCESS_KEY": "ALTAKaccess", "QIANFAN_SECRET_KEY": "secret", "QIANFAN_AK": "ak", "QIANFAN_SK": "sk"}
LOCAL = "http://127.0.0.1:8866"


class Clock:
    """One second passes at each look."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 1.0
        return self.time


@pytest.fixture
def unused_port():
    """A port on which nobody listens, and on which nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class Answers(BaseAdapter):
    """Answers every request with the next of these; keeps what was sent."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.urls: list[str] = []

    def send(self, request, **_):
        self.urls.append(request.url)
        status, body = self.answers.pop(0)
        response = requests.Response()
        response.status_code = status
        response.request = request
        response.url = request.url
        response.raw = urllib3.HTTPResponse(io.BytesIO(body), status=status, preload_content=False)
        return response

    def close(self):
        pass


def session(*answers: tuple[int, bytes], **traffic) -> tuple[MeasuredSession, Answers]:
    made = MeasuredSession(Gate(Traffic(**({"host": LOCAL} | traffic))), Clock(), proxies=False)
    adapter = Answers(*answers)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made, adapter


def plan(scenario: str = "qps", **traffic) -> Plan:
    return Plan(scenario=scenario, traffic=Traffic(**({"host": LOCAL} | traffic)))


OK = (200, b'{"result": "ok"}')


class TestGate:
    def test_nothing_leaves_this_machine_unless_live_is_meant(self):
        made, adapter = session(OK)
        with pytest.raises(PlanError, match=r"iam\.bj\.baidubce\.com was stopped.*--live"):
            made.get("https://iam.bj.baidubce.com/v1/BCE-BEARER/token")
        assert adapter.urls == []
        live, adapter = session(OK, host="https://aip.baidubce.com", live=True, max_requests=1)
        assert live.get("https://aip.baidubce.com/x").status_code == 200

    def test_the_budget_is_kept_to_the_request(self):
        made, adapter = session(OK, OK, OK, max_requests=2)
        made.get(LOCAL)
        made.get(LOCAL)
        with pytest.raises(BudgetSpent):
            made.get(LOCAL)
        assert len(adapter.urls) == made.requests == 2

    def test_users_share_one_budget(self):
        gate = Gate(Traffic(host=LOCAL, max_requests=3))
        for _ in range(3):
            gate.admit(LOCAL)
        with pytest.raises(BudgetSpent):
            gate.admit(LOCAL)


class TestMeasuredSession:
    def test_a_token_is_a_request_but_no_attempt_and_no_part_of_the_latency(self):
        made, _ = session((200, b'{"access_token": "t", "expires_in": 100}'), OK)
        with new_client(Traffic(host=LOCAL, dialect="v1"), made, environ=KEYS) as client:
            client.chat("hi")
        assert (made.requests, made.token_requests) == (2, 1)
        assert made.sent == 1.0  # the clock was first looked at after the token

    def test_a_call_is_timed_from_its_first_attempt(self):
        made, _ = session(OK, OK)
        made.post(LOCAL)
        made.post(LOCAL)
        assert (made.requests, made.sent) == (2, 1.0)
        made.begin()
        assert (made.requests, made.token_requests, made.sent) == (0, 0, None)

    def test_a_stream_is_watched_until_its_first_bytes(self):
        made, _ = session((200, b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'))
        with new_client(Traffic(host=LOCAL), made, environ=KEYS) as client, client.stream("hi") as stream:
            assert [chunk.text for chunk in stream] == ["x"]
        assert made.timer is not None
        moments = made.timer.moments()
        assert (made.timer.sent, moments["headers"], moments["first_byte"]) == (1.0, 1.0, 2.0)

    def test_whether_a_connection_was_made_is_known_of_each_request(self, unused_port):
        made = MeasuredSession(Gate(Traffic(host=LOCAL)), Clock(), proxies=False)
        with pytest.raises(requests.ConnectionError):
            made.get(f"http://127.0.0.1:{unused_port}")
        assert [send.connected for send in made.sends] == [False]
        made, _ = session(OK)
        made.get(LOCAL)
        assert [send.connected for send in made.sends] == [True]

    def test_every_request_that_passes_the_gate_is_counted(self):
        passed = []
        gate = Gate(Traffic(host=LOCAL, max_requests=1), lambda: passed.append(1))
        gate.admit(LOCAL)
        with pytest.raises(BudgetSpent):
            gate.admit(LOCAL)
        assert len(passed) == 1

    def test_proxies_of_the_environment_do_not_stand_between_a_machine_and_itself(self, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
        made, _ = session()
        assert made.merge_environment_settings(LOCAL, {}, False, None, None)["proxies"] == {}


class TestRehearsal:
    def test_it_names_the_variables_that_are_missing(self):
        with pytest.raises(ConfigurationError, match="QIANFAN_ACCESS_KEY"):
            rehearse(plan(), {})

    def test_it_finds_a_model_that_the_dialect_does_not_have(self):
        with pytest.raises(ConfigurationError, match="nonsense"):
            rehearse(plan(dialect="v1", model="nonsense"), KEYS)

    @pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
    def test_it_sends_nothing(self, dialect):
        rehearse(plan(host="http://127.0.0.1:1", dialect=dialect), KEYS)

    def test_every_dialect_of_a_mix_needs_its_keys(self):
        with pytest.raises(ConfigurationError, match="QIANFAN_BEARER_TOKEN"):
            rehearse(plan("mixed", dialects="v1,v2", mix="chat,embed"), {"QIANFAN_AK": "ak", "QIANFAN_SK": "sk"})

    def test_a_kind_of_call_that_no_dialect_knows(self):
        with pytest.raises(PlanError, match=r"text_generation has no calls of the kind embed: use --dialect v2"):
            rehearse(plan("embed"), KEYS)

    def test_keys_of_a_mock_are_never_sent_to_a_real_token_service(self):
        traffic = Traffic(host=LOCAL, dialect="v2")
        made, adapter = session((401, b"{}"))
        environ = KEYS | {"QIANFAN_IAM_BASE_URL": "https://iam.bj.baidubce.com"}
        with new_client(traffic, made, environ=environ) as client, pytest.raises(QianfanError):
            client.chat("hi")
        assert [url.partition("?")[0] for url in adapter.urls] == [f"{LOCAL}/v1/BCE-BEARER/token"]


class TestOutcomes:
    def attempt(
        self, number: int, status: int | None = 200, code: int | None = None, error: str | None = None
    ) -> Attempt:
        return Attempt(number, 0.0, 0.1, status, code, error)

    def error(self, kind: type[QianfanError], *attempts: Attempt) -> QianfanError:
        error = kind("words")
        error.attempts = attempts
        return error

    def kinds(self, attempts, error=None, *, connected=True):
        found = attempted(attempts, error, began=0.0, sends=[(0.0, connected)] * len(attempts))
        return [(it.status, it.code, it.what, it.phase) for it in found]

    def test_an_error_of_the_service_counts_under_status_and_code(self):
        made, _ = session((200, b'{"error_code": 18, "error_msg": "qps"}'))
        with (
            new_client(Traffic(host=LOCAL, dialect="v1"), made, environ={"QIANFAN_ACCESS_TOKEN": "t"}) as client,
            pytest.raises(APIError) as caught,
        ):
            client.chat("hi")
        assert self.kinds(caught.value.attempts, caught.value) == [(200, 18, "", "body")]

    def test_no_answer_counts_under_what_happened_and_how_far_it_came(self):
        error = self.error(ConnectionFailed, self.attempt(1, None, error="refused"))
        assert self.kinds(error.attempts, error, connected=False) == [(None, None, "ConnectionFailed", "connect")]
        assert self.kinds(error.attempts, error) == [(None, None, "ConnectionFailed", "headers")]

    def test_a_stream_that_the_service_broke_off_keeps_its_code(self):
        error = self.error(StreamError, self.attempt(1, 200, 336100, "busy"))
        assert self.kinds(error.attempts, error) == [(200, 336100, "StreamError", "mid-stream")]

    def test_a_stream_without_its_end_mark(self):
        error = self.error(StreamTruncated, self.attempt(1, 200, None, "ended"))
        assert self.kinds(error.attempts, error) == [(200, None, "StreamTruncated", "truncated")]

    def test_a_call_that_never_came_to_an_attempt(self):
        assert self.kinds((), self.error(ConnectionFailed)) == []

    def test_every_failed_attempt_of_a_good_call_counts(self):
        attempts = (
            self.attempt(1, 429, 18, "slow down"),
            self.attempt(2, None, error="reset"),
            self.attempt(3, 502, error="a web page"),
            self.attempt(4),
        )
        assert self.kinds(attempts) == [
            (429, 18, "", "body"),
            (None, None, "no answer", "headers"),
            (502, None, "bad answer", "body"),
            (200, None, "", ""),
        ]

    def test_the_last_attempt_of_a_failed_call_failed_as_the_call_did(self):
        error = self.error(ConnectionFailed, self.attempt(1, 429, 18, "slow"), self.attempt(2, None, error="reset"))
        assert self.kinds(error.attempts, error) == [
            (429, 18, "", "body"),
            (None, None, "ConnectionFailed", "headers"),
        ]

    def test_attempts_have_their_moments(self):
        attempts = (Attempt(1, 0.5, 0.1, 429, 18, "slow"), Attempt(2, 1.1, 0.2, 200, waited=0.5, wait_reason="backoff"))
        first, second = attempted(attempts, None, began=100.0, sends=[(100.6, True)])
        # The second one was never sent, for want of a token: its moment is the client's own.
        assert (first.at, second.at) == pytest.approx((100.6, 101.1))
        assert (second.waited, second.wait_reason, second.ok, first.ok) == (0.5, "backoff", True, False)


class TestSpending:
    """The gate keeps a budget and a pace."""

    def test_what_a_call_cost_is_taken_and_the_rest_put_back(self):
        gate = Gate(Traffic(host=LOCAL, max_tokens=2 * (LONGEST + 10)), prompt_tokens=10)
        for _ in range(20):
            gate.admit(f"{LOCAL}/v2/chat/completions")
            gate.settle(Sample(scenario="x", began=0.0, requests=1, prompt_tokens=10, output_tokens=5))
        assert gate.spent == {"requests": 20, "tokens": 300, "cost": pytest.approx(0.036)}

    def test_what_is_under_way_counts_as_if_it_cost_the_most(self):
        gate = Gate(Traffic(host=LOCAL, max_tokens=2 * (LONGEST + 10)), prompt_tokens=10)
        gate.admit(f"{LOCAL}/v2/chat/completions")
        gate.admit(f"{LOCAL}/v2/chat/completions")
        with pytest.raises(BudgetSpent, match="tokens is spent"):
            gate.admit(f"{LOCAL}/v2/chat/completions")

    def test_a_live_run_keeps_the_documented_pace(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr("loadtests.sending.session.time.monotonic", lambda: now[0])
        monkeypatch.setattr(
            "loadtests.sending.session.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds)
        )
        gate = Gate(Traffic(host="https://aip.baidubce.com", live=True, max_requests=10_000))
        for _ in range(250):
            gate.admit("https://aip.baidubce.com/x")
        assert now[0] == pytest.approx(2.0)
        mock = Gate(Traffic(host=LOCAL))
        for _ in range(1000):
            mock.admit(f"{LOCAL}/x")
        assert now[0] == pytest.approx(2.0)
