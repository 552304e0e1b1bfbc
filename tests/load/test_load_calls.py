"""Which calls a scenario makes, by weight; and what each kind of call tells of itself."""

from __future__ import annotations

import time
from collections import Counter
from random import Random

import pytest

from loadtests.planning.plan import PlanError, Traffic
from loadtests.sending.calls import CALLS, Answered, Mix, kinds_of, tokens
from loadtests.sending.session import Gate, MeasuredSession, new_client
from mock_server import MockServer
from qfkit.client import QianfanError


def traffic(**members) -> Traffic:
    return Traffic(**({"host": "http://127.0.0.1", "dialect": "v2"} | members))


class TestMix:
    def test_a_scenario_of_one_kind_draws_nothing(self):
        random = Random(1)
        before = random.getstate()
        mix = Mix("stream", traffic())
        assert (mix.draw(random), mix.name("v2", "stream"), mix.dialects) == (("v2", "stream"), "stream", ("v2",))
        assert random.getstate() == before

    def test_kinds_and_dialects_come_by_weight(self):
        mix = Mix("mixed", traffic(mix="chat=3,stream=1", dialects="v1=1,v2=4"))
        random = Random(7)
        found = Counter(mix.draw(random) for _ in range(20_000))
        for dialect, part in (("v1", 0.2), ("v2", 0.8)):
            for kind, weight in (("chat", 0.75), ("stream", 0.25)):
                assert found[dialect, kind] / 20_000 == pytest.approx(part * weight, rel=0.1)

    def test_a_dialect_gets_only_what_it_knows_and_no_kind_comes_less_for_it(self):
        found = kinds_of("mixed", traffic(mix="chat=1,embed=1", dialects="text_generation=3,v1=1"))
        assert found == {"text_generation": {"chat": 0.75}, "v1": {"chat": 0.25, "embed": 1.0}}

    def test_kinds_are_counted_apart_and_dialects_where_there_are_several(self):
        assert Mix("mixed", traffic(mix="chat,tools")).name("v2", "tools") == "mixed tools"
        assert Mix("mixed", traffic(mix="chat,tools", dialects="v1,v2")).name("v1", "chat") == "mixed chat v1"

    def test_a_kind_that_no_dialect_knows(self):
        with pytest.raises(PlanError, match=r"text_generation has no calls of the kind embed.*another --mix"):
            kinds_of("mixed", traffic(mix="embed", dialect="text_generation"))


@pytest.fixture(scope="module")
def server():
    with MockServer(seed=7) as server:
        yield server


class TestKinds:
    @pytest.fixture
    def make(self, server):
        account = server.account()
        meant = traffic(host=server.url)
        session = MeasuredSession(Gate(meant), time.perf_counter, proxies=False)
        with new_client(meant, session, environ=account.env()) as client:

            def call(kind, prompt="你好"):
                session.begin()
                answered = CALLS[kind].make(client, prompt, lambda: session.timer)
                return answered, session

            yield account, call

    def test_each_kind_tells_its_attempts_and_tokens(self, make):
        _, call = make
        for kind in CALLS:
            answered, session = call(kind)
            assert len(answered.attempts) == session.requests - session.token_requests == 1
            read, written, counted = tokens("你好", answered)
            assert read > 0
            assert (written > 0) is (kind != "embed")
            assert counted

    def test_reasoning_comes_before_content_and_is_none(self, make):
        account, call = make
        account.stream(["好", "的"], ttft=0.02, interval=0.03, reasoning="想", times=1)
        _, session = call("stream")
        took = session.timer.moments()
        assert took["first_byte"] <= took["first_chunk"] <= took["first_reasoning"] < took["ttft"] < took["e2e"]
        assert took["contents"] == [took["ttft"], took["e2e"]]

    def test_the_rounds_of_a_tool_are_one_call_also_when_the_last_one_fails(self, make):
        account, call = make
        account.call_tool("get_current_weather").then.reply("晴")
        answered, session = call("tools")
        assert (answered.text, len(answered.attempts), session.requests) == ("晴", 2, 2)
        account.call_tool("get_current_weather").then.fail(336501)
        with pytest.raises(QianfanError) as caught:
            call("tools")
        assert [attempt.status for attempt in caught.value.attempts] == [200, 429]

    def test_a_long_text_is_embedded_in_pieces(self, make):
        account, call = make
        call("embed", "字" * 1201)
        assert [len(text) for text in account.requests[-1].json["input"]] == [500, 500, 201]


def test_what_the_service_does_not_count_is_estimated():
    answered = Answered(attempts=(), usage=None, text="晴天")
    assert tokens("天气怎么样", answered) == (4, 2, False)
