"""The page: stands by itself, is valid, hides nothing that was measured, and lets no text become markup."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from random import Random

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_reports import full_report, report_of, streams

from loadtests.measuring.samples import Attempted, Sample
from loadtests.measuring.tally import Ledger
from loadtests.reporting import axes, charts
from loadtests.reporting.page import data_of, page
from loadtests.reporting.report import Setting, build
from loadtests.reporting.terminal import render

VOID = {"meta", "br", "hr", "img", "input", "link"}
LEAVES = {"line", "rect", "circle", "polyline", "path"}


class Document(HTMLParser):
    """Checks that elements are closed in order, ids are unique and references lead somewhere."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in LEAVES
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


@pytest.fixture(scope="module")
def whole() -> str:
    return page(full_report())


def test_every_element_is_closed_and_every_reference_leads_somewhere(whole):
    document = Document(whole)
    ids = document.attributes("id")
    assert len(ids) == len(set(ids))
    assert {name for value in document.attributes("aria-labelledby") for name in value.split()} <= set(ids)
    assert document.tags[0] == ("html", {"lang": "en"})


def test_it_is_valid_for_a_parser_of_other_people(whole):
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(whole)
    assert parser.errors == []


def test_it_asks_nobody_for_anything(whole):
    document = Document(whole)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & {
        tag for tag, attributes in document.tags if attributes.get("type") != "application/json"
    }
    for name in ("src", "href", "xlink:href", "action", "background", "poster", "srcset", "style"):
        assert document.attributes(name) == []
    assert not re.search(r"url\(|@import|@font-face", whole)
    assert not any(name.startswith("on") for _, attributes in document.tags for name in attributes)
    assert "default-src 'none'" in whole


def test_every_chart_is_there_and_says_what_it_shows(whole):
    titles = re.findall(r"<figcaption>([^<]+)", whole)
    assert titles == [
        "Offered, attempts and admitted, as the server saw them",
        "Waits before each attempt",
        "Attempts by number",
        "Recovery",
        "Latency by rate",
        "Memory",
        "Offered, admitted and goodput over time",
        "Time to first token over time",
        "Latency over time",
        "Percentiles",
        "Distribution of the time to first token",
        "Distribution of the gaps between tokens",
        "Errors by status, code and phase",
    ]
    svgs = re.findall(r"<svg .*?</svg>", whole, re.DOTALL)
    assert len(svgs) == len(titles)
    for svg in svgs:
        assert re.match(
            r'<svg class="chart" viewBox="0 0 \d+ \d+" role="img" aria-labelledby="\S+-t \S+-d"><title', svg
        )
        assert re.search(r"<desc id=\S+>\S.{20,}</desc>", svg)
        assert not re.search(r"nan|inf\b|None", svg)


def test_several_scenarios_are_listed_and_led_to():
    report = full_report(10)
    report["scenarios"]["mixed chat"] = report["scenarios"]["stream"]
    document = Document(page(report))
    assert document.attributes("href") == ["#scenario-1", "#scenario-2"]
    assert {"scenario-1", "scenario-2"} <= set(document.attributes("id"))


def test_waits_of_a_plain_run_and_latency_of_one_without_streams():
    samples = streams(Random(1), 5, 20)
    whole = page(report_of(samples))
    assert "Waits before each attempt" in whole
    assert "Distribution of the latency" not in whole
    whole = page(report_of([sample for sample in samples if not sample.contents]))
    assert "Errors by status" in whole
    assert "Percentiles" not in whole


def test_the_numbers_are_those_of_the_table(whole):
    text = " ".join(Document(whole).texts)
    for words in (
        "1228 in 60.7 s: 1181 ok, 47 failed",
        "MISSED",
        "ttft.p95 was 533 ms",
        "533",
        "seen by the server 1329",
    ):
        assert words in text


def test_the_data_can_be_read_back(whole):
    assert data_of(whole) == json.loads(json.dumps(full_report()))
    with pytest.raises(ValueError, match="holds no report"):
        data_of("<html></html>")


seconds = st.just(0.0) | st.floats(1e-6, 1e4)
moments = st.none() | seconds


@st.composite
def calls(draw):
    """Any call that a user could hand in, however odd."""
    began = 1e9 + draw(st.floats(0, 1e5))
    attempt = st.builds(
        Attempted,
        at=st.just(began),
        status=st.sampled_from([None, 200, 429, 500]),
        code=st.sampled_from([None, 18, "rpm_rate_limit_exceeded"]),
        what=st.sampled_from(["", "ConnectionFailed", "<b>"]),
        phase=st.sampled_from(["", "connect", "headers", "body", "mid-stream", "truncated"]),
        waited=seconds,
    )
    attempts = draw(st.lists(attempt, max_size=4))
    return Sample(
        scenario=draw(st.sampled_from(["stream", "mixed chat v2", "<i>"])),
        kind=draw(st.sampled_from(["chat", "stream"])),
        planned=draw(st.none() | st.just(began)),
        began=began,
        warmup=draw(st.booleans()),
        outcome=draw(st.sampled_from(["ok", "failed", "cut_off"])),
        attempts=attempts,
        requests=len(attempts),
        **{name: draw(moments) for name in ("headers", "first_byte", "first_chunk", "ttft", "e2e", "end")},
        contents=sorted(draw(st.lists(seconds, max_size=4))),
        output_tokens=draw(st.none() | st.integers(0, 1000)),
        tokens_from=draw(st.sampled_from([None, "server", "estimated"])),
    )


@given(st.lists(calls(), max_size=4))
@settings(max_examples=25)
def test_whatever_was_measured_can_be_told(samples):
    report = report_of(samples, "ttft.p95<1s", "goodput>0.5*offered", "errors<5%", "late.p99<1s")
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    whole = page(report)
    Document(whole)
    assert data_of(whole) == report
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", render(report))
    assert not re.search(r'="-?(nan|inf)|None', "".join(re.findall(r"<svg .*?</svg>", whole, re.DOTALL)))


HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>'\"&amp;"


def hostile(value):
    """The same report in which every text is an attack."""
    if isinstance(value, dict):
        return {key: hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_text_stays_text():
    report = full_report()
    kept = {"load": report["load"], "slos": [{**hostile(one), "ok": one["ok"]} for one in report["slos"]]}
    report = hostile(report) | {"slos": kept["slos"], "load": kept["load"], "client": HOSTILE}
    report["scenarios"] = {HOSTILE: report["scenarios"]["stream"]}
    whole = page(report)
    document = Document(whole)
    assert [tag for tag, _ in document.tags if tag == "img"] == []
    assert sum(tag == "script" for tag, _ in document.tags) == 1
    assert HOSTILE in " ".join(document.texts)
    assert data_of(whole) == report


def test_nothing_sent():
    setting = Setting("http://127.0.0.1:1", "v2", None, users=1, run_time=None, seed=0, attempts=1)
    whole = page(build(Ledger(), setting))
    Document(whole)
    assert "Nothing was sent to <code>http://127.0.0.1:1</code>" in whole
    assert "No exit code" in whole


def test_a_run_of_hours_stays_a_page_that_opens():
    report = full_report()
    data = report["scenarios"]["stream"]
    row = data["timeline"][5]
    data["timeline"] = [row | {"second": second * 8} for second in range(3600)]
    data["timeline_width"] = 8
    whole = page(report | {"backoff": None, "outage": None})
    assert whole.count('class="hit"') < 5 * 300
    assert "Counted by stretches of 8 s" in whole
    assert len(whole) < 1_500_000


# Axes


@given(st.integers(-(10**9), 10**9).map(lambda value: value / 1000), st.just(0.0) | st.floats(1e-3, 1e6))
def test_a_linear_axis_holds_what_it_must(low, span):
    axis = axes.linear(low, low + span)
    assert axis.low <= low + span * 1e-6
    assert axis.high >= low + span * (1 - 1e-6)
    assert axis.at(axis.low) == 0
    assert axis.at(axis.high) == pytest.approx(1)
    assert 2 <= len(axis.ticks) <= 12
    assert axis.ticks == sorted(set(axis.ticks))


@given(st.floats(1e-3, 1e6), st.floats(1, 1e6))
def test_a_logarithmic_axis_marks_values_that_are_on_it(low, factor):
    axis = axes.logarithmic(low, low * factor)
    places = [axis.at(tick) for tick in axis.ticks]
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert all(later - earlier >= 0.07 for earlier, later in pairwise(places))


def test_nines_are_equally_wide():
    axis = axes.percentiles(0.999)
    assert axis.ticks == [0, 0.5, 0.9, 0.99, 0.999]
    assert [axis.at(share) for share in (0, 0.9, 0.99, 0.999)] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_gap_is_a_gap_and_a_lonely_point_is_a_dot():
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, 1.0)]
    head = charts.Head("k", "title", "description")
    x, y = axes.within(0, 3), axes.linear(0, 2)
    svg = charts.lines(head, [charts.Series("s", points)], x, y, names=("x", "y")).svg
    assert svg.count("<polyline") == svg.count("<circle") == 1
    assert svg.count('class="hit"') == 3


# As a browser shows it

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on PATH: apt-get install chromium")
def test_a_browser_asks_nobody_and_shows_it(whole, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(whole, "utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr  # such as what the Content-Security-Policy refused
    assert done.stdout.count("<svg ") == whole.count("<svg ")
