"""Two reports against each other: nothing is found where nothing is, and what is there is found."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from load_reports import report_of, streams
from scipy import stats

from loadtests.judging import differences
from loadtests.judging.compare import NotComparable, compare, read
from loadtests.judging.differences import ALPHA, duration_effect, holm, rates, share_effect, shares
from loadtests.measuring.measures import Histogram
from loadtests.reporting.page import page
from qfkit.cli.load_compare import command


def figures(
    random: Random, *, calls: int = 400, slower: float = 1.0, failing: float = 0.02, drift: float = 0.0
) -> dict:
    """A report with what is compared, from log-normal latencies; ``drift``: seconds differ by so much (of the log)."""
    latency, seconds = Histogram(), []
    failed = 0
    for second in range(20):
        mood = random.gauss(0, drift) if drift else 0.0
        took = [random.lognormvariate(-1 + mood, 0.3) * slower for _ in range(calls // 20)]
        bad = sum(random.random() < failing for _ in took)
        took = took[: len(took) - bad]
        failed += bad
        for one in took:
            latency.add(one)
        middle = Histogram(took).quantiles(0.5)[0] * 1000
        seconds.append({"second": second, "ok": len(took), "failed": bad, "good": len(took), "latency_p50": middle})
    values = [value * 1000 for value in latency.quantiles(0.5, 0.95, 0.99)]
    row = dict(zip(("p50", "p95", "p99"), values, strict=True)) | {"count": latency.count}
    data = {
        "calls": latency.count + failed, "ok": latency.count, "failed": failed, "ok_qps": latency.count / 20,
        "goodput": {"slos": []}, "milliseconds": {"latency": row}, "histograms": {"latency": latency.cells(8)},
        "timeline": seconds, "timeline_width": 1,
    }  # fmt: skip
    return {"format": 2, "host": "http://127.0.0.1:1", "load": {"model": "closed"}, "scenarios": {"qps": data}}


def row_of(found: Any, measure: str) -> Any:
    return next(row for row in found.rows if row.measure == measure)


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Enough for the simulations below, which take hundreds of comparisons."""
    monkeypatch.setattr(differences, "DRAWS", 250)


# Nothing is found where nothing is, and what is there is found


@pytest.mark.parametrize("drift", [0.0, 0.1], ids=["even", "drifting"])
def test_the_same_service_twice_is_seldom_told_apart(drift):
    """At most ALPHA of the pairs may be; of 70 pairs up to 8 are within chance (99 %)."""
    random = Random(11)
    false, regressions, pairs = 0, 0, 70
    for _ in range(pairs):
        found = compare(figures(random, drift=drift), figures(random, drift=drift))
        false += any(row.verdict in {"worse", "better"} for row in found.rows)
        regressions += bool(found.regressions)
    assert false <= stats.binom.ppf(0.99, pairs, ALPHA)
    assert regressions <= stats.binom.ppf(0.99, pairs, ALPHA)


def test_without_the_design_effect_a_drifting_service_would_be_told_apart_from_itself(monkeypatch):
    monkeypatch.setattr(differences, "_effect", lambda *_: 1.0)
    random = Random(11)
    found = [compare(*(figures(random, calls=2000, drift=0.2) for _ in "ab")) for _ in range(10)]
    assert sum(any(row.verdict in {"worse", "better"} for row in one.rows) for one in found) > 5


@pytest.mark.parametrize(("slower", "measure"), [(1.15, "latency.p50"), (1.3, "latency.p95")])
def test_what_got_slower_is_found(slower, measure):
    random = Random(5)
    found = [compare(figures(random), figures(random, slower=slower)) for _ in range(20)]
    rows = [row_of(one, measure) for one in found]
    assert sum(row.verdict == "worse" for row in rows) >= 16
    assert sum(row.regression for row in rows) >= 13
    covered = [row.difference.low <= slower - 1 <= row.difference.high for row in rows]
    assert sum(covered) >= 17


def test_the_smallest_difference_that_would_show_does_show():
    random = Random(6)
    first = figures(random)
    smallest = row_of(compare(first, figures(random)), "latency.p50").difference.smallest
    found = [compare(first, figures(random, slower=1 + 1.5 * smallest)).regressions for _ in range(10)]
    assert sum(map(bool, found)) >= 8


def test_slower_within_the_tolerance_is_no_regression():
    random = Random(8)
    found = [compare(figures(random, calls=4000), figures(random, calls=4000, slower=1.05)) for _ in range(8)]
    rows = [row_of(one, "latency.p50") for one in found]
    assert sum(row.verdict == "worse" for row in rows) >= 5
    assert sum(row.regression for row in rows) <= 2
    assert any("not surely beyond the 5 % that are allowed" in row.text for row in rows)
    assert compare(figures(random, calls=4000), figures(random, calls=4000, slower=1.05), tolerance=0).code == 1


def test_what_got_faster_is_no_regression():
    random = Random(9)
    row = row_of(compare(figures(random), figures(random, slower=0.7)), "latency.p50")
    assert (row.verdict, row.regression) == ("better", False)
    assert row.text.startswith("faster by ")


def test_more_errors_are_a_regression():
    random = Random(10)
    found = compare(figures(random), figures(random, failing=0.15))
    row = row_of(found, "errors")
    assert row.regression
    assert "points (95 % CI " in row.text
    assert found.code == 1
    assert "errors more by" in found.why


def test_too_few_calls_are_told():
    random = Random(10)
    found = compare(figures(random, calls=40), figures(random, calls=40))
    assert row_of(found, "latency.p99").text == "too few calls to tell"
    assert "no difference that so many calls can show" in row_of(found, "latency.p50").text


def mood(random: Random, spread: float, slower: float = 1.0) -> dict[str, Any]:
    """A run on a machine that is quicker on one day than on another."""
    return figures(random, slower=slower * random.lognormvariate(0, spread))


def test_runs_that_differ_from_each_other_are_not_told_apart_where_baselines_show_it():
    random, without, with_them = Random(12), 0, 0
    for _ in range(12):
        runs = [mood(random, 0.1) for _ in range(6)]
        a, b, *others = runs
        without += any(row.verdict in {"worse", "better"} for row in compare(a, b).rows)
        with_them += any(row.verdict in {"worse", "better"} for row in compare(a, b, baselines=others).rows)
    assert without >= 5
    assert with_them <= 2


def test_what_stands_out_from_the_baselines_is_found():
    random, found = Random(13), 0
    for _ in range(10):
        a, *others = [mood(random, 0.02) for _ in range(6)]
        found += row_of(compare(a, mood(random, 0.02, slower=1.5), baselines=others), "latency.p50").regression
    assert found >= 9


def test_one_baseline_is_too_few():
    a, b = (report_of(streams(Random(seed), 5, 20)) for seed in (1, 2))
    assert compare(a, b, baselines=[b]).warnings == [
        "one --baseline says nothing of how runs differ from each other: give two or more"
    ]
    assert compare(a, b, baselines=[b]).rows == compare(a, b).rows


@pytest.mark.parametrize("relative", [True, False])
def test_between_runs_is_the_prediction_interval_of_students_t(relative):
    values, new = [100.0, 104.0, 98.0, 103.0], 120.0
    found = differences.between_runs(values, new, tolerance=0.05, more_is_worse=True, relative=relative)
    assert found is not None
    known = np.log(values) if relative else np.array(values)
    middle = (np.log(new) if relative else new) - known.mean()
    spread = known.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert found.p_any == pytest.approx(2 * stats.t(3).sf(middle / spread))
    assert (np.log1p(found.low) if relative else found.low) == pytest.approx(middle - stats.t(3).ppf(0.975) * spread)


def test_so_few_calls_that_nothing_can_be_told_are_no_clean_bill():
    random = Random(10)
    found = compare(figures(random, calls=20, failing=0), figures(random, calls=20, failing=0, slower=5))
    assert found.code == 3
    assert found.why == "too few calls to compare any duration: measure for longer"


# The statistics alone


def test_holm_is_that_of_the_paper():
    # Each by hand: the smallest times 5, the next times 4, ..., none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm([]) == []


@given(st.integers(0, 50), st.integers(0, 50), st.integers(50, 400), st.integers(50, 400))
@settings(max_examples=50)
def test_shares_are_fishers_and_the_interval_holds_the_difference(hits_a, hits_b, of_a, of_b):
    found = shares((hits_a, of_a), (hits_b, of_b), more_is_worse=True)
    assert found is not None
    table = [[hits_b, of_b - hits_b], [hits_a, of_a - hits_a]]
    assert found.p_any == pytest.approx(stats.fisher_exact(table).pvalue)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert -1 <= found.low <= found.high <= 1


@pytest.mark.parametrize("hits", [0, 100])
def test_where_all_or_none_hit_there_is_still_a_difference_that_would_show(hits):
    found = shares((hits, 100), (hits, 100), more_is_worse=not hits)
    assert found is not None
    assert (found.value, found.p_any) == (0, 1)
    assert 0.01 < abs(found.smallest) < 0.1
    assert found.low <= 0 <= found.high


def test_newcombes_interval_is_that_of_his_paper():
    """Method 10 of table II of Statistics in Medicine 17 (1998): 56/70 - 48/80 is 0.2, 0.0524 to 0.3339."""
    found = shares((48, 80), (56, 70), more_is_worse=True)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_rates_are_welchs_test_nearly():
    random = np.random.default_rng(3)
    a, b = random.normal(100, 10, 20).tolist(), random.normal(112, 10, 20).tolist()
    found = rates(a, b, tolerance=0.05)
    assert found is not None
    assert found.p_any == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=0.6)
    assert found.p_beyond > 0.9  # more is not worse
    assert rates(a[:4], b, tolerance=0.05) is None


def test_the_design_effect_is_1_for_independent_calls_and_more_for_those_that_go_together():
    random = Random(4)
    effects = {}
    for drift in (0.0, 0.2):
        data = [figures(random, calls=2000, drift=drift)["scenarios"]["qps"] for _ in range(5)]
        found = [duration_effect(one["timeline"], "latency", one["histograms"]["latency"]) for one in data]
        effects[drift] = sum(found) / len(found)
    assert effects[0.0] < 1.4
    assert effects[0.2] > 8


def test_the_design_effect_of_failures_that_come_together():
    of = [50.0] * 20
    rows = [{}] * 20
    assert share_effect(rows, [5.0] * 20, of) == 1
    assert share_effect(rows, [50.0] * 2 + [0.0] * 18, of) > 20
    assert share_effect(rows, [0.0] * 20, of) == 1


# What is not comparable


def test_what_is_not_comparable_is_refused():
    random = Random(1)
    a, b = figures(random), figures(random)
    b["scenarios"] = {"stream": b["scenarios"]["qps"]}
    with pytest.raises(NotComparable, match="no scenario is in both: A has qps, B has stream"):
        compare(a, b)
    with pytest.raises(NotComparable, match="A was measured on this machine, B on another machine"):
        compare(a, figures(random) | {"host": "https://qianfan.baidubce.com"})


def test_settings_that_differ_are_told():
    a, b = (report_of(streams(Random(seed), 5, 20)) for seed in (1, 2))
    assert compare(a, b).warnings == []
    warnings = compare(a, b | {"users": 5, "load": {"model": "closed"}, "exit": {"code": 130}}).warnings
    assert warnings == [
        "load differs: poisson, rate 20.0 in A, closed in B",
        "users differs: 1000 in A, 5 in B",
        "B was interrupted",
    ]


def test_figures_of_which_a_run_has_one_are_shown_and_not_judged():
    a, b = (report_of(streams(Random(seed), 5, 20)) for seed in (1, 2))
    found = compare(a | {"outage": {"recovery_seconds": 2.0}}, b | {"outage": {"recovery_seconds": 30.0}})
    row = row_of(found, "recovery")
    assert (row.scenario, row.a, row.b, row.verdict, row.regression) == ("outage", 2.0, 30.0, "untold", False)
    assert "one figure a run: nothing says how much it varies" in found.render()
    assert "30 s" in found.render()


def test_other_slos_make_other_goodput():
    samples = streams(Random(1), 5, 20)
    found = compare(report_of(samples, "ttft.p95<500ms"), report_of(samples, "ttft.p95<400ms"))
    assert not any(row.measure == "goodput" for row in found.rows)
    assert found.warnings == [
        "goodput of stream is not compared: good calls are ttft.p95<500ms in A, ttft.p95<400ms in B"
    ]
    same = compare(report_of(samples, "ttft.p95<500ms"), report_of(samples, "ttft.p95<500ms"))
    assert row_of(same, "goodput").verdict == "same"


# The command


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path):
    random = Random(2)
    for name, slower in (("a", 1.0), ("b", 1.0), ("slow", 1.5)):
        (tmp_path / f"{name}.json").write_text(json.dumps(figures(random, slower=slower)), "utf-8")
    return tmp_path


def test_exit_codes(files):
    same = run(files / "a.json", files / "b.json")
    assert same.exit_code == 0
    assert "exit code 0: no regression beyond 5 % in " in same.output
    worse = run(files / "a.json", files / "slow.json")
    assert worse.exit_code == 1
    assert "REGRESSION" in worse.output
    assert run(files / "a.json", files / "slow.json", "--tolerance", "90%").exit_code == 0
    assert run(files / "a.json", files / "slow.json", "--tolerance", "0.9").exit_code == 0


def test_a_report_that_is_not_to_be_trusted(files):
    data = json.loads((files / "b.json").read_text("utf-8"))
    data["exit"] = {"code": 3, "why": "worker w was lost", "reasons": [[3, "worker w was lost"]]}
    (files / "b.json").write_text(json.dumps(data), "utf-8")
    found = run(files / "a.json", files / "b.json")
    assert found.exit_code == 3
    assert "exit code 3: B is not to be trusted: worker w was lost" in found.output


def test_further_baselines(files):
    found = run(files / "a.json", files / "slow.json", "--baseline", files / "b.json")
    assert found.exit_code == 1
    assert "give two or more" in found.output
    assert run(files / "a.json", files / "b.json", "--baseline", files / "none").exit_code == 2


def test_json(files):
    first, again = (run(files / "a.json", files / "slow.json", "--json").output for _ in range(2))
    assert first == again
    data = json.loads(first)
    assert data["exit"]["code"] == 1
    row = data["rows"][0]
    assert (row["measure"], row["verdict"], row["regression"]) == ("latency.p50", "worse", True)
    assert row["difference"]["low"] < row["difference"]["value"] < row["difference"]["high"]


def test_a_page_is_a_report_too(tmp_path):
    report = report_of(streams(Random(1), 5, 20))
    (tmp_path / "a.html").write_text(page(report), "utf-8")
    assert read(tmp_path / "a.html")["scenarios"].keys() == {"stream"}
    assert run(tmp_path / "a.html", tmp_path / "a.html").exit_code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no report"),
        ("[]", "holds no report"),
        ("{", "holds no report"),
        ("<html></html>", "holds no report"),
        ('{"scenarios": {}, "format": 1}', "is of format 1, and this qfkit compares format 2"),
    ],
)
def test_files_that_hold_no_report(files, text, words):
    (files / "bad").write_text(text, "utf-8")
    found = run(files / "a.json", files / "bad")
    assert found.exit_code == 2
    assert words in " ".join(found.output.split())


def test_bad_use(files):
    assert "cannot be read" in run(files / "a.json", files / "none").output
    (files / "latin").write_bytes(b"\xff")
    assert "not UTF-8" in run(files / "a.json", files / "latin").output
    found = run(files / "a.json", files / "b.json", "--tolerance", "lots")
    assert found.exit_code == 2
    assert "write it as 5% or 0.05" in found.output
