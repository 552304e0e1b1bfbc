"""SLOs: every way to write one, every mistake with its place, and what is said of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.judging.slo import SloError, check_scenarios, of_calls, parse, parse_all, per_call, per_call_texts
from loadtests.judging.slo_measures import DURATIONS, MEASURES, STATISTICS
from loadtests.judging.slo_results import evaluate


@pytest.mark.parametrize(
    ("text", "measure", "statistic", "comparison", "limit"),
    [
        ("ttft.p95<500ms", "ttft", "p95", "<", 500),
        ("latency.p99.9<=2s", "latency", "p99.9", "<=", 2000),
        (" itl.max < .2 s ", "itl", "max", "<", 200),
        ("late.p99<800us", "late", "p99", "<", 0.8),
        ("errors<1%", "errors", "", "<", 0.01),
        ("errors.429<0.001", "errors", "429", "<", 0.001),
        ("qps>=50", "qps", "", ">=", 50),
        ("qps>=3000/min", "qps", "", ">=", 50),
        ("goodput>95%*offered", "goodput", "", ">", 0.95),
        ("amplification<=1.2x", "amplification", "", "<=", 1.2),
        ("recovery<1min", "recovery", "", "<", 60),
        ("verdict==pass", "verdict", "", "=", "pass"),
    ],
)
def test_ways_to_write_one(text, measure, statistic, comparison, limit):
    slo = parse(text)
    assert (slo.measure, slo.statistic, slo.comparison) == (measure, statistic, comparison)
    assert slo.limit == (limit if isinstance(limit, str) else pytest.approx(limit))
    assert slo.text == "".join(text.split())


def test_scenario_and_call_and_part_of_a_rate():
    assert parse("stream:ttft.p95<1s").scenario == "stream"
    assert parse("call.ttft<1s").of_call
    assert parse("goodput>0.95*offered").other == "offered"


@given(
    st.sampled_from(list(DURATIONS)),
    st.sampled_from(list(STATISTICS)),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.integers(1, 10**6),
    st.sampled_from(["", "mixed-1:"]),
)
def test_every_duration_with_every_statistic_is_read_as_it_is_written(name, statistic, op, limit, scenario):
    text = f"{scenario}{name}.{statistic}{op}{limit}ms"
    slo = parse(text)
    assert (slo.text, slo.measure, slo.statistic, slo.comparison, slo.limit) == (text, name, statistic, op, limit)


@given(st.text(max_size=30))
def test_whatever_is_written_the_answer_is_an_slo_or_an_error_that_shows_the_place(text):
    wrong = None
    try:
        parse(text)
    except SloError as error:
        wrong = error
    assert wrong is None or (0 <= wrong.at <= len(text) and str(wrong).startswith("--slo: "))


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", "", "no measure is named"),
        ("<5ms", "<5ms", "no measure is named"),
        ("ttft.p95", "", "did the shell take < or > for itself? put the SLO in quotes"),
        ("ttft<500ms", "<", "ttft of which calls? ttft.p95 or ttft.max, or call.ttft<500ms"),
        ("late<5ms", "<", "late of which calls? late.p95 or late.max"),
        ("ttft.p95<500", "", "needs its unit: write it as 500ms or 0.5s"),
        ("ttft.p95<5parsecs", "parsecs", "no unit 'parsecs'"),
        ("tftt.p95<5ms", "tftt", "did you mean ttft?"),
        ("Goodput>5", "Goodput", "did you mean goodput?"),
        ("zzz>5", "zzz", "there are latency, headers"),
        ("ttft.p96<5ms", "p96", "there are min, mean, p50"),
        ("errors<5", "5", "did you mean 5%?"),
        ("goodput>0.9*ofered", "ofered", "did you mean offered?"),
        ("errors<1%*offered", "1%", "only rates are compared with rates"),
        ("goodput>5ms*offered", "ms", "0.95*offered"),
        ("qps.p95>3", ".p95", "leave out .p95"),
        ("verdict<pass", "<", "verdict=pass"),
        ("verdict=fine", "fine", "pass or fail, not fine"),
        ("ttft.p95=5ms", "=", "nobody measures exactly"),
        ("ttft.p95=<5ms", "=<", "no comparison: use one of <=, >="),
        ("ttft.p95<", "", "ttft has no limit: write one such as 500ms"),
        ("ttft.p95<fast", "fast", "no limit for ttft"),
        ("call.ttft.p95<5ms", ".p95", "write call.ttft<500ms"),
        ("call.itl<5ms", "<", "call.itl.max"),
        ("call.qps>5", "qps", "no duration 'qps' of a call"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, at, words):
    with pytest.raises(SloError) as raised:
        parse(text)
    assert words in str(raised.value)
    assert text[raised.value.at :].startswith(at)
    assert (raised.value.at == len(text)) == (at == "")


def test_a_file_names_the_line(tmp_path):
    file = tmp_path / "slos.yaml"
    file.write_text("slos:\n  - ttft.p95<500ms\n  # comment\n  - stream:errors<1%\n", "utf-8")
    assert [slo.text for slo in parse_all(["qps>5"], file)] == ["qps>5", "ttft.p95<500ms", "stream:errors<1%"]
    file.write_text("- ttft.p95<500ms\n- ttft.p59<500ms\n", "utf-8")
    with pytest.raises(SloError, match=r"slos\.yaml:2: no statistic 'p59'"):
        parse_all([], file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slo: [a]\n", "only 'slos' may stand here, not slo"),
        ("", "holds no list"),
        ("slos: ttft.p95<5ms\n", "holds no list"),
        ("- [a]\n", r":1: an SLO is one line"),
        ("- stream: ttft.p95<5ms\n", "in quotes"),
        ("- 'a", "is not YAML"),
    ],
)
def test_a_file_that_holds_something_else(tmp_path, text, words):
    file = tmp_path / "slos.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=words):
        parse_all([], file)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        parse_all([], tmp_path / "none.yaml")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        parse_all([], tmp_path / "latin")


def test_what_cannot_be_judged_is_told_before_the_run():
    slos = [parse("ttft.p95<5ms")]
    check_scenarios(slos, {"stream": True, "qps": False})
    with pytest.raises(SloError, match="measured on streams, and this run has none"):
        check_scenarios(slos, {"qps": False})
    with pytest.raises(SloError, match="no scenario 'strem' in this run; there is stream"):
        check_scenarios([parse("strem:errors<1%")], {"stream": True})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("verdict=pass", "only the scenarios backoff and outage measure verdict"),
        ("recovery<5s", "only the scenario outage measures recovery"),
        ("late.p99<5ms", "users that wait for answers are never late: ask for it with --rate"),
    ],
)
def test_what_this_run_does_not_measure_is_told_before_it(text, words):
    with pytest.raises(SloError, match=words):
        check_scenarios([parse(text)], {"qps": False}, played="qps", open_load=False)
    check_scenarios([parse(text)], {"outage": True}, played="outage", open_load=True)
    check_scenarios([parse(text)], {"": True})  # somebody's own locustfile


# What a good call is


class Call:
    """The members of a Sample that are looked at."""

    def __init__(self, **members: Any) -> None:
        self.scenario, self.kind, self.outcome = "stream", "stream", "ok"
        self.contents: list[float] = [0.1]
        self.itl: list[float] = []
        for name in ("end", "headers", "first_byte", "first_chunk", "first_reasoning", "ttft", "tpot", "e2e"):
            setattr(self, name, None)
        self.__dict__.update(members)


def test_without_an_slo_of_calls_nobody_judges_them():
    assert per_call([parse("errors<1%"), parse("ttft.p50<1s"), parse("ttft.p95>1s"), parse("qps>1")]) is None


def test_limits_on_the_tail_are_taken_for_each_call_the_furthest_out_of_each_duration():
    slos = [parse(text) for text in ("ttft.p95<500ms", "ttft.p99<1s", "ttft.p50<200ms", "itl.p90<50ms", "errors<1%")]
    assert per_call_texts(slos) == ["ttft.p99<1s", "itl.p90<50ms"]


def test_explicit_ones_stand_alone():
    slos = [parse("ttft.p95<500ms"), parse("call.latency<2s")]
    assert [slo.text for slo in of_calls(slos)] == ["call.latency<2s"]


@pytest.mark.parametrize(
    ("text", "call", "good"),
    [
        ("call.ttft<500ms", {"ttft": 0.4999}, True),
        ("call.ttft<500ms", {"ttft": 0.5}, False),
        ("call.ttft<=500ms", {"ttft": 0.5}, True),
        ("call.ttft<500ms", {"ttft": 0.1, "outcome": "failed"}, False),
        ("call.ttft<500ms", {"ttft": None, "contents": []}, False),  # a stream without content
        ("call.ttft<500ms", {"ttft": None, "kind": "chat"}, True),  # no stream: never has a first token
        ("qps:call.latency<1s", {"end": 9.0}, True),  # of another scenario
        ("call.latency<1s", {"end": 9.0, "kind": "chat"}, False),
        ("call.itl.max<50ms", {"itl": [0.01, 0.06]}, False),
        ("call.itl.p50<50ms", {"itl": [0.01, 0.02, 0.06]}, True),
        ("call.itl.max<50ms", {"itl": []}, True),  # one piece of content
        ("call.itl.max<50ms", {"itl": [], "contents": []}, False),
    ],
)
def test_a_good_call(text, call, good):
    met = per_call([parse(text)])
    assert met is not None
    assert met(Call(**call)) is good


# Held against a report


def report(**scenario: Any) -> dict[str, Any]:
    data = {
        "calls": 200, "ok": 190, "failed": 10, "cut_off": 0, "seconds": 10.0, "qps": 20.0, "ok_qps": 19.0,
        "goodput": {"good": 180, "rate": 18.0, "share": 0.9, "slos": []},
        "late": {"count": 200, "p50": 1.0, "p99": 4.0, "max": 5.0},
        "tokens": {"per_second": 400.0}, "amplification": 1.25,
        "failures": [{"status": 429, "code": 18, "calls": 6, "attempts": 9}, {"status": 500, "code": None, "calls": 4}],
        "milliseconds": {"ttft": {"count": 190, "p95": 480.0, "p99.9": 900.0, "max": 900.0}},
        "timeline": [{"planned": 120}, {"planned": None}, {"planned": 80}],
    }  # fmt: skip
    return {
        "host": "http://127.0.0.1:1", "scenarios": {"stream": data | scenario}, "generators": {"a": 0.3, "b": 0.6},
        "lost_workers": [], "verdict": {"ok": True},
        "outage": {"recovery_seconds": 3.0, "storm_peak": 50, "wasted_attempts": 7}, "ceiling": {"ceiling_rate": 90.0},
    }  # fmt: skip


#: Of each measure, one that the report above keeps and one that it misses.
KEPT_AND_MISSED = {
    "goodput": ("goodput>=0.9*offered", "goodput>0.95*offered"),
    "qps": ("qps>=20", "qps>20"),
    "ok_qps": ("ok_qps<20", "ok_qps>=1*qps"),
    "offered": ("offered>=20", "offered>20"),
    "tokens": ("tokens>399/s", "tokens>401/s"),
    "errors": ("errors<=5%", "errors<5%"),
    "calls": ("calls=200", "calls>200"),
    "cut_off": ("cut_off<1", "cut_off>1"),
    "amplification": ("amplification<1.3", "amplification<1.2"),
    "cpu": ("cpu<85%", "cpu<50%"),
    "recovery": ("recovery<5s", "recovery<2s"),
    "storm": ("storm<60/s", "storm<40/s"),
    "wasted": ("wasted<10", "wasted<5"),
    "ceiling": ("ceiling>=90/s", "ceiling>100/s"),
    "verdict": ("verdict=pass", "verdict=fail"),
    "ttft": ("ttft.p95<500ms", "ttft.p95<480ms"),
    "late": ("late.p99<5ms", "late.max<5ms"),
    "errors.429": ("errors.429<=3%", "errors.429<3%"),
    "errors.18": ("errors.18<4%", "errors.18<1%"),
}


def test_every_measure_is_looked_at_below():
    assert set(MEASURES) <= set(KEPT_AND_MISSED)


@pytest.mark.parametrize("name", KEPT_AND_MISSED)
def test_kept_and_missed(name):
    kept, missed = evaluate([parse(text) for text in KEPT_AND_MISSED[name]], report())
    assert (kept["ok"], missed["ok"]) == (True, False)
    assert kept["value"] is not None
    assert str(kept["why"]).startswith(("the verdict", name.partition(".")[0]))


def test_what_is_said():
    assert evaluate([parse("ttft.p95<400ms")], report())[0] == {
        "slo": "ttft.p95<400ms", "scenario": "stream", "measure": "ttft", "statistic": "p95", "unit": "duration",
        "value": 480.0, "limit": 400.0, "ok": False, "why": "ttft.p95 was 480 ms; asked: less than 400 ms",
    }  # fmt: skip
    why = {
        result["slo"]: result["why"] for result in evaluate(parse_all(["goodput>0.95*offered", "errors<1%"]), report())
    }
    assert why["goodput>0.95*offered"] == "goodput was 18/s; asked: more than 19/s (0.95 of offered)"
    assert why["errors<1%"] == "errors was 5 %; asked: less than 1 %"


def test_a_percentile_of_too_few_says_what_it_is():
    why = evaluate([parse("ttft.p99.9<1s")], report())[0]["why"]
    assert why.endswith("Of only 190 values, this is the largest one")


def test_what_was_not_measured_is_missed():
    [result] = evaluate([parse("itl.p95<1s")], report())
    assert (result["ok"], result["value"], result["why"]) == (False, None, "itl.p95 was not measured in stream")
    [result] = evaluate([parse("errors<1%")], report(calls=0))
    assert result["ok"] is False
    [result] = evaluate([parse("recovery<1s")], report() | {"outage": None})
    assert (result["ok"], result["why"]) == (False, "recovery was not measured")


def test_each_scenario_that_has_the_measure_is_judged():
    whole = report()
    whole["scenarios"]["qps"] = whole["scenarios"]["stream"] | {"milliseconds": {}, "failed": 0}
    results = evaluate(parse_all(["ttft.p95<1s", "errors<1%", "qps:errors<1%"]), whole)
    assert [(result["slo"], result["scenario"], result["ok"]) for result in results] == [
        ("ttft.p95<1s", "stream", True),
        ("errors<1%", "stream", False),
        ("errors<1%", "qps", True),
        ("qps:errors<1%", "qps", True),
    ]


def test_closed_users_offer_what_they_begin():
    [result] = evaluate([parse("offered>0")], report(timeline=[], cut_off=4))
    assert result["value"] == pytest.approx(20.4)


def test_what_a_good_call_is_is_not_judged():
    [result] = evaluate([parse("call.ttft<1s")], report())
    assert (result["ok"], result["why"]) == (
        None, "says what a good call is; 90.0% of the calls met all that is asked of one",
    )  # fmt: skip


def test_every_measure_and_statistic_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "load-testing.md").read_text("utf-8")
    section = text[text.index("## What is asked of a run") : text.index("## How a run ends")]
    assert [name for name in [*DURATIONS, *MEASURES] if f"`{name}`" not in section] == []
    assert [name for name in STATISTICS if f"`.{name}`" not in section] == []
