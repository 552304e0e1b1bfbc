"""Nothing is sent before it is clear what, where to, and that it may be."""

from __future__ import annotations

import pytest

from loadtests.planning.climb import Climb
from loadtests.planning.options import options
from loadtests.planning.plan import Load, Plan, Traffic, hostname_of, is_loopback, plan_of
from loadtests.planning.play import Play
from loadtests.planning.spelling import PlanError, seconds_of, weights


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("90", 90), ("1m30s", 90), ("2h", 7200), ("1h1m1s", 3661), ("1.5s", 1.5), (" 5m ", 300)],
)
def test_time_spans(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "ten", "10 s", "1s1m", "0", "0m", "1e3"])
def test_no_time_spans(text):
    with pytest.raises(PlanError, match=r"1s or more|1m30s"):
        seconds_of(text)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8866", "http://localhost", "http://LOCALHOST:1", "http://[::1]:8866", "http://127.9.9.9"]
)
def test_this_machine_may_be_loaded(url):
    Traffic(host=url).check()


@pytest.mark.parametrize(
    "url",
    [
        "https://aip.baidubce.com",
        "http://10.0.0.1",
        "http://mock:8866",
        "http://localhost.example.com",
        "http://0.0.0.0",
    ],
)
def test_any_other_demands_live_and_a_budget(url):
    with pytest.raises(PlanError, match=r"is not this machine.*qfkit mock.*--live --max-requests"):
        Traffic(host=url).check()
    with pytest.raises(PlanError, match="--max-requests N"):
        Traffic(host=url, live=True).check()
    Traffic(host=url, live=True, max_requests=10).check()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8866", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_what_is_no_base_url(url):
    with pytest.raises(PlanError, match="--host"):
        hostname_of(url)


def test_loopback_is_a_matter_of_addresses_not_of_spelling():
    assert is_loopback("127.0.0.1")
    assert not is_loopback("127.0.0.1.example.com")


class TestOptions:
    def plan(self, scenario="qps", **values):
        return plan_of(values, scenario=scenario, host="http://127.0.0.1:8866/")

    def test_what_is_left_out_stands_at_its_default(self):
        plan = self.plan(model="", prompt=None, run_time="1m30s")
        assert (plan.traffic.host, plan.traffic.model, plan.run_time) == ("http://127.0.0.1:8866", None, 90)
        assert (plan.load.arrivals, plan.users, plan.spawn_rate, plan.calibrate) == ("closed", 10, 10, True)

    def test_a_rate_opens_the_load_and_so_does_a_trace(self):
        assert self.plan(rate=5).load.arrivals == "poisson"
        assert self.plan(trace="file").load.arrivals == "trace"
        assert self.plan(rate=5, arrivals="constant").load.arrivals == "constant"

    def test_tools_and_embeddings_need_a_dialect_that_has_them(self):
        assert self.plan("embed").traffic.dialect == "v2"
        assert self.plan("qps").traffic.dialect == "text_generation"
        assert self.plan("tools", dialect="v1").traffic.dialect == "v1"

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"arrivals": "constant"}, "needs --rate"),
            ({"arrivals": "ramp", "rate": 1}, "needs --to-rate"),
            ({"arrivals": "closed", "rate": 1}, "knows no --rate"),
            ({"rate": 1, "to_rate": 2}, "knows no --to-rate"),
            ({"rate": 1, "users": 5}, "--users goes with --arrivals closed, and these are poisson"),
            ({"rate": 1, "burstiness": 0.1}, "--burstiness goes with --arrivals gamma"),
            ({"max_in_flight": 5}, "--max-in-flight goes with --arrivals constant, poisson"),
            ({"rate": -1}, "makes no sense"),
            ({"warmup": "10s"}, "whole of --run-time"),
            ({"workers": 2, "max_requests": 5}, "kept by one process"),
            ({"prompt": "a", "prompts": "b"}, "exclude each other"),
            ({"language": "fr"}, "makes no sense"),
        ],
    )
    def test_what_makes_no_sense_is_told(self, values, words):
        with pytest.raises(PlanError, match=words):
            self.plan(**values)

    def test_without_a_host_it_says_where_one_comes_from(self):
        with pytest.raises(PlanError, match="qfkit mock"):
            plan_of({}, scenario="qps", host=None)

    def test_each_option_sets_something(self):
        members = {name for struct in (Plan, Load, Traffic, Play, Climb) for name in struct.__struct_fields__}
        for option in (*options("qfkit"), *options("locust")):
            assert option.name.removeprefix("no_").removesuffix("_file") in members, option

    @pytest.mark.parametrize(
        ("text", "found"),
        [("chat", {"chat": 1.0}), ("chat=7, stream=2.5", {"chat": 7.0, "stream": 2.5})],
    )
    def test_weights(self, text, found):
        assert weights("--mix", text, ("chat", "stream")) == found

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("talk", "knows no 'talk'"),
            ("chat=0", "above 0"),
            ("chat=x", "above 0"),
            ("", "knows no"),
            ("chat,chat", "twice"),
        ],
    )
    def test_weights_that_are_none(self, text, words):
        with pytest.raises(PlanError, match=words):
            weights("--mix", text, ("chat", "stream"))
